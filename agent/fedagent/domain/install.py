"""The stage that brings KubeFATE's record to what the document says: submitted once, followed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fedagent.domain.decision import AdoptSubmission, ForgetRelease, Phase, Submit
from fedagent.domain.diagnosis import RELEASE_LOST, cause_named
from fedagent.domain.document import Repair
from fedagent.domain.job_tracking import follow, is_stuck
from fedagent.domain.observed import BUSY_RECORD, RecordState, RecordView
from fedagent.domain.stage import (
    PlanContext,
    StageResult,
    backoff_left_s,
    owned_by_another,
    without_service,
)
from fedagent.domain.state import LastGoodConfig, Method, Outcome, Submission

_RESTORE_TRIES: Final = 3
_UNSURE: Final = frozenset({Outcome.STUCK, Outcome.FAILED, Outcome.ROLLED_BACK})
"""After these nobody knows what an update left behind."""


def install(ctx: PlanContext) -> StageResult | None:
    """Have KubeFATE's record as the document says, and no job under way."""
    if not ctx.observed.kubefate.answers:
        return without_service(ctx)
    foreign = not_ours(ctx)
    if foreign is not None:
        return foreign
    sent = ctx.memory.open_submission
    return follow(ctx, sent) if sent is not None else _bring(ctx)


def not_ours(ctx: PlanContext) -> StageResult | None:
    """Return the halt for a record that another hub or a person made."""
    view = ctx.observed.kubefate
    if view.occupant:
        return owned_by_another(ctx, f"namespace {ctx.document.namespace}", view.occupant)
    if view.record is not None and view.record.owner != str(ctx.us):
        what = f"KubeFATE cluster {ctx.document.release_name}"
        return owned_by_another(ctx, what, view.record.owner or "nobody we know")
    return None


def _bring(ctx: PlanContext) -> StageResult | None:
    record = ctx.observed.kubefate.record
    if record is None:
        return _install(ctx)
    if record.state in BUSY_RECORD:
        return _busy(ctx, record)
    if _is_release_lost(ctx):
        text = "Helm's release is gone: KubeFATE's record is removed, to install it anew"
        return _submit(ctx, Method.DELETE, RELEASE_LOST, text)
    if needs_update(ctx, record):
        return submit_update(ctx, "Outdated", "KubeFATE gets the new cluster.yaml")
    return None


def _is_release_lost(ctx: PlanContext) -> bool:
    """Tell whether an update has shown that Helm knows nothing of what KubeFATE has a record of.

    Its namespace was deleted by hand, or Helm's Secrets in it. KubeFATE drops a record whose
    release it does not find (pkg/job/cluster_delete.go), and what still runs is taken over.
    """
    last = ctx.memory.last
    return not ctx.observed.releases and last is not None and last.cause == RELEASE_LOST


def submit_update(ctx: PlanContext, reason: str, message: str) -> StageResult:
    """Return the halt that submits an update, now or after the back-off."""
    pending = _pending_release(ctx)
    if pending is not None:
        return pending
    return _submit(ctx, Method.UPDATE, reason, message)


def needs_update(ctx: PlanContext, record: RecordView) -> bool:
    """Tell whether an update must be submitted: the spec is compared, never a job trusted."""
    if record.state is RecordState.ROLLBACK:
        return True
    last = ctx.memory.last
    if last is not None and last.method is Method.UPDATE and last.outcome in _UNSURE:
        return True
    return not _equal(record.spec, ctx.document.cluster)


