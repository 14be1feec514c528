"""The agent's plan: document and observation in, next actions out. Pure, total, idempotent.

Kill the agent at any point: on restart it observes, and this function goes on from there.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from fedagent.domain.decision import ActionKind, Decision, Phase, Step, StepState, kind_of
from fedagent.domain.diagnosis import findings_of
from fedagent.domain.document import Document, EndpointDocument, ParticipantDocument
from fedagent.domain.install import install
from fedagent.domain.observed import OwnerView, ParticipantObserved, ServiceObserved
from fedagent.domain.policy import NeedsApproval, Policy, RefusedBy, check_document, decide
from fedagent.domain.prerequisites import certificates, chart, namespace, renewals
from fedagent.domain.proxy_sync import proxies, reprobes
from fedagent.domain.readiness import addresses, components, routes
from fedagent.domain.removal import plan_removal, what_stays
from fedagent.domain.route_probes import unreachable_parties
from fedagent.domain.service import ServicePlanContext, plan_service
from fedagent.domain.stage import PlanContext, Stage, StageResult, run_stages
from fedagent.domain.state import ResourceState
from fedagent.domain.timing import PlanTiming

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


def plan(
    document: Document,
    observed: ParticipantObserved | ServiceObserved,
    memory: ResourceState,
    *,
    now: datetime,
    policy: Policy,
    hub_id: str,
    timing: PlanTiming,
) -> Decision:
    """Return the next actions for one resource, and how it stands."""
    refusal = None if document.absent else check_document(policy, document)
    if refusal is not None:
        return _refused(refusal, timing)
    match document, observed:
        case EndpointDocument(), ServiceObserved():
            decision = plan_service(ServicePlanContext(document, observed, memory, hub_id, timing))
        case ParticipantDocument(), ParticipantObserved():
            decision = _participant(PlanContext(document, observed, memory, now, hub_id, timing))
        case _:
            raise TypeError("the observation is not of the document's kind")
    if document.absent:
        decision = _removal_under_policy(
            decision, document, observed, memory, policy, timing=timing
        )
        is_held = decision.phase in {Phase.REFUSED, Phase.AWAITING_APPROVAL}
        if is_held and isinstance(observed, ParticipantObserved):
            return replace(decision, findings=findings_of(observed, now, timing))
        return decision
    uses = _use_of(document, observed, hub_id)
    return _under_policy(decision, document, memory, policy, timing=timing, uses=uses)


def _participant(ctx: PlanContext) -> Decision:
    if ctx.document.absent:
        return plan_removal(ctx)
    ready = StageResult(
        Phase.READY,
        "Ready",
        "every component is ready and every table is in place",
        next_check_s=ctx.timing.recheck_idle_s,
    )
    decision = run_stages(ctx, STAGES, ready, beside=renewals(ctx))
    down = unreachable_parties(ctx.routes, ctx.now)
    decision = replace(decision, findings=(*decision.findings, *down))
    if decision.phase is Phase.READY:
        again = reprobes(ctx)
        check_s = ctx.timing.recheck_probes_s if ctx.memory.probes else ctx.timing.recheck_idle_s
        return replace(decision, actions=(*decision.actions, *again), next_check_s=check_s)
    return decision


def _refused(refusal: RefusedBy, timing: PlanTiming) -> Decision:
    return Decision(
        Phase.REFUSED,
        refusal.rule,
        refusal.message,
        steps=(Step("policy", StepState.FAILED, refusal.message),),
        next_check_s=timing.recheck_idle_s,
    )


def _removal_under_policy(
    decision: Decision,
    document: Document,
    observed: ParticipantObserved | ServiceObserved,
    memory: ResourceState,
    policy: Policy,
    *,
    timing: PlanTiming,
) -> Decision:
    """Judge a removal as a whole, whatever else it waits for; what is gone needs no permission."""
    verdict = decide(policy, ActionKind.REMOVE)
    approved = (document.body_sha256, ActionKind.REMOVE.value) in memory.approvals
    if decision.phase is Phase.GONE:
        return decision
    stays = what_stays(document, observed)
    match verdict:
        case RefusedBy(rule=rule, message=message):
            phase, reason = Phase.REFUSED, rule
            text = f"{stays}: {message}. At the site: allow `remove` in the policy file"
            text += " and restart the agent."
        case NeedsApproval() if not approved:
            phase, reason = Phase.AWAITING_APPROVAL, f"Approval.{ActionKind.REMOVE}"
            text = f"{stays}: its removal waits for `fedagent approve` at the site."
        case _:
            return decision
    if isinstance(document, ParticipantDocument):
        text += " At the hub: put it back into the federation's file, which takes this back."
    steps = tuple(Step(step.name, StepState.PENDING) for step in decision.steps)
    return Decision(phase, reason, text, steps=steps, next_check_s=timing.recheck_idle_s)


def _under_policy(
    decision: Decision,
    document: Document,
    memory: ResourceState,
    policy: Policy,
    *,
    timing: PlanTiming,
    uses: ActionKind,
) -> Decision:
    """Hold back what the site does not allow, or not without a person's consent.

    ``uses`` is a kind of action that the resource's mere use amounts to.
    """
    kinds = {kind_of(action) for action in decision.actions} | {uses}
    waits: set[ActionKind] = set()
    for kind in sorted(kinds):
        verdict = decide(policy, kind)
        if isinstance(verdict, RefusedBy):
            return replace(
                _refused(verdict, timing), steps=decision.steps, findings=decision.findings
            )
        approved = (document.body_sha256, kind.value) in memory.approvals
        if isinstance(verdict, NeedsApproval) and not approved:
            waits.add(kind)
    if not waits:
        return decision
    first = min(waits)
    return replace(
        decision,
        phase=Phase.AWAITING_APPROVAL,
        reason=f"Approval.{first}",
        message=f"{decision.message}: waits for `fedagent approve` at the site ({first})",
        actions=tuple(item for item in decision.actions if kind_of(item) not in waits),
        next_check_s=timing.recheck_idle_s,
    )


def _use_of(document: Document, observed: object, hub_id: str) -> ActionKind:
    """Return ADOPT for a service that somebody else installed and that we are to use."""
    if not isinstance(document, EndpointDocument) or not isinstance(observed, ServiceObserved):
        return ActionKind.NONE
    ours = OwnerView(hub_id, document.resource_id)
    theirs = observed.is_installed and observed.owner != ours
    return ActionKind.ADOPT if theirs else ActionKind.NONE
