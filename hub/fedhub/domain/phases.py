"""The states that people see, and which may follow which: one table per kind of thing."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from fedcore.words import Phase


class SiteState(StrEnum):
    """Where a site stands; a broken stream is Disconnected at once, Offline after the lease."""

    INVITED = "Invited"
    ONLINE = "Online"
    DISCONNECTED = "Disconnected"
    OFFLINE = "Offline"
    REVOKED = "Revoked"


class OperationState(StrEnum):
    """Where an operation stands. Losing sight of a site is Stalled, never Failed."""

    RUNNING = "Running"
    STALLED = "Stalled"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUPERSEDED = "Superseded"


SITE_TRANSITIONS: Final[dict[SiteState, frozenset[SiteState]]] = {
    SiteState.INVITED: frozenset({SiteState.ONLINE, SiteState.REVOKED}),
    SiteState.ONLINE: frozenset({SiteState.DISCONNECTED, SiteState.OFFLINE, SiteState.REVOKED}),
    SiteState.DISCONNECTED: frozenset({SiteState.ONLINE, SiteState.OFFLINE, SiteState.REVOKED}),
    SiteState.OFFLINE: frozenset({SiteState.ONLINE, SiteState.REVOKED}),
    SiteState.REVOKED: frozenset({SiteState.INVITED}),
}

OPERATION_FINAL: Final = frozenset(
    {OperationState.SUCCEEDED, OperationState.FAILED, OperationState.SUPERSEDED}
)

NEEDS_A_PERSON: Final = frozenset({Phase.FAILED, Phase.REFUSED})
"""Phases that end an operation as Failed: nothing goes on until somebody changes something."""
