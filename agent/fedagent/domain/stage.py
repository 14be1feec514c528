"""The frame of a plan: stages in order, each done or the one that halts it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fedagent.domain.decision import Action, Decision, Finding, Phase, Step, StepState
from fedagent.domain.diagnosis import findings_of
from fedagent.domain.document import ParticipantDocument
from fedagent.domain.observed import OwnerView, ParticipantObserved, ServiceAccess
from fedagent.domain.route_probes import ProbedRoutes, probed_routes
from fedagent.domain.state import ResourceState, Submission
from fedagent.domain.timing import PlanTiming, wait_after


@dataclass(frozen=True, slots=True)
class PlanContext:
    """All that a participant's plan depends on."""

    document: ParticipantDocument
    observed: ParticipantObserved
    memory: ResourceState
    now: datetime
    hub_id: str
    timing: PlanTiming

    @property
    def us(self) -> OwnerView:
        """The owner that our labels name."""
        return OwnerView(self.hub_id, self.document.resource_id)

    @property
    def was_ready(self) -> bool:
        """Tell whether this very generation was Ready before: what lacks now is drift."""
        return self.memory.ready_generation >= self.document.generation

    @property
    def busy_phase(self) -> Phase:
        """The phase while work goes on."""
        if self.was_ready:
            return Phase.DEGRADED
        return Phase.RECONFIGURING if self.memory.ready_generation else Phase.DEPLOYING

    @property
    def routes(self) -> ProbedRoutes | None:
        """The routes that a handshake can try."""
        return probed_routes(self.document, self.memory, self.timing)

    def age_s(self, moment: datetime | None) -> float:
        """Return the seconds since ``moment``; without one, very many."""
        return float("inf") if moment is None else (self.now - moment).total_seconds()


@dataclass(frozen=True, slots=True)
class StageResult:
    """Why a plan stops at a stage, and what is done about it."""

    phase: Phase
    reason: str
    message: str
    actions: tuple[Action, ...] = ()
    next_check_s: float | None = None
    """None: soon."""
    failed: bool = False
    follows_job: str = ""
    findings: tuple[Finding, ...] = ()

    def check_s(self, timing: PlanTiming) -> float:
        """Return the seconds until the next look."""
        return timing.recheck_soon_s if self.next_check_s is None else self.next_check_s


Stage = Callable[[PlanContext], StageResult | None]


def run_stages(
    ctx: PlanContext,
    stages: Sequence[tuple[str, Stage]],
    otherwise: StageResult,
    *,
    beside: tuple[Action, ...] = (),
) -> Decision:
    """Go through the stages up to the one that halts; ``beside`` are actions at any rate."""
    steps: list[Step] = []
    halt: StageResult | None = None
    for name, stage in stages:
        if halt is not None:
            steps.append(Step(name, StepState.PENDING))
            continue
        halt = stage(ctx)
        if halt is None:
            steps.append(Step(name, StepState.DONE))
        else:
            state = StepState.FAILED if halt.failed else StepState.RUNNING
            steps.append(Step(name, state, halt.message))
    end = halt if halt is not None else otherwise
    return Decision(
        phase=end.phase,
        reason=end.reason,
        message=end.message,
        actions=(*end.actions, *beside),
        steps=tuple(steps),
        findings=(*end.findings, *findings_of(ctx.observed, ctx.now, ctx.timing)),
        next_check_s=end.check_s(ctx.timing),
        follows_job=end.follows_job,
    )


def backoff_left_s(ctx: PlanContext, tries: int, last: Submission | None) -> float:
    """Return the seconds until the next try after ``tries`` of them; 0 when it is due."""
    if tries == 0 or last is None:
        return 0.0
    wait_s = wait_after(ctx.timing.backoff_s, tries)
    return max(0.0, wait_s - ctx.age_s(last.ended_at or last.begun_at))


def owned_by_another(ctx: PlanContext, what: str, owner: object) -> StageResult:
    """Return the halt for something that is not ours: named, never touched."""
    return StageResult(
        phase=Phase.REFUSED,
        reason="OwnedByAnother",
        message=f"{what} belongs to {owner}; nothing of it is touched",
        next_check_s=ctx.timing.recheck_idle_s,
        failed=True,
    )


def without_service(ctx: PlanContext) -> StageResult | None:
    """Return the halt of work that needs KubeFATE, which does not answer; None when all is done."""
    view = ctx.observed.kubefate
    is_refused = view.access is ServiceAccess.UNAUTHORIZED
    reason = "KubeFateRefused" if is_refused else "KubeFateUnavailable"
    if ctx.was_ready and ctx.memory.open_submission is None:
        return None
    nothing_yet = not ctx.memory.submissions and not ctx.memory.ready_generation
    phase = Phase.WAITING if nothing_yet else ctx.busy_phase
    message = view.message or "KubeFATE does not answer; work goes on when it does"
    return StageResult(phase, reason, message, next_check_s=ctx.timing.recheck_kubefate_s)
