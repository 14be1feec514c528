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
from fedagent.domain.stage import CALM_S, PlanContext, Stage, StageResult, backoff_left_s
from fedagent.domain.state import Method

_UPDATE_WAIT_S: Final = 120.0
"""Deleting a record under a running update makes KubeFATE spin (pkg/job); it is waited for."""
_LINGER_S: Final = 10.0
"""Pods of an uninstalled release may take this long before they count as left over."""


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


def plan_removal(given: PlanContext) -> Decision:
    """Return what is next for a participant whose document is absent."""
    if _is_foreign(given):
        return _gone(given, "the namespace belongs to another; nothing of ours is in it")
    steps: list[Step] = []
    halt: StageResult | None = None
    for name, stage in _STAGES:
        if halt is not None:
            steps.append(Step(name, StepState.PENDING))
            continue
        halt = stage(given)
        state = StepState.DONE if halt is None else StepState.RUNNING
        steps.append(Step(name, state, "" if halt is None else halt.message))
    if halt is None:
        return _gone(given, "nothing of it is left", tuple(steps))
    return Decision(
        phase=Phase.REMOVING,
        reason=halt.reason,
        message=halt.message,
        actions=halt.actions,
        steps=tuple(steps),
        findings=halt.findings,
        next_check_s=halt.next_check_s,
        leftovers=_leftovers(given),
        follows_job=halt.follows_job,
    )


def _gone(given: PlanContext, message: str, steps: tuple[Step, ...] = ()) -> Decision:
    kept = _kept(given)
    text = f"it is removed; kept: {', '.join(kept)}" if kept else message
    return Decision(Phase.GONE, "Removed", text, steps=steps, next_check_s=CALM_S, leftovers=kept)


def _is_foreign(given: PlanContext) -> bool:
    """Tell whether the namespace is another's (or a stranger's) and KubeFATE holds no record."""
    view = given.observed.namespace
    record = given.observed.kubefate.record
    ours = record is not None and record.owner == str(given.us)
    other = view.exists and view.owner is not None and view.owner != given.us
    stranger = view.exists and view.owner is None and not given.memory.submissions
    return (other or stranger) and not ours


def _uninstall(given: PlanContext) -> StageResult | None:
    if given.observed.namespace.owner == given.us and not given.observed.namespace.terminating:
        lacking = rights(given)
        if lacking is not None:
            return lacking
    view = given.observed.kubefate
    if not view.answers:
        return _without_service(given)
    sent = given.memory.open_submission
    if sent is not None and not _may_interrupt(given):
        return follow(given, sent)
    record = view.record
    if record is None or record.owner != str(given.us):
        return None
    return _delete(given, record.uuid)


def _may_interrupt(given: PlanContext) -> bool:
    """Tell whether an install or an overdue update under way may be cut off by the removal."""
    sent = given.memory.open_submission
    if sent is None or sent.method is Method.DELETE or not sent.job_id:
        return False
    if given.observed.kubefate.record is None:
        return False
    return sent.method is Method.INSTALL or given.age_s(sent.begun_at) > _UPDATE_WAIT_S


def _delete(given: PlanContext, record_uuid: str) -> StageResult:
    job = given.observed.kubefate.job
    busy = job is not None and job.method == "ClusterDelete" and not job.is_over
    if busy and job is not None and not is_stuck(given, job):
        text = "KubeFATE is uninstalling"
        return StageResult(Phase.REMOVING, "JobRunning", text, follows_job=job.job_id)
    failures = given.memory.failures(given.document.generation)
    last = failures[-1] if failures else None
    left_s = backoff_left_s(given, len(failures), last)
    if last is not None and left_s > 0:
        text = f"{last.message or last.cause}; next try in {left_s:.0f} s. "
        text += cause_named(last.cause).hint
        return StageResult(Phase.REMOVING, last.cause, text, next_check_s=left_s)
    action = Submit(Method.DELETE, next_attempt(given), record_uuid)
    return StageResult(Phase.REMOVING, "Uninstalling", "KubeFATE is asked to uninstall", (action,))


