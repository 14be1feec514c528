"""Stored intents, readable always: a rule that became stricter must not lose a federation.

What was good when it was stored may be refused by today's rules. It is then read as far as it goes:
enough to compare with it, to replace it and to remove it. What cannot be planned is *unplannable*:
its documents stay as they are until somebody applies a corrected file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from fedcore.errors import Conflict, FieldError, Invalid, first_of
from fedhub.domain.federation import (
    ExchangeAdvertise,
    ExchangeIntent,
    FederationIntent,
    PartyAdvertise,
    PartyIntent,
)
from fedhub.domain.models import Federation
from fedhub.planner.intent import parse_intent

MAX_INTENTS: Final = 100
CURE: Final = "apply a corrected file, or remove the federation"


@dataclass(frozen=True, slots=True)
class StoredIntent:
    """An intent as it was read, and what today's rules say against it.

    ``is_unplannable``: ``intent`` holds unchecked values, which the planner must not see.
    """

    intent: FederationIntent
    errors: tuple[FieldError, ...] = ()
    is_unplannable: bool = False

    def unplannable_reason(self, name: str) -> str:
        """Return what is wrong and what to do, for people."""
        return (
            f"federation {name} stays as it is: its stored intent is refused by this hub: "
            f"{first_of(self.errors)}; {CURE}"
        )


class Unplannable(Conflict):
    """A federation whose stored intent cannot be planned; the message names error and cure."""


class IntentCache:
    """Parsed intents by federation: parsing one of a thousand parties costs 50 ms.

    An entry counts while what is stored equals what it was parsed from. Not the revision decides:
    a preview uses a revision that the next change uses again.
    """

    def __init__(self) -> None:
        self._entries: dict[str, tuple[dict[str, object], StoredIntent]] = {}

    def of(self, federation: Federation) -> StoredIntent:
        """Return the intent of a federation, whatever today's rules say of it."""
        entry = self._entries.get(federation.id)
        if entry is not None and entry[0] == federation.intent:
            return entry[1]
        stored = read_intent(federation.intent)
        self._put(federation, stored)
        return stored

    def remember(self, federation: Federation, intent: FederationIntent) -> None:
        """Keep an intent that was parsed before it was stored, and has no errors."""
        self._put(federation, StoredIntent(intent))

    def _put(self, federation: Federation, stored: StoredIntent) -> None:
        if len(self._entries) >= MAX_INTENTS:
            self._entries.clear()
        self._entries[federation.id] = (federation.intent, stored)


def read_intent(written: Mapping[str, object]) -> StoredIntent:
    """Read a stored intent, whatever today's rules say of it."""
    try:
        return StoredIntent(parse_intent(written))
    except Invalid as error:
        errors = error.errors
    try:
        return StoredIntent(FederationIntent.model_validate(written, strict=False), errors)
    except ValidationError:
        return StoredIntent(_unchecked(written), errors, is_unplannable=True)


def _unchecked(written: Mapping[str, Any]) -> FederationIntent:
    """Build an intent of the stored values without a check; what names no participant is left."""
    exchange = written.get("exchange")
    fields = {key: value for key, value in written.items() if key in FederationIntent.model_fields}
    return FederationIntent.model_construct(
        **{
            **fields,
            "exchange": _exchange(exchange) if isinstance(exchange, Mapping) else None,
            "parties": tuple(_parties(written.get("parties"))),
        }
    )


def _exchange(written: Mapping[str, Any]) -> ExchangeIntent | None:
    if not isinstance(written.get("site"), str):
        return None
    advertise = ExchangeAdvertise.model_construct(**_mapping(written.get("advertise")))
    return ExchangeIntent.model_construct(**{**written, "advertise": advertise})


def _parties(written: object) -> Iterator[PartyIntent]:
    for party in written if isinstance(written, list) else ():
        if not isinstance(party, Mapping) or not isinstance(party.get("site"), str):
            continue
        if isinstance(party.get("id"), int):
            advertise = PartyAdvertise.model_construct(**_mapping(party.get("advertise")))
            yield PartyIntent.model_construct(**{**party, "advertise": advertise})


def _mapping(written: object) -> dict[str, Any]:
    return {str(key): value for key, value in written.items()} if isinstance(written, dict) else {}
