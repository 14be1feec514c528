"""Taking a participant away: verified step by step, and what stays is listed.

step      | there is                                   | what is done
----------|--------------------------------------------|-----------------------------------------------
(before)  | a namespace of another, no record of ours  | Gone: nothing of ours is in it
uninstall | no answer from KubeFATE                    | wait; Gone where nothing ever reached it
          | an install under way                       | delete the record, which uninstalls
          | an update under way                        | wait, two minutes at the most
          | another request under way                  | follow it
          | a record of ours                           | ask KubeFATE to uninstall
objects   | objects of the release, lately uninstalled | wait: Kubernetes takes some seconds
          | objects of the release                     | delete them: KubeFATE lost its database
          | pods                                       | wait for their end
volumes   | claims, and they shall go                  | delete them
secrets   | Secrets that we made                       | delete them
namespace | one that we made, and nothing else in it   | delete it
          | any other that bears our labels            | take our labels off it

Nothing that another owner, or nobody we know, brought is ever deleted.
"""

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
    ReleaseNamespace,
    Step,
    Submit,
    kind_of,
)
from fedagent.domain.diagnosis import cause_named
from fedagent.domain.document import Document
from fedagent.domain.install import next_attempt
from fedagent.domain.job_tracking import follow, is_stuck, ready_count
from fedagent.domain.observed import ServiceAccess
from fedagent.domain.prerequisites import rights
from fedagent.domain.stage import PlanContext, Stage, StageResult, backoff_left_s, run_stages
from fedagent.domain.state import Method
from fedcore.words import Phase

_MAX_LEFTOVERS: Final = 50
_MAX_NAMED: Final = 5


def begins_removal(document: Document, decision: Decision) -> bool:
    """Return whether a decision takes something away of what shall go.

    Nothing counts as live from then on: a removal may be taken back at any moment, and what is left
    is brought up as something new.
    """
    return document.absent and any(
        kind_of(action) is ActionKind.REMOVE for action in decision.actions
    )


def what_stays(ctx: PlanContext) -> str:
    """Return a sentence on what runs on while a removal is held back."""
    document = ctx.document
    if not ctx.observed.workloads:
        return f"what there is of {document.name} stays in namespace {document.namespace}"
    where = f"{document.name} runs on in namespace {document.namespace}"
    return f"{where} ({ready_count(ctx)} of {len(document.components)} components are ready)"


def plan_removal(ctx: PlanContext) -> Decision:
    """Return what is next for a participant whose document is absent."""
    if _is_foreign(ctx):
        return _gone(ctx, "the namespace belongs to another; nothing of ours is in it")
    steps, result = run_stages(ctx, _STAGES)
    if result is None:
        return _gone(ctx, "nothing of it is left", steps)
    return Decision(
        phase=Phase.REMOVING,
        reason=result.reason,
        message=result.message,
        actions=result.actions,
        steps=steps,
        findings=result.findings,
        next_check_s=result.check_s(ctx.timing),
        leftovers=_leftovers(ctx),
        follows_job=result.follows_job,
    )


def _gone(ctx: PlanContext, message: str, steps: tuple[Step, ...] = ()) -> Decision:
    kept = _kept(ctx)
    return Decision(
        Phase.GONE,
        "Removed",
        f"it is removed; kept: {', '.join(kept)}" if kept else message,
        steps=steps,
        next_check_s=ctx.timing.recheck_idle_s,
        leftovers=kept,
    )


def _is_foreign(ctx: PlanContext) -> bool:
    """Return whether the namespace is another's, or a stranger's, and no record in it is ours.

    A namespace without an owner is a stranger's only where we never submitted anything: ours loses
    its labels at the end of a removal.
    """
    view = ctx.observed.namespace
    record = ctx.observed.kubefate.record
    is_our_record = record is not None and record.owner == str(ctx.us)
    is_another = view.exists and view.owner is not None and view.owner != ctx.us
    is_stranger = view.exists and view.owner is None and not ctx.state.submissions
    return (is_another or is_stranger) and not is_our_record


def _removing(
    ctx: PlanContext,
    reason: str,
    text: str,
    action: DeleteClaims | DeleteNamespace | DeleteSecrets | ReleaseNamespace | None = None,
) -> StageResult:
    """Return the result of something that is about to go."""
    actions = () if action is None else (action,)
    ending_s = ctx.timing.recheck_ending_s
    return StageResult(Phase.REMOVING, reason, text, actions, next_check_s=ending_s)


def _uninstall(ctx: PlanContext) -> StageResult | None:
    namespace = ctx.observed.namespace
    if namespace.owner == ctx.us and not namespace.terminating:
        # Without rights in it the namespace would look empty, and be dropped with what it holds.
        lacking = rights(ctx)
        if lacking is not None:
            return lacking
    view = ctx.observed.kubefate
    if not view.answers:
        return _without_service(ctx)
    submission = ctx.state.open_submission
    if submission is not None and not _may_interrupt(ctx):
        return follow(ctx, submission)
    record = view.record
    if record is None or record.owner != str(ctx.us):
        return None
    return _delete(ctx, record.uuid)


def _may_interrupt(ctx: PlanContext) -> bool:
    """Return whether the removal may cut off an install or an overdue update that is under way."""
    submission = ctx.state.open_submission
    if submission is None or submission.method is Method.DELETE or not submission.job_id:
        return False
    if ctx.observed.kubefate.record is None:
        return False
    if submission.method is Method.INSTALL:
        # KubeFATE itself ends an install whose record is gone (pkg/job/cluster_install.go).
        return True
    return ctx.age_s(submission.begun_at) > ctx.timing.update_wait_s