def _without_service(given: PlanContext) -> StageResult | None:
    """Without KubeFATE only what never reached it can be removed; all else waits."""
    view = given.observed.kubefate
    untouched = not given.memory.submissions and not given.observed.objects
    if untouched and not given.observed.releases:
        return None
    refused = view.access is ServiceAccess.UNAUTHORIZED
    return StageResult(
        Phase.REMOVING,
        "KubeFateRefused" if refused else "KubeFateUnavailable",
        f"the removal waits for KubeFATE and goes on by itself. {view.message}".strip(),
        next_check_s=2.0,
    )


def _clear(given: PlanContext) -> StageResult | None:
    """Delete what is still there though no record speaks of it (KubeFATE lost its database)."""
    observed = given.observed
    last = given.memory.last
    uninstalled = last is not None and last.method is Method.DELETE
    settled = not uninstalled or last is None or given.age_s(last.ended_at) > _LINGER_S
    if not settled and (observed.releases or observed.objects):
        text = f"{len(observed.objects)} objects are going"
        return StageResult(Phase.REMOVING, "ObjectsGoing", text, next_check_s=0.5)
    if observed.releases or observed.objects:
        text = "KubeFATE no longer knows the release; its objects are deleted directly"
        revisions = tuple(item.revision for item in observed.releases)
        forget = (ForgetRelease(revisions),) if revisions else ()
        objects = (DeleteObjects(observed.objects),) if observed.objects else ()
        return StageResult(Phase.REMOVING, "OrphanObjects", text, actions=(*forget, *objects))
    if observed.pods:
        names = ", ".join(pod.name for pod in observed.pods[:5])
        return StageResult(
            Phase.REMOVING, "PodsEnding", f"waiting for {names} to end", next_check_s=0.5
        )
    return None


def _volumes(given: PlanContext) -> StageResult | None:
    if not given.document.delete_volumes or _drops_namespace(given):
        return None
    names = tuple(item.name for item in given.observed.claims if item.of_release)
    if not names:
        return None
    text = f"deleting {len(names)} volume claims"
    return StageResult(Phase.REMOVING, "VolumesGoing", text, (DeleteClaims(names),), 0.5)


def _secrets(given: PlanContext) -> StageResult | None:
    if _drops_namespace(given):
        return None
    ours = tuple(
        sorted(item.name for item in given.observed.secrets.values() if item.owner == given.us)
    )
    if not ours:
        return None
    text = f"deleting Secrets {', '.join(ours)}"
    return StageResult(Phase.REMOVING, "SecretsGoing", text, (DeleteSecrets(ours),), 0.5)


def _namespace(given: PlanContext) -> StageResult | None:
    view = given.observed.namespace
    name = given.document.namespace
    if not view.exists:
        return None
    if view.terminating:
        text = f"namespace {name} is going"
        return StageResult(Phase.REMOVING, "NamespaceGoing", text, next_check_s=0.5)
    if view.owner != given.us:
        return None
    if _drops_namespace(given):
        text = f"deleting namespace {name}"
        return StageResult(Phase.REMOVING, "NamespaceGoing", text, (DeleteNamespace(),), 0.5)
    text = f"namespace {name} is handed back"
    return StageResult(Phase.REMOVING, "NamespaceKept", text, (ReleaseNamespace(),), 0.5)


def _drops_namespace(given: PlanContext) -> bool:
    """Tell whether the namespace goes: we made it, it is wanted, and nothing else lives in it."""
    observed = given.observed
    kept_claims = not given.document.delete_volumes and bool(observed.claims)
    view = observed.namespace
    return (
        given.document.delete_namespace
        and view.made_by_us
        and view.owner == given.us
        and not observed.foreign
        and not kept_claims
    )


def _kept(given: PlanContext) -> tuple[str, ...]:
    observed = given.observed
    kept = [f"PersistentVolumeClaim/{item.name}" for item in observed.claims]
    view = observed.namespace
    if view.exists and not view.terminating:
        kept.extend(observed.foreign)
        if view.made_by_us:
            kept.append(f"Namespace/{given.document.namespace}")
    return tuple(dict.fromkeys(kept))


def _leftovers(given: PlanContext) -> tuple[str, ...]:
    pods = (f"Pod/{pod.name}" for pod in given.observed.pods)
    return tuple(dict.fromkeys((*given.observed.objects, *pods)))[:50]


_STAGES: Final[tuple[tuple[str, Stage], ...]] = (
    ("uninstall", _uninstall),
    ("objects", _clear),
    ("volumes", _volumes),
    ("secrets", _secrets),
    ("namespace", _namespace),
)
