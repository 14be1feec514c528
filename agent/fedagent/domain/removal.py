"""Taking a participant away: verified step by step, and what stays is listed."""

from __future__ import annotations

from typing import Final

from fedagent.domain.decision import (
    ActionKind,
    Decision,
    DeleteClaims,
    DeleteNamespace,
    DeleteObjects,
    DeleteSecrets,
    ForgetRelease,
    Phase,
    ReleaseNamespace,
    Step,
    StepState,
    Submit,
    kind_of,
)
from fedagent.domain.diagnosis import cause_named
from fedagent.domain.document import Document, ParticipantDocument
from fedagent.domain.install import next_attempt
from fedagent.domain.job_tracking import follow, is_stuck
from fedagent.domain.observed import ParticipantObserved, ServiceAccess, ServiceObserved
from fedagent.domain.prerequisites import rights
from fedagent.domain.stage import PlanContext, Stage, StageResult, backoff_left_s
from fedagent.domain.state import Method


def begins_removal(document: Document, decision: Decision) -> bool:
    """Tell whether a decision takes something away of what shall go: nothing counts as live then.

    A removal may be taken back at any moment; what is left is brought up as something new.
    """
    return document.absent and any(
        kind_of(action) is ActionKind.REMOVE for action in decision.actions
    )


def what_stays(document: Document, observed: ParticipantObserved | ServiceObserved) -> str:
    """Say what runs on while a removal is held back."""
    if not isinstance(document, ParticipantDocument) or not isinstance(
        observed, ParticipantObserved
    ):
        return f"KubeFATE runs on in namespace {document.namespace}"
    if not observed.workloads:
        return f"what there is of {document.name} stays in namespace {document.namespace}"
    ready = sum(
        1
        for item in document.components
        if item.name in observed.workloads and observed.workloads[item.name].is_ready
    )
    where = f"{document.name} runs on in namespace {document.namespace}"
    return f"{where} ({ready} of {len(document.components)} components are ready)"


def plan_removal(ctx: PlanContext) -> Decision:
    """Return what is next for a participant whose document is absent."""
    if _is_foreign(ctx):
        return _gone(ctx, "the namespace belongs to another; nothing of ours is in it")
    steps: list[Step] = []
    halt: StageResult | None = None
    for name, stage in _STAGES:
        if halt is not None:
            steps.append(Step(name, StepState.PENDING))
            continue
        halt = stage(ctx)
        state = StepState.DONE if halt is None else StepState.RUNNING
        steps.append(Step(name, state, "" if halt is None else halt.message))
    if halt is None:
        return _gone(ctx, "nothing of it is left", tuple(steps))
    return Decision(
        phase=Phase.REMOVING,
        reason=halt.reason,
        message=halt.message,
        actions=halt.actions,
        steps=tuple(steps),
        findings=halt.findings,
        next_check_s=halt.check_s(ctx.timing),
        leftovers=_leftovers(ctx),
        follows_job=halt.follows_job,
    )


def _gone(ctx: PlanContext, message: str, steps: tuple[Step, ...] = ()) -> Decision:
    kept = _kept(ctx)
    text = f"it is removed; kept: {', '.join(kept)}" if kept else message
    return Decision(
        Phase.GONE,
        "Removed",
        text,
        steps=steps,
        next_check_s=ctx.timing.recheck_idle_s,
        leftovers=kept,
    )


def _is_foreign(ctx: PlanContext) -> bool:
    """Tell whether the namespace is another's (or a stranger's) and KubeFATE holds no record."""
    view = ctx.observed.namespace
    record = ctx.observed.kubefate.record
    ours = record is not None and record.owner == str(ctx.us)
    other = view.exists and view.owner is not None and view.owner != ctx.us
    stranger = view.exists and view.owner is None and not ctx.memory.submissions
    return (other or stranger) and not ours


def _uninstall(ctx: PlanContext) -> StageResult | None:
    if ctx.observed.namespace.owner == ctx.us and not ctx.observed.namespace.terminating:
        lacking = rights(ctx)
        if lacking is not None:
            return lacking
    view = ctx.observed.kubefate
    if not view.answers:
        return _without_service(ctx)
    sent = ctx.memory.open_submission
    if sent is not None and not _may_interrupt(ctx):
        return follow(ctx, sent)
    record = view.record
    if record is None or record.owner != str(ctx.us):
        return None
    return _delete(ctx, record.uuid)


def _may_interrupt(ctx: PlanContext) -> bool:
    """Tell whether an install or an overdue update under way may be cut off by the removal."""
    sent = ctx.memory.open_submission
    if sent is None or sent.method is Method.DELETE or not sent.job_id:
        return False
    if ctx.observed.kubefate.record is None:
        return False
    return sent.method is Method.INSTALL or ctx.age_s(sent.begun_at) > ctx.timing.update_wait_s


def _delete(ctx: PlanContext, record_uuid: str) -> StageResult:
    job = ctx.observed.kubefate.job
    busy = job is not None and job.method == "ClusterDelete" and not job.is_over
    if busy and job is not None and not is_stuck(ctx, job):
        text = "KubeFATE is uninstalling"
        return StageResult(Phase.REMOVING, "JobRunning", text, follows_job=job.job_id)
    failures = ctx.memory.failures(ctx.document.generation)
    last = failures[-1] if failures else None
    left_s = backoff_left_s(ctx, len(failures), last)
    if last is not None and left_s > 0:
        text = f"{last.message or last.cause}; next try in {left_s:.0f} s. "
        text += cause_named(last.cause).hint
        return StageResult(Phase.REMOVING, last.cause, text, next_check_s=left_s)
    action = Submit(Method.DELETE, next_attempt(ctx), record_uuid)
    return StageResult(Phase.REMOVING, "Uninstalling", "KubeFATE is asked to uninstall", (action,))