def _delete(ctx: PlanContext, record_uuid: str) -> StageResult:
    job = ctx.observed.kubefate.job
    is_running = job is not None and job.method == "ClusterDelete" and not job.is_over
    if is_running and job is not None and not is_stuck(ctx, job):
        text = "KubeFATE is uninstalling"
        return StageResult(Phase.REMOVING, "JobRunning", text, follows_job=job.job_id)
    failures = ctx.state.failures(ctx.document.generation)
    last = failures[-1] if failures else None
    left_s = backoff_left_s(ctx, len(failures), last)
    if last is not None and left_s > 0:
        text = f"{last.message or last.cause}; next try in {left_s:.0f} s. "
        text += cause_named(last.cause).hint
        return StageResult(Phase.REMOVING, last.cause, text, next_check_s=left_s)
    action = Submit(Method.DELETE, next_attempt(ctx), record_uuid)
    return StageResult(Phase.REMOVING, "Uninstalling", "KubeFATE is asked to uninstall", (action,))


def _without_service(ctx: PlanContext) -> StageResult | None:
    """Return the result while KubeFATE does not answer.

    Only what never reached it can be removed without it: its record would bring the rest back.
    """
    observed, view = ctx.observed, ctx.observed.kubefate
    if not ctx.state.submissions and not observed.objects and not observed.releases:
        return None
    is_refused = view.access is ServiceAccess.UNAUTHORIZED
    return StageResult(
        Phase.REMOVING,
        "KubeFateRefused" if is_refused else "KubeFateUnavailable",
        f"the removal waits for KubeFATE and goes on by itself. {view.message}".strip(),
        next_check_s=ctx.timing.recheck_progress_s,
    )


def _clear(ctx: PlanContext) -> StageResult | None:
    """Delete what is still there though no record speaks of it (KubeFATE lost its database)."""
    observed = ctx.observed
    last = ctx.state.last
    is_uninstalled = last is not None and last.method is Method.DELETE
    is_late = last is None or ctx.age_s(last.ended_at) > ctx.timing.linger_s
    if observed.releases or observed.objects:
        if is_uninstalled and not is_late:
            return _removing(ctx, "ObjectsGoing", f"{len(observed.objects)} objects are going")
        text = "KubeFATE no longer knows the release; its objects are deleted directly"
        revisions = tuple(release.revision for release in observed.releases)
        forget = (ForgetRelease(revisions),) if revisions else ()
        objects = (DeleteObjects(observed.objects),) if observed.objects else ()
        return StageResult(Phase.REMOVING, "OrphanObjects", text, actions=(*forget, *objects))
    if observed.pods:
        names = ", ".join(pod.name for pod in observed.pods[:_MAX_NAMED])
        return _removing(ctx, "PodsEnding", f"waiting for {names} to end")
    return None


def _volumes(ctx: PlanContext) -> StageResult | None:
    if not ctx.document.delete_volumes or _drops_namespace(ctx):
        return None
    names = tuple(claim.name for claim in ctx.observed.claims if claim.of_release)
    if not names:
        return None
    text = f"deleting {len(names)} volume claims"
    return _removing(ctx, "VolumesGoing", text, DeleteClaims(names))


def _secrets(ctx: PlanContext) -> StageResult | None:
    if _drops_namespace(ctx):
        return None
    secrets = ctx.observed.secrets.values()
    ours = tuple(sorted(secret.name for secret in secrets if secret.owner == ctx.us))
    if not ours:
        return None
    return _removing(
        ctx, "SecretsGoing", f"deleting Secrets {', '.join(ours)}", DeleteSecrets(ours)
    )


def _namespace(ctx: PlanContext) -> StageResult | None:
    view = ctx.observed.namespace
    name = ctx.document.namespace
    if not view.exists:
        return None
    if view.terminating:
        return _removing(ctx, "NamespaceGoing", f"namespace {name} is going")
    if view.owner != ctx.us:
        return None
    if _drops_namespace(ctx):
        return _removing(ctx, "NamespaceGoing", f"deleting namespace {name}", DeleteNamespace())
    text = f"namespace {name} is handed back"
    return _removing(ctx, "NamespaceKept", text, ReleaseNamespace())


def _drops_namespace(ctx: PlanContext) -> bool:
    """Return whether the namespace goes: we made it, it shall go, and nothing else lives in it.

    A claim that shall be kept lives in it, too: deleting the namespace would delete the data.
    """
    observed = ctx.observed
    keeps_claims = not ctx.document.delete_volumes and bool(observed.claims)
    view = observed.namespace
    return (
        ctx.document.delete_namespace
        and view.made_by_us
        and view.owner == ctx.us
        and not observed.foreign
        and not keeps_claims
    )


def _kept(ctx: PlanContext) -> tuple[str, ...]:
    observed = ctx.observed
    kept = [f"PersistentVolumeClaim/{claim.name}" for claim in observed.claims]
    view = observed.namespace
    if view.exists and not view.terminating:
        kept.extend(observed.foreign)
        if view.made_by_us:
            kept.append(f"Namespace/{ctx.document.namespace}")
    return tuple(dict.fromkeys(kept))


def _leftovers(ctx: PlanContext) -> tuple[str, ...]:
    pods = (f"Pod/{pod.name}" for pod in ctx.observed.pods)
    return tuple(dict.fromkeys((*ctx.observed.objects, *pods)))[:_MAX_LEFTOVERS]


_STAGES: Final[tuple[tuple[str, Stage], ...]] = (
    ("uninstall", _uninstall),
    ("objects", _clear),
    ("volumes", _volumes),
    ("secrets", _secrets),
    ("namespace", _namespace),
)
