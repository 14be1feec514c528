"""One-time join tokens: shown once, stored as a hash, burnt by one atomic step."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from fedca.ledger import Ledger
from fedca.records import RedeemOutcome, Redemption, TokenRecord
from fedcore.clock import Clock
from fedcore.errors import Denied, FieldError, Invalid, Unauthenticated
from fedcore.ids import new_id
from fedcore.limits import JOIN_TOKEN_MAX_LIFE_S

log = structlog.get_logger(__name__)

TOKEN_PREFIX: Final = "flm_join_"  # noqa: S105 - the public beginning of every token, no secret
TOKEN_BYTES: Final = 32
TOKEN_KEY_MISMATCH: Final = "token_key_mismatch"  # noqa: S105 - the name of a fact, no secret
"""``facts["reason"]`` of the refusal that deserves an alarm: a used token came with another key."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A new token; ``token`` is to be shown to a person once and kept nowhere."""

    token_id: str
    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """What a redeemed token allows: this agent may join this site."""

    site_id: str
    token_id: str
    agent_id: str
    """Fixed by the first redemption; a retry gets the same."""
    is_retry: bool


class JoinTokens:
    """Makes, redeems and voids join tokens."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def create(self, *, site_id: str, created_by: str, life_s: float) -> JoinToken:
        """Make a token of 256 random bits for a site; ``life_s`` is 24 hours at most."""
        if not 0 < life_s <= JOIN_TOKEN_MAX_LIFE_S:
            field_error = FieldError(
                "life_s", f"must be above 0 and at most {JOIN_TOKEN_MAX_LIFE_S}"
            )
            raise Invalid("a join token cannot live that long", errors=(field_error,))
        token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        now = self._clock.now()
        record = TokenRecord(
            token_id=new_id(),
            token_sha256=_hashed(token),
            site_id=site_id,
            created_by=created_by,
            created_at=now,
            expires_at=now + timedelta(seconds=life_s),
        )
        await self._ledger.add_token(record)
        log.info("token.created", token_id=record.token_id, site=site_id, created_by=created_by)
        return JoinToken(record.token_id, token, record.expires_at)

    async def redeem(self, token: str, *, spki_sha256: str) -> TokenGrant:
        """Burn a token for the key of a CSR; the same key may repeat until the token expires.

        Raises ``Unauthenticated`` for an unknown, expired or voided token: one text, one path of
        one hash and one step in the ledger. Raises ``Denied`` with the fact ``reason =
        TOKEN_KEY_MISMATCH`` and the token's site for another key on a used one.
        """
        if _SHA256.fullmatch(spki_sha256) is None:
            raise Invalid("a key is named by 64 hexadecimal digits")
        redemption = await self._ledger.redeem_token(
            _hashed(token), spki_sha256=spki_sha256, agent_id=new_id(), now=self._clock.now()
        )
        return _granted(redemption, spki_sha256)

    async def void(self, site_id: str) -> int:
        """Make all tokens of a site worthless, used ones for retries too; return how many."""
        count = await self._ledger.void_tokens(site_id, self._clock.now())
        log.info("token.voided", site=site_id, count=count)
        return count


def _granted(redemption: Redemption, spki_sha256: str) -> TokenGrant:
    outcome, record = redemption.outcome, redemption.record
    if record is not None and outcome is RedeemOutcome.KEY_MISMATCH:
        log.warning(
            "token.key_mismatch", token_id=record.token_id, site=record.site_id, key=spki_sha256
        )
        raise Denied(
            "this join token was used with another key: invite the site again",
            reason=TOKEN_KEY_MISMATCH,
            site_id=record.site_id,
            token_id=record.token_id,
        )
    is_retry = outcome is RedeemOutcome.REPEATED
    is_good = is_retry or outcome is RedeemOutcome.GRANTED
    if record is None or record.agent_id is None or not is_good:
        log.warning("token.refused", outcome=outcome)
        raise Unauthenticated("the join token is not valid: it is unknown, used or expired")
    log.info("token.redeemed", token_id=record.token_id, site=record.site_id, is_retry=is_retry)
    return TokenGrant(record.site_id, record.token_id, record.agent_id, is_retry)


def _hashed(token: str) -> str:
    # A plain hash will do for 256 random bits; whatever bytes came are hashed, so that a
    # malformed token takes the same path as an unknown one.
    return hashlib.sha256(token.encode("utf-8", "backslashreplace")).hexdigest()
