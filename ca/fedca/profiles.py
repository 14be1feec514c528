"""Who may get what for how long: one row for each kind of certificate.

A new kind is a row here and a function in ``names``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from fedca.keys import KeyKind
from fedca.names import ProfileName
from fedca.records import CaPurpose
from fedcore.errors import FieldError, Invalid

BACKDATE: Final = timedelta(minutes=5)
"""Certificates are valid from a little earlier: clocks differ."""


class Usage(StrEnum):
    """An extended key usage."""

    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Profile:
    """The rules of one kind of certificate."""

    name: ProfileName
    purpose: CaPurpose
    usages: tuple[Usage, ...]
    keys: frozenset[KeyKind]
    life: timedelta
    may_repeat: bool
    """Whether the same key, asked for again before it is due, gets the same certificate again
    without the caller saying that it is a retry: a lost answer must not strand a service."""


_EC: Final = frozenset({KeyKind.P256, KeyKind.P384})
_ANY: Final = frozenset(KeyKind)
_BOTH: Final = (Usage.SERVER, Usage.CLIENT)

_WEEK: Final = timedelta(days=7)
_MONTH: Final = timedelta(days=30)

_ROWS: Final = (
    Profile(ProfileName.HUB, CaPurpose.INFRA, (Usage.SERVER,), _EC, _MONTH, may_repeat=False),
    Profile(ProfileName.CONSOLE, CaPurpose.INFRA, (Usage.SERVER,), _EC, _MONTH, may_repeat=False),
    Profile(ProfileName.AGENT, CaPurpose.AGENTS, (Usage.CLIENT,), _EC, _WEEK, may_repeat=False),
    Profile(ProfileName.PULSAR, CaPurpose.SERVICES, _BOTH, _ANY, _MONTH, may_repeat=True),
    Profile(ProfileName.ATS, CaPurpose.SERVICES, (Usage.SERVER,), _ANY, _MONTH, may_repeat=True),
)

PROFILES: Final[dict[ProfileName, Profile]] = {row.name: row for row in _ROWS}


def profile_of(name: str) -> Profile:
    """Return the profile of a name; ``Invalid`` if there is none."""
    try:
        return PROFILES[ProfileName(name)]
    except ValueError:
        known = ", ".join(PROFILES)
        field_error = FieldError("profile", f"known are {known}")
        raise Invalid("there is no such certificate profile", errors=(field_error,)) from None