def _equal(left: Any, right: Any) -> bool:
    """Compare two JSON trees; a number is the same whether written 1 or 1.0."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _install(ctx: PlanContext) -> StageResult | None:
    releases = ctx.observed.releases
    if _is_cut_off(ctx):
        text = "waiting until KubeFATE has given up the install that was cut off"
        return StageResult(
            ctx.busy_phase, "InstallEnding", text, next_check_s=ctx.timing.recheck_ending_s
        )
    if not releases:
        name = ctx.document.release_name
        text = f"KubeFATE is asked to install {name}"
        return _submit(ctx, Method.INSTALL, "Installing", text, good=_live_good(ctx))
    last = ctx.memory.last
    uninstalls = last is not None and not (
        last.outcome is Outcome.SUCCEEDED and last.method is not Method.DELETE
    )
    if last is not None and uninstalls and ctx.age_s(last.ended_at) < ctx.timing.release_settle_s:
        text = "waiting until Helm has cleared the old release away"
        return StageResult(ctx.busy_phase, "ReleaseEnding", text)
    text = "KubeFATE forgot this participant; its workloads run on"
    if ctx.was_ready and ctx.document.repair is Repair.REPORT:
        return StageResult(
            Phase.DEGRADED, "DatabaseLost", text, next_check_s=ctx.timing.recheck_idle_s
        )
    return StageResult(
        ctx.busy_phase,
        "DatabaseLost",
        f"{text} and are taken up again",
        actions=(ForgetRelease(tuple(item.revision for item in releases)),),
    )


def _is_cut_off(ctx: PlanContext) -> bool:
    """Tell whether a removal has just taken the record from under an install."""
    sent = ctx.memory.submissions
    last = ctx.memory.last
    if last is None or last.method is not Method.DELETE or last.is_open:
        return False
    is_open = any(item.method is Method.INSTALL and item.is_open for item in sent)
    return is_open and ctx.age_s(last.ended_at) < ctx.timing.install_cut_off_s


def _pending_release(ctx: PlanContext) -> StageResult | None:
    """Clear a pending revision away that nobody works on: Helm refuses everything until then."""
    releases = ctx.observed.releases
    newest = releases[-1] if releases else None
    if newest is None or not newest.status.startswith("pending"):
        return None
    if ctx.age_s(newest.modified_at) < ctx.timing.release_settle_s:
        return StageResult(ctx.busy_phase, "HelmBusy", "Helm is at work on the release")
    text = "Helm's operation was cut off; its mark is cleared away"
    return StageResult(
        ctx.busy_phase, "HelmCutOff", text, actions=(ForgetRelease((newest.revision,)),)
    )


def _busy(ctx: PlanContext, record: RecordView) -> StageResult | None:
    """Mend a record in motion without a request of ours: take the job up, or begin anew."""
    job = ctx.observed.kubefate.job
    if job is not None and not job.is_over and not is_stuck(ctx, job):
        return _take_up(ctx, record)
    installed = any(item.status == "deployed" for item in ctx.observed.releases)
    if record.state is RecordState.DELETING or not installed:
        kept = _keep_live(ctx)
        if kept is not None:
            return kept
        text = "a half-made record is removed first"
        return _submit(ctx, Method.DELETE, "RecordBroken", text)
    text = "a job was cut off; the record is brought up to date again"
    return submit_update(ctx, "JobStuck", text)


def _keep_live(ctx: PlanContext) -> StageResult | None:
    """Forget what Helm left half done over a live participant: removing it would uninstall."""
    releases = ctx.observed.releases
    if not ctx.memory.ready_generation or not ctx.observed.workloads or not releases:
        return None
    pending = _pending_release(ctx)
    if pending is not None:
        return pending
    text = "Helm's half-made release is forgotten; its workloads run on"
    forget = ForgetRelease(tuple(item.revision for item in releases))
    return StageResult(ctx.busy_phase, "HelmCutOff", text, actions=(forget,))


def _live_good(ctx: PlanContext) -> LastGoodConfig | None:
    """Return what a participant runs with whose record is lost.

    An install that fails is uninstalled by KubeFATE (pkg/job/cluster_install.go), so one over a
    live participant changes nothing; the document follows as an update.
    """
    good = ctx.memory.good
    is_live = bool(ctx.observed.workloads)
    return good if is_live and good is not None and _may_send(ctx, good) else None


def _may_send(ctx: PlanContext, good: LastGoodConfig) -> bool:
    """Tell whether what last worked is another cluster.yaml of the document's own chart."""
    chart, sent = ctx.document.chart, json.loads(good.cluster_json)
    is_same_chart = (sent.get("chartName"), sent.get("chartVersion")) == (chart.name, chart.version)
    return good.generation < ctx.document.generation and is_same_chart


