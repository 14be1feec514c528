"""What people are shown of a resource: its report, seen in the light of what the hub knows.

``RULES`` is the decision table: the first rule that fits says the phase. Everything that shows or
filters a phase uses it: REST, its filter in SQL (``store.effective_phase`` builds a CASE of the
same rules), the CLI behind REST, metrics.

What the report alone gets wrong, and why a rule overrules it:

- An offline site's last report may be hours old. Its phase stays visible as ``last_known``.
- A report speaks of the generation that it observed. ``Ready`` for an older one says nothing of
  the one that is on its way; ``Gone`` and ``Removing`` for an older one may belong to a removal
  that was taken back. Phases on the way (``Deploying``, ``Degraded`` ...) go on being true.
- Before the first report there is nothing to show, so the cause is: not planned, or no agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Final

from fedcore.words import Phase
from fedhub.domain.phases import NEEDS_A_PERSON, SiteState

_SETTLED: Final = frozenset({Phase.READY, Phase.REMOVING, Phase.GONE, *NEEDS_A_PERSON})
"""Phases in which an agent rests: a newer generation makes something else of them."""


class Fact(StrEnum):
    """What rules ask of a resource, true or false."""

    SITE_OFFLINE = "site_offline"
    PLANNED = "planned"
    """It has a document."""
    WAITING = "waiting"
    """The planner said why it has none."""
    REPORTED = "reported"
    REMOVING = "removing"
    BEHIND = "behind"
    """The report speaks of an older generation than the document's."""


class Rule(StrEnum):
    """The rules by name, for their reasons and messages."""

    SITE_OFFLINE = "site_offline"
    WAITS_FOR_PLAN = "waits_for_plan"
    DRAFT = "draft"
    NOT_REPORTED = "not_reported"
    REMOVAL_REQUESTED = "removal_requested"
    NEW_GENERATION = "new_generation"
    AS_REPORTED = "as_reported"


@dataclass(frozen=True, slots=True)
class Condition:
    """When a rule fits: each fact as said, and the reported phase in ``phases`` (None: any)."""

    facts: Mapping[Fact, bool]
    phases: frozenset[Phase] | None = None


RULES: Final[tuple[tuple[Rule, Condition, Phase | None], ...]] = (
    (
        Rule.SITE_OFFLINE,
        Condition({Fact.SITE_OFFLINE: True, Fact.PLANNED: True}),
        Phase.UNKNOWN,
    ),
    (
        Rule.WAITS_FOR_PLAN,
        Condition({Fact.PLANNED: False, Fact.WAITING: True}),
        Phase.WAITING,
    ),
    (Rule.DRAFT, Condition({Fact.PLANNED: False}), Phase.DRAFT),
    (Rule.NOT_REPORTED, Condition({Fact.REPORTED: False}), Phase.WAITING),
    (
        Rule.REMOVAL_REQUESTED,
        Condition({Fact.REMOVING: True, Fact.BEHIND: True}, frozenset(Phase) - {Phase.REMOVING}),
        Phase.REMOVING,
    ),
    (
        Rule.NEW_GENERATION,
        Condition({Fact.REMOVING: False, Fact.BEHIND: True}, _SETTLED),
        Phase.RECONFIGURING,
    ),
    (Rule.AS_REPORTED, Condition({}), None),
)
"""Rule, when it fits, the phase that it says; None is the reported one."""


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
    """What is known of a resource; ``phase`` and what follows are None without a report."""

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

    def facts(self) -> frozenset[Fact]:
        """Return the facts that are true."""
        facts = (
            (Fact.SITE_OFFLINE, self.site_state is SiteState.OFFLINE),
            (Fact.PLANNED, self.generation is not None),
            (Fact.WAITING, bool(self.waiting_reason)),
            (Fact.REPORTED, self.phase is not None),
            (Fact.REMOVING, self.removing),
            (Fact.BEHIND, (self.observed_generation or 0) < (self.generation or 0)),
        )
        return frozenset(fact for fact, is_true in facts if is_true)


def effective_status(inputs: StatusInputs) -> EffectiveStatus:
    """Decide what is shown, by the first of ``RULES`` that fits."""
    rule, phase = _first_fitting(inputs.facts(), inputs.phase)
    return _explained(rule, phase or Phase.UNKNOWN, inputs)


@cache
def _first_fitting(facts: frozenset[Fact], reported: Phase | None) -> tuple[Rule, Phase | None]:
    """Return the rule and its phase; cached, for a list of thousands has a handful of cases."""
    return next(
        (rule, phase or reported)
        for rule, condition, phase in RULES
        if all((fact in facts) is value for fact, value in condition.facts.items())
        and (condition.phases is None or reported in condition.phases)
    )


def _explained(rule: Rule, phase: Phase, inputs: StatusInputs) -> EffectiveStatus:
    since = inputs.since or inputs.created_at
    match rule:
        case Rule.SITE_OFFLINE:
            heard_at = inputs.reported_at or inputs.created_at
            message = (
                f"site {inputs.site} is offline; last heard of this at "
                f"{heard_at:%Y-%m-%d %H:%M:%S} UTC"
            )
            return EffectiveStatus(phase, "SiteOffline", message, heard_at, inputs.phase)
        case Rule.WAITS_FOR_PLAN | Rule.DRAFT:
            reason = inputs.waiting_reason or "NotPlanned"
            message = inputs.waiting_message or ""
            return EffectiveStatus(phase, reason, message, inputs.created_at)
        case Rule.NOT_REPORTED:
            is_online = inputs.site_state is SiteState.ONLINE
            reason = "NotReported" if is_online else "SiteNotConnected"
            message = f"site {inputs.site} ({inputs.site_state.value}) has not reported on this yet"
            return EffectiveStatus(phase, reason, message, inputs.created_at)
        case Rule.REMOVAL_REQUESTED:
            return EffectiveStatus(phase, "Requested", "removal is asked for", since)
        case Rule.NEW_GENERATION:
            return EffectiveStatus(phase, *_new_generation(inputs), since)
        case Rule.AS_REPORTED:
            return EffectiveStatus(phase, inputs.reason or "", inputs.message or "", since)


def _new_generation(inputs: StatusInputs) -> tuple[str, str]:
    generation, observed = inputs.generation, inputs.observed_generation
    if inputs.phase in {Phase.REMOVING, Phase.GONE}:
        return "TakenBack", f"its removal is taken back with generation {generation}"
    if inputs.phase is Phase.READY:
        return "NewGeneration", f"generation {generation} is on its way; {observed} runs"
    return "NewGeneration", f"generation {generation} is on its way; {observed} was {inputs.phase}"
