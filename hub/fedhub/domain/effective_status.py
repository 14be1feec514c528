"""What people are shown of a resource: its report, seen in the light of what the hub knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fedcore.words import Phase
from fedhub.domain.phases import NEEDS_A_PERSON, SiteState

_ENDED: Final = frozenset({Phase.READY, Phase.REMOVING, Phase.GONE, *NEEDS_A_PERSON})
"""Phases of which a newer generation makes something else."""


@dataclass(frozen=True, slots=True)
class EffectiveStatus:
    """A phase with its reason, a sentence, and since when; ``last_known`` when it is Unknown."""

    phase: Phase
    reason: str
    message: str
    since: datetime
    last_known: Phase | None = None


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """What is known of a resource; ``phase`` and its company are None without a report."""

    site: str
    site_state: SiteState
    created_at: datetime
    removing: bool
    waiting_reason: str | None
    waiting_message: str | None
    generation: int | None
    phase: Phase | None
    reason: str | None
    message: str | None
    since: datetime | None
    observed_generation: int | None
    reported_at: datetime | None


def effective_status(known: StatusInputs) -> EffectiveStatus:
    """Decide what is shown: Unknown for an offline site, Waiting before the first report."""
    if known.site_state is SiteState.OFFLINE and known.generation is not None:
        age = known.reported_at or known.created_at
        return EffectiveStatus(
            Phase.UNKNOWN,
            "SiteOffline",
            f"site {known.site} is offline; last heard of this at {age:%Y-%m-%d %H:%M:%S} UTC",
            age,
            last_known=known.phase,
        )
    if known.generation is None:
        return EffectiveStatus(
            Phase.WAITING if known.waiting_reason else Phase.DRAFT,
            known.waiting_reason or "NotPlanned",
            known.waiting_message or "",
            known.created_at,
        )
    if known.phase is None or known.since is None:
        reason = "SiteNotConnected" if known.site_state is not SiteState.ONLINE else "NotReported"
        return EffectiveStatus(
            Phase.WAITING,
            reason,
            f"site {known.site} ({known.site_state.value}) has not reported on this yet",
            known.created_at,
        )
    is_behind = (known.observed_generation or 0) < known.generation
    if known.removing and is_behind and known.phase is not Phase.REMOVING:
        return EffectiveStatus(Phase.REMOVING, "Requested", "removal is asked for", known.since)
    if is_behind and not known.removing and known.phase in _ENDED:
        return EffectiveStatus(Phase.RECONFIGURING, *_on_its_way(known), known.since)
    return EffectiveStatus(known.phase, known.reason or "", known.message or "", known.since)


def _on_its_way(known: StatusInputs) -> tuple[str, str]:
    generation, observed = known.generation, known.observed_generation
    if known.phase in {Phase.REMOVING, Phase.GONE}:
        return "TakenBack", f"its removal is taken back with generation {generation}"
    if known.phase is Phase.READY:
        return "NewGeneration", f"generation {generation} is on its way; {observed} runs"
    return "NewGeneration", f"generation {generation} is on its way; {observed} was {known.phase}"
