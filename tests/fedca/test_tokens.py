"""Join tokens: once, for a while, for one key."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from tests.fedca.bench import START, SetClock

from fedca.ledger import MemoryLedger
from fedca.tokens import TOKEN_KEY_MISMATCH, JoinTokens, TokenGrant
from fedcore.errors import Denied, ErrorCode, Invalid, Unauthenticated

KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def tokens(ledger: MemoryLedger, clock: SetClock) -> JoinTokens:
    return JoinTokens(ledger, clock)


async def a_token(tokens: JoinTokens, site_id: str = "site-1", life_s: float = 900) -> str:
    made = await tokens.create(site_id=site_id, created_by="admin", life_s=life_s)
    return made.token


async def refusal(tokens: JoinTokens, token: str, key: str = KEY) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await tokens.redeem(token, spki_sha256=key)
    assert caught.value.facts == {}
    return caught.value.message


async def test_a_token_is_long_random_and_expires(tokens: JoinTokens) -> None:
    made = await tokens.create(site_id="site-1", created_by="admin", life_s=900)
    assert re.fullmatch(r"flm_join_[A-Za-z0-9_-]{43,}", made.token)
    assert made.expires_at == START + timedelta(seconds=900)
    assert made.token not in repr(made)
    assert await a_token(tokens) != await a_token(tokens)


async def test_a_token_is_in_no_record_and_in_no_log(
    tokens: JoinTokens, ledger: MemoryLedger
) -> None:
    with capture_logs() as lines:
        token = await a_token(tokens)
        await tokens.redeem(token, spki_sha256=KEY)
        with pytest.raises(Denied):
            await tokens.redeem(token, spki_sha256=OTHER)
        await refusal(tokens, token + "x")
    secret = token.removeprefix("flm_join_")
    assert secret not in repr(ledger._tokens)
    assert secret not in repr(lines)
    assert {line["event"] for line in lines} == {
        "token.created",
        "token.redeemed",
        "token.key_mismatch",
        "token.refused",
    }


async def test_a_redeemed_token_grants_its_site_and_a_new_agent(tokens: JoinTokens) -> None:
    grant = await tokens.redeem(await a_token(tokens), spki_sha256=KEY)
    other = await tokens.redeem(await a_token(tokens, "site-2"), spki_sha256=OTHER)
    assert (grant.site_id, other.site_id) == ("site-1", "site-2")
    assert not grant.is_retry
    assert grant.agent_id != other.agent_id


async def test_the_same_key_gets_the_same_grant_again(tokens: JoinTokens, clock: SetClock) -> None:
    token = await a_token(tokens)
    first = await tokens.redeem(token, spki_sha256=KEY)
    clock.advance(timedelta(seconds=899))
    again = await tokens.redeem(token, spki_sha256=KEY)
    assert again == TokenGrant(first.site_id, first.token_id, first.agent_id, is_retry=True)


async def test_another_key_is_refused_with_its_own_fact(tokens: JoinTokens) -> None:
    token = await a_token(tokens)
    grant = await tokens.redeem(token, spki_sha256=KEY)
    with pytest.raises(Denied) as caught:
        await tokens.redeem(token, spki_sha256=OTHER)
    assert caught.value.code is ErrorCode.DENIED
    assert caught.value.facts == {
        "reason": TOKEN_KEY_MISMATCH,
        "site_id": "site-1",
        "token_id": grant.token_id,
    }


async def test_unknown_expired_and_voided_tokens_are_refused_alike(
    tokens: JoinTokens, clock: SetClock
) -> None:
    expired, voided = await a_token(tokens), await a_token(tokens, "site-2", life_s=3600)
    assert await tokens.void("site-2") == 1
    clock.advance(timedelta(seconds=900))
    texts = {
        await refusal(tokens, token)
        for token in (expired, voided, "flm_join_" + "A" * 43, "", "\ud800", "x" * 30_000)
    }
    assert len(texts) == 1


async def test_an_expired_token_is_not_repeated(tokens: JoinTokens, clock: SetClock) -> None:
    token = await a_token(tokens)
    await tokens.redeem(token, spki_sha256=KEY)
    clock.advance(timedelta(seconds=900))
    await refusal(tokens, token)
    await refusal(tokens, token, OTHER)


async def test_voiding_a_site_ends_its_tokens_used_or_not(tokens: JoinTokens) -> None:
    used, fresh, foreign = [await a_token(tokens, s) for s in ("site-1", "site-1", "site-2")]
    await tokens.redeem(used, spki_sha256=KEY)
    assert await tokens.void("site-1") == 2
    await refusal(tokens, used)
    await refusal(tokens, fresh)
    assert (await tokens.redeem(foreign, spki_sha256=KEY)).site_id == "site-2"


async def test_of_fifty_redeems_at_once_exactly_one_wins(tokens: JoinTokens) -> None:
    token = await a_token(tokens)
    answers = await asyncio.gather(
        *(tokens.redeem(token, spki_sha256=f"{number:064x}") for number in range(50)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, TokenGrant) for answer in answers) == 1
    assert sum(isinstance(answer, Denied) for answer in answers) == 49


@pytest.mark.parametrize("life_s", [0, -1, 86_401, float("nan"), float("inf")])
async def test_an_absurd_life_is_refused(tokens: JoinTokens, life_s: float) -> None:
    with pytest.raises(Invalid) as caught:
        await a_token(tokens, life_s=life_s)
    assert caught.value.errors[0].path == "life_s"


@pytest.mark.parametrize("key", ["", "A" * 64, "a" * 63, "a" * 64 + "\n"])
async def test_a_key_is_named_by_its_hash(tokens: JoinTokens, key: str) -> None:
    with pytest.raises(Invalid):
        await tokens.redeem(await a_token(tokens), spki_sha256=key)
