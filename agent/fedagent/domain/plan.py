"""The agent's plan: document and observation in, next actions out. Pure, total, idempotent.

Kill the agent at any point: on restart it observes, and these functions go on from there.

What the stages decide is bounded by the site's policy:

document | policy                             | decided
---------|------------------------------------|------------------------------------------------
present  | refuses the document               | Refused; nothing is done, what runs stays
present  | refuses the kind of one action     | Refused; no action at all: no half of a change
present  | wants consent for the kind of one  | AwaitingApproval; the other actions go on
present  | allows                             | what the stages say
absent   | refuses `remove`, or wants consent | Refused or AwaitingApproval; nothing is removed
absent   | allows, or nothing is left         | what the stages of the removal say

A removal is judged as a whole, before its first step: one that stopped half-way for a missing
permission would leave a participant that neither runs nor is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from fedagent.domain.decision import ActionKind, Decision, Step, kind_of
from fedagent.domain.document import Document, EndpointDocument, ParticipantDocument
from fedagent.domain.install import install
from fedagent.domain.observed import ParticipantObserved, ServiceObserved
from fedagent.domain.policy import NeedsApproval, RefusedBy, check_document, decide
from fedagent.domain.prerequisites import certificates, chart, namespace, renewals
from fedagent.domain.proxy_sync import proxies, reprobes
from fedagent.domain.readiness import addresses, components, routes
from fedagent.domain.removal import plan_removal, what_stays
from fedagent.domain.route_probes import unreachable_parties
from fedagent.domain.service import ServicePlanContext, plan_service
from fedagent.domain.stage import PlanContext, PlanSettings, Stage, StageResult, run_stages
from fedagent.domain.state import ResourceState
from fedcore.words import Phase, StepState

STAGES: Final[tuple[tuple[str, Stage], ...]] = (
    ("namespace", namespace),
    ("certificates", certificates),
    ("chart", chart),
    ("install", install),
    ("components", components),
    ("addresses", addresses),
    ("routes", routes),
    ("proxies", proxies),
)
"""The steps of a participant, in order; people see their names."""


def plan_participant(
    document: ParticipantDocument,
    observed: ParticipantObserved,
    state: ResourceState,
    settings: PlanSettings,
    now: datetime,
) -> Decision:
    """Return the next actions for an exchange or a cluster, and how it stands."""
    ctx = PlanContext(document, observed, state, now, settings)
    if document.absent:
        cure = "At the hub: put it back into the federation's file, which takes this back."
        decision = _removal_under_policy(
            plan_removal(ctx), document, state, settings, stays=what_stays(ctx), cure=cure
        )
        is_held = decision.phase in {Phase.REFUSED, Phase.AWAITING_APPROVAL}
        return replace(decision, findings=ctx.findings) if is_held else decision
    refusal = check_document(settings.policy, document)
    if refusal is not None:
        return _refused(refusal, settings)
    return _under_policy(_plan_present(ctx), document, state, settings)


def plan_endpoint(
    document: EndpointDocument,
    observed: ServiceObserved,
    state: ResourceState,
    settings: PlanSettings,
) -> Decision:
    """Return the next actions for a KubeFATE service, and how it stands."""
    ctx = ServicePlanContext(document, observed, state, settings)
    if document.absent:
        stays = f"KubeFATE runs on in namespace {document.namespace}"
        return _removal_under_policy(plan_service(ctx), document, state, settings, stays=stays)
    refusal = check_document(settings.policy, document)
    if refusal is not None:
        return _refused(refusal, settings)
    # To use a service that somebody else installed is an act of its own: adopting it.
    is_theirs = observed.is_installed and observed.owner != ctx.us
    beside = (ActionKind.ADOPT,) if is_theirs else ()
    return _under_policy(plan_service(ctx), document, state, settings, beside=beside)


def _plan_present(ctx: PlanContext) -> Decision:
    steps, halt = run_stages(ctx, STAGES)
    result = halt if halt is not None else _ready(ctx)
    down = unreachable_parties(ctx.routes, ctx.now)
    return Decision(
        phase=result.phase,
        reason=result.reason,
        message=result.message,
        # A certificate that is due is renewed beside whatever else goes on: nothing waits for it.
        actions=(*result.actions, *renewals(ctx)),
        steps=steps,
        findings=(*result.findings, *ctx.findings, *down),
        next_check_s=result.check_s(ctx.timing),
        follows_job=result.follows_job,
    )


def _ready(ctx: PlanContext) -> StageResult:
    timing = ctx.timing
    return StageResult(
        Phase.READY,
        "Ready",
        "every component is ready and every table is in place",
        actions=reprobes(ctx),
        next_check_s=timing.recheck_probes_s if ctx.state.probes else timing.recheck_idle_s,
    )


def _refused(refusal: RefusedBy, settings: PlanSettings) -> Decision:
    return Decision(
        Phase.REFUSED,
        refusal.rule,
        refusal.message,
        steps=(Step("policy", StepState.FAILED, refusal.message),),
        next_check_s=settings.timing.recheck_idle_s,
    )


def _is_approved(document: Document, state: ResourceState, kind: ActionKind) -> bool:
    """Return whether a person consented to this kind of action for this very document."""
    return (document.body_sha256, kind.value) in state.approvals


def _removal_under_policy(
    decision: Decision,
    document: Document,
    state: ResourceState,
    settings: PlanSettings,
    *,
    stays: str,
    cure: str = "",
) -> Decision:
    """Hold a removal back as a whole. ``stays`` says what runs on, ``cure`` how to undo it."""
    # What is gone needs no permission any more: the policy may have become stricter since.
    if decision.phase is Phase.GONE:
        return decision
    match decide(settings.policy, ActionKind.REMOVE):
        case RefusedBy(rule=rule, message=message):
            phase, reason = Phase.REFUSED, rule
            text = f"{stays}: {message}. At the site: allow `remove` in the policy file"
            text += " and restart the agent."
        case NeedsApproval() if not _is_approved(document, state, ActionKind.REMOVE):
            phase, reason = Phase.AWAITING_APPROVAL, f"Approval.{ActionKind.REMOVE}"
            text = f"{stays}: its removal waits for `fedagent approve` at the site."
        case _:
            return decision
    steps = tuple(Step(step.name, StepState.PENDING) for step in decision.steps)
    idle_s = settings.timing.recheck_idle_s
    return Decision(phase, reason, f"{text} {cure}".rstrip(), steps=steps, next_check_s=idle_s)


def _under_policy(
    decision: Decision,
    document: Document,
    state: ResourceState,
    settings: PlanSettings,
    *,
    beside: Iterable[ActionKind] = (),
) -> Decision:
    """Hold back what the site does not allow, or not without a person's consent.

    ``beside`` are kinds of action that the resource's mere use amounts to.
    """
    unapproved: set[ActionKind] = set()
    for kind in sorted({kind_of(action) for action in decision.actions} | set(beside)):
        verdict = decide(settings.policy, kind)
        if isinstance(verdict, RefusedBy):
            refused = _refused(verdict, settings)
            return replace(refused, steps=decision.steps, findings=decision.findings)
        if isinstance(verdict, NeedsApproval) and not _is_approved(document, state, kind):
            unapproved.add(kind)
    if not unapproved:
        return decision
    first = min(unapproved)
    return replace(
        decision,
        phase=Phase.AWAITING_APPROVAL,
        reason=f"Approval.{first}",
        message=f"{decision.message}: waits for `fedagent approve` at the site ({first})",
        actions=tuple(action for action in decision.actions if kind_of(action) not in unapproved),
        next_check_s=settings.timing.recheck_idle_s,
    )
