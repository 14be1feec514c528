"""Stored intents, readable always: a rule that became stricter must not lose a federation.

What was good when it was stored may be refused by today's rules. It is then read as far as it goes:
enough to compare with it, to replace it and to remove it. What cannot be planned is *held*: its
documents stay as they are until somebody applies a corrected file.
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

    ``is_held``: it cannot be planned; ``intent`` then holds unchecked values.
    """

    intent: FederationIntent
    errors: tuple[FieldError, ...] = ()
    is_unplannable: bool = False

    def unplannable_reason(self, name: str) -> str:
        """Say for people what is wrong and what to do."""
        return (
            f"federation {name} stays as it is: its stored intent is refused by this hub: "
            f"{first_of(self.errors)}; {CURE}"
        )


class Unplannable(Conflict):
    """A federation whose stored intent cannot be planned; the message names error and cure."""


class IntentCache:
    """Parsed intents by federation: parsing one of a thousand parties costs 50 ms.

    What is stored decides, not a revision: a preview uses a revision that is given away again.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[dict[str, object], StoredIntent]] = {}

    def of(self, federation: Federation) -> StoredIntent:
        """Return the intent of a federation as it was read."""
        known = self._known.get(federation.id)
        if known is not None and known[0] == federation.intent:
            return known[1]
        stored = read_intent(federation.intent)
        if len(self._known) >= MAX_INTENTS:
            self._known.clear()
        self._known[federation.id] = (federation.intent, stored)
        return stored


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