def _without_service(ctx: PlanContext) -> StageResult | None:
    """Without KubeFATE only what never reached it can be removed; all else waits."""
    view = ctx.observed.kubefate
    untouched = not ctx.memory.submissions and not ctx.observed.objects
    if untouched and not ctx.observed.releases:
        return None
    refused = view.access is ServiceAccess.UNAUTHORIZED
    return StageResult(
        Phase.REMOVING,
        "KubeFateRefused" if refused else "KubeFateUnavailable",
        f"the removal waits for KubeFATE and goes on by itself. {view.message}".strip(),
        next_check_s=ctx.timing.recheck_progress_s,
    )


def _clear(ctx: PlanContext) -> StageResult | None:
    """Delete what is still there though no record speaks of it (KubeFATE lost its database)."""
    observed = ctx.observed
    last = ctx.memory.last
    uninstalled = last is not None and last.method is Method.DELETE
    settled = not uninstalled or last is None or ctx.age_s(last.ended_at) > ctx.timing.linger_s
    if not settled and (observed.releases or observed.objects):
        text = f"{len(observed.objects)} objects are going"
        return StageResult(
            Phase.REMOVING, "ObjectsGoing", text, next_check_s=ctx.timing.recheck_ending_s
        )
    if observed.releases or observed.objects:
        text = "KubeFATE no longer knows the release; its objects are deleted directly"
        revisions = tuple(item.revision for item in observed.releases)
        forget = (ForgetRelease(revisions),) if revisions else ()
        objects = (DeleteObjects(observed.objects),) if observed.objects else ()
        return StageResult(Phase.REMOVING, "OrphanObjects", text, actions=(*forget, *objects))
    if observed.pods:
        names = ", ".join(pod.name for pod in observed.pods[:5])
        return StageResult(
            Phase.REMOVING,
            "PodsEnding",
            f"waiting for {names} to end",
            next_check_s=ctx.timing.recheck_ending_s,
        )
    return None


def _volumes(ctx: PlanContext) -> StageResult | None:
    if not ctx.document.delete_volumes or _drops_namespace(ctx):
        return None
    names = tuple(item.name for item in ctx.observed.claims if item.of_release)
    if not names:
        return None
    text = f"deleting {len(names)} volume claims"
    return StageResult(
        Phase.REMOVING, "VolumesGoing", text, (DeleteClaims(names),), ctx.timing.recheck_ending_s
    )


def _secrets(ctx: PlanContext) -> StageResult | None:
    if _drops_namespace(ctx):
        return None
    ours = tuple(
        sorted(item.name for item in ctx.observed.secrets.values() if item.owner == ctx.us)
    )
    if not ours:
        return None
    text = f"deleting Secrets {', '.join(ours)}"
    return StageResult(
        Phase.REMOVING, "SecretsGoing", text, (DeleteSecrets(ours),), ctx.timing.recheck_ending_s
    )


def _namespace(ctx: PlanContext) -> StageResult | None:
    view = ctx.observed.namespace
    name = ctx.document.namespace
    if not view.exists:
        return None
    if view.terminating:
        text = f"namespace {name} is going"
        return StageResult(
            Phase.REMOVING, "NamespaceGoing", text, next_check_s=ctx.timing.recheck_ending_s
        )
    if view.owner != ctx.us:
        return None
    if _drops_namespace(ctx):
        text = f"deleting namespace {name}"
        return StageResult(
            Phase.REMOVING,
            "NamespaceGoing",
            text,
            (DeleteNamespace(),),
            ctx.timing.recheck_ending_s,
        )
    text = f"namespace {name} is handed back"
    return StageResult(
        Phase.REMOVING, "NamespaceKept", text, (ReleaseNamespace(),), ctx.timing.recheck_ending_s
    )


def _drops_namespace(ctx: PlanContext) -> bool:
    """Tell whether the namespace goes: we made it, it is wanted, and nothing else lives in it."""
    observed = ctx.observed
    kept_claims = not ctx.document.delete_volumes and bool(observed.claims)
    view = observed.namespace
    return (
        ctx.document.delete_namespace
        and view.made_by_us
        and view.owner == ctx.us
        and not observed.foreign
        and not kept_claims
    )


def _kept(ctx: PlanContext) -> tuple[str, ...]:
    observed = ctx.observed
    kept = [f"PersistentVolumeClaim/{item.name}" for item in observed.claims]
    view = observed.namespace
    if view.exists and not view.terminating:
        kept.extend(observed.foreign)
        if view.made_by_us:
            kept.append(f"Namespace/{ctx.document.namespace}")
    return tuple(dict.fromkeys(kept))


def _leftovers(ctx: PlanContext) -> tuple[str, ...]:
    pods = (f"Pod/{pod.name}" for pod in ctx.observed.pods)
    return tuple(dict.fromkeys((*ctx.observed.objects, *pods)))[:50]


_STAGES: Final[tuple[tuple[str, Stage], ...]] = (
    ("uninstall", _uninstall),
    ("objects", _clear),
    ("volumes", _volumes),
    ("secrets", _secrets),
    ("namespace", _namespace),
)