def _take_up(ctx: PlanContext, record: RecordView) -> StageResult:
    """Follow a job that this journal does not know: the agent's disk was lost."""
    job = ctx.observed.kubefate.job
    if job is None:
        raise RuntimeError("there is no job to take up")
    methods = {"ClusterInstall": Method.INSTALL, "ClusterUpdate": Method.UPDATE}
    method = methods.get(job.method, Method.DELETE)
    generation, _, attempt = record.revision.partition(".")
    # A removal leaves the record's revision as it was: that of another request.
    known = generation.isdigit() and attempt.isdigit() and method is not Method.DELETE
    sent = Submission(
        generation=int(generation) if known else ctx.document.generation,
        attempt=int(attempt) if known else next_attempt(ctx),
        method=method,
        begun_at=job.started_at or ctx.now,
    )
    return StageResult(
        ctx.busy_phase,
        "JobFound",
        "took up a job that was under way",
        actions=(AdoptSubmission(sent, job.job_id),),
    )


def _submit(
    ctx: PlanContext,
    method: Method,
    reason: str,
    message: str,
    *,
    good: LastGoodConfig | None = None,
) -> StageResult:
    generation = ctx.document.generation if good is None else good.generation
    failures = ctx.memory.failures(generation)
    if failures:
        last, cause = failures[-1], cause_named(failures[-1].cause)
        left_s = backoff_left_s(ctx, len(failures), last)
        is_final = cause.is_lasting and len(failures) >= cause.tries
        restore = _restore(ctx, last) if is_final or left_s > ctx.timing.restore_after_s else None
        if restore is not None:
            return restore
        if is_final:
            text = f"{last.message or last.cause} (tried {len(failures)} times). {cause.hint}"
            text += _in_force(ctx)
            return StageResult(
                Phase.FAILED, last.cause, text, next_check_s=ctx.timing.recheck_idle_s, failed=True
            )
        if left_s > 0:
            text = f"{last.message or last.cause}; next try in {left_s:.0f} s"
            return StageResult(ctx.busy_phase, last.cause, text, next_check_s=left_s)
    submit = Submit(method, next_attempt(ctx, generation), _record_uuid(ctx), good)
    return StageResult(ctx.busy_phase, reason, message, actions=(submit,))


def _restore(ctx: PlanContext, failure: Submission) -> StageResult | None:
    """Put back what last worked: KubeFATE's rollback goes to an older state than that.

    Its revision counter starts at 0 and Helm's at 1 (pkg/service/helm.go HelmRollback).
    """
    good = ctx.memory.good
    if failure.method is not Method.UPDATE or good is None or not _may_send(ctx, good):
        return None
    failures = ctx.memory.failures(good.generation)
    if _is_restored(ctx, good) or len(failures) >= _RESTORE_TRIES:
        return None
    text = f"{failure.message or failure.cause}; what last worked is put back"
    left_s = backoff_left_s(ctx, len(failures), failures[-1] if failures else None)
    if left_s > 0:
        return StageResult(ctx.busy_phase, "Restoring", text, next_check_s=left_s)
    attempt = next_attempt(ctx, good.generation)
    submit = Submit(Method.UPDATE, attempt, _record_uuid(ctx), good)
    return StageResult(ctx.busy_phase, "Restoring", text, actions=(submit,))


def _is_restored(ctx: PlanContext, good: LastGoodConfig) -> bool:
    last = ctx.memory.last
    return last is not None and (last.generation, last.outcome) == (
        good.generation,
        Outcome.SUCCEEDED,
    )


def _in_force(ctx: PlanContext) -> str:
    good = ctx.memory.good
    if good is None or not _is_restored(ctx, good):
        return ""
    return f" Generation {good.generation}, which last worked, is in force."


def next_attempt(ctx: PlanContext, generation: int | None = None) -> int:
    """Return a number that neither the journal nor KubeFATE's record has used."""
    if generation is None:
        generation = ctx.document.generation
    ours = ctx.memory.next_attempt(generation)
    record = ctx.observed.kubefate.record
    if record is None:
        return ours
    seen, _, attempt = record.revision.partition(".")
    if seen == str(generation) and attempt.isdigit():
        return max(ours, int(attempt) + 1)
    return ours


def _record_uuid(ctx: PlanContext) -> str:
    record = ctx.observed.kubefate.record
    return "" if record is None else record.uuid
