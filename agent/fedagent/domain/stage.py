"""The frame of a participant's plan: stages in order, up to the one that halts.

A stage is a function that returns None when nothing is lacking for it, or a StageResult: why the
plan stops there and what is done about it. Later stages are pending then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fedagent.domain.decision import Action, Finding, Step
from fedagent.domain.diagnosis import findings_of
from fedagent.domain.document import ParticipantDocument
from fedagent.domain.observed import OwnerView, ParticipantObserved, ServiceAccess
from fedagent.domain.policy import Policy
from fedagent.domain.route_probes import ProbedRoutes, probed_routes
from fedagent.domain.state import ResourceState, Submission
from fedagent.domain.timing import PlanTiming, wait_after
from fedcore.words import Phase, Severity, StepState


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What every plan of an agent depends on, whatever the resource."""

    hub_id: str
    policy: Policy
    timing: PlanTiming


@dataclass(frozen=True, slots=True)
class PlanContext:
    """All that a participant's plan depends on."""

    document: ParticipantDocument
    observed: ParticipantObserved
    state: ResourceState
    now: datetime
    settings: PlanSettings

    @property
    def timing(self) -> PlanTiming:
        """The waits and limits."""
        return self.settings.timing

    @property
    def us(self) -> OwnerView:
        """The owner that our labels name."""
        return OwnerView(self.settings.hub_id, self.document.resource_id)

    @property
    def was_ready(self) -> bool:
        """Whether this very generation was Ready before, so that what lacks now is drift."""
        return self.state.ready_generation >= self.document.generation

    @property
    def busy_phase(self) -> Phase:
        """The phase while work goes on.

        the participant                                      | phase
        -----------------------------------------------------|--------------
        was Ready with this generation                       | Degraded
        was Ready with an older one and another chart        | Upgrading
        was Ready with an older one and the same chart       | Reconfiguring
        was never Ready, or its removal has begun since then | Deploying
        """
        if self.was_ready:
            return Phase.DEGRADED
        if not self.state.ready_generation:
            return Phase.DEPLOYING
        good = self.state.good
        is_upgrade = good is not None and not good.chart.is_same(self.document.chart)
        return Phase.UPGRADING if is_upgrade else Phase.RECONFIGURING

    @property
    def routes(self) -> ProbedRoutes | None:
        """The routes that a handshake can try."""
        return probed_routes(self.document, self.state, self.timing)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the workloads, worst first."""
        return findings_of(self.observed, self.now, self.timing)

    @property
    def worst_finding(self) -> Finding | None:
        """The worst of them, when it is an error."""
        worst = next(iter(self.findings), None)
        return worst if worst is not None and worst.severity is Severity.ERROR else None

    def age_s(self, moment: datetime | None) -> float:
        """Return the seconds since ``moment``; without one, infinitely many."""
        return float("inf") if moment is None else (self.now - moment).total_seconds()


@dataclass(frozen=True, slots=True)
class StageResult:
    """Why a plan stops at a stage, and what is done about it."""

    phase: Phase
    reason: str
    message: str
    actions: tuple[Action, ...] = ()
    next_check_s: float | None = None
    """None: ``recheck_soon_s``."""
    failed: bool = False
    follows_job: str = ""
    findings: tuple[Finding, ...] = ()

    def check_s(self, timing: PlanTiming) -> float:
        """Return the seconds until the next look."""
        return timing.recheck_soon_s if self.next_check_s is None else self.next_check_s


Stage = Callable[[PlanContext], StageResult | None]


def run_stages(
    ctx: PlanContext, stages: Sequence[tuple[str, Stage]]
) -> tuple[tuple[Step, ...], StageResult | None]:
    """Run the stages up to the one that halts; return all steps and that stage's result."""
    steps: list[Step] = []
    result: StageResult | None = None
    for name, stage in stages:
        if result is not None:
            steps.append(Step(name, StepState.PENDING))
            continue
        result = stage(ctx)
        if result is None:
            steps.append(Step(name, StepState.DONE))
        else:
            step_state = StepState.FAILED if result.failed else StepState.RUNNING
            steps.append(Step(name, step_state, result.message))
    return tuple(steps), result


def backoff_left_s(ctx: PlanContext, tries: int, last: Submission | None) -> float:
    """Return the seconds until the next try after ``tries`` of them; 0 when it is due."""
    if tries == 0 or last is None:
        return 0.0
    wait_s = wait_after(ctx.timing.backoff_s, tries)
    return max(0.0, wait_s - ctx.age_s(last.ended_at or last.begun_at))


def owned_by_another(ctx: PlanContext, subject: str, owner: object) -> StageResult:
    """Return the result for something that is not ours: it is named and never touched."""
    return StageResult(
        phase=Phase.REFUSED,
        reason="OwnedByAnother",
        message=f"{subject} belongs to {owner}; nothing of it is touched",
        next_check_s=ctx.timing.recheck_idle_s,
        failed=True,
    )


def without_service(ctx: PlanContext) -> StageResult | None:
    """Return the result of work that needs KubeFATE while it does not answer.

    None where the participant was Ready and nothing is under way: it runs on without KubeFATE, and
    an outage of the service must not show as one of the participant.
    """
    view = ctx.observed.kubefate
    if ctx.was_ready and ctx.state.open_submission is None:
        return None
    is_refused = view.access is ServiceAccess.UNAUTHORIZED
    reason = "KubeFateRefused" if is_refused else "KubeFateUnavailable"
    is_untouched = not ctx.state.submissions and not ctx.state.ready_generation
    phase = Phase.WAITING if is_untouched else ctx.busy_phase
    message = view.message or "KubeFATE does not answer; work goes on when it does"
    return StageResult(phase, reason, message, next_check_s=ctx.timing.recheck_kubefate_s)
