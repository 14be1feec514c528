"""The stage that brings KubeFATE's record to what the document says: submitted once, followed.

record            | else                                | what is done
------------------|-------------------------------------|----------------------------------------------
of another        |                                     | Refused, nothing is touched
any               | a request of ours is open           | follow it (``job_tracking``)
none              | a removal has just cut an install   | wait until KubeFATE has uninstalled
none              | no Helm release                     | install
none              | Helm is clearing the release away   | wait
none              | a release: KubeFATE lost its record | forget Helm's revisions, then install
in motion         | a live job that nobody followed     | take it up: the journal was lost
in motion, no job | a live participant                  | forget Helm's half-made revision
in motion, no job | nothing deployed, or it was going   | delete the record
in motion, no job | deployed                            | update
at rest           | Helm has no release of it           | delete the record, to install anew
at rest           | its spec differs, or is in doubt    | update
at rest           | its spec is the document's          | nothing: the stage is done

A submission that failed is tried again after a growing wait. One that fails for good leaves the
participant Failed; what last worked is put back before, or while the wait is long (``_restore``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fedagent.domain.decision import AdoptSubmission, ForgetRelease, Submit
from fedagent.domain.diagnosis import RELEASE_LOST, cause_named
from fedagent.domain.job_tracking import JOB_METHODS, follow, is_stuck
from fedagent.domain.observed import BUSY_RECORD, JobView, RecordState, RecordView
from fedagent.domain.stage import (
    PlanContext,
    StageResult,
    backoff_left_s,
    owned_by_another,
    without_service,
)
from fedagent.domain.state import LastGoodConfig, Method, Outcome, Submission
from fedcore.words import Phase, RepairPolicy

_RESTORE_TRIES: Final = 3
_IN_DOUBT: Final = frozenset({Outcome.STUCK, Outcome.FAILED, Outcome.ROLLED_BACK})
"""After these nobody knows what an update left behind."""


def install(ctx: PlanContext) -> StageResult | None:
    """Ensure that KubeFATE's record is as the document says, with no job under way."""
    if not ctx.observed.kubefate.answers:
        return without_service(ctx)
    foreign = _foreign(ctx)
    if foreign is not None:
        return foreign
    submission = ctx.state.open_submission
    return follow(ctx, submission) if submission is not None else _converge(ctx)


def _foreign(ctx: PlanContext) -> StageResult | None:
    """Return the result for a record that another hub or a person made."""
    view = ctx.observed.kubefate
    if view.occupant:
        return owned_by_another(ctx, f"namespace {ctx.document.namespace}", view.occupant)
    if view.record is not None and view.record.owner != str(ctx.us):
        subject = f"KubeFATE cluster {ctx.document.release_name}"
        return owned_by_another(ctx, subject, view.record.owner or "nobody we know")
    return None


def _converge(ctx: PlanContext) -> StageResult | None:
    record = ctx.observed.kubefate.record
    if record is None:
        return _install(ctx)
    if record.state in BUSY_RECORD:
        return _mend_busy(ctx, record)
    if _is_release_lost(ctx):
        text = "Helm's release is gone: KubeFATE's record is removed, to install it anew"
        return _submit(ctx, Method.DELETE, RELEASE_LOST, text)
    if _needs_update(ctx, record):
        return submit_update(ctx, "Outdated", "KubeFATE gets the new cluster.yaml")
    return None


def _is_release_lost(ctx: PlanContext) -> bool:
    """Return whether an update has shown that Helm knows nothing of what KubeFATE has a record of.

    Its namespace was deleted by hand, or Helm's Secrets in it. KubeFATE drops a record whose
    release it does not find (pkg/job/cluster_delete.go), and what still runs is taken over.
    """
    last = ctx.state.last
    return not ctx.observed.releases and last is not None and last.cause == RELEASE_LOST


def submit_update(ctx: PlanContext, reason: str, message: str) -> StageResult:
    """Return the result that submits an update, now or after the back-off."""
    pending = _pending_release(ctx)
    if pending is not None:
        return pending
    return _submit(ctx, Method.UPDATE, reason, message)


def _needs_update(ctx: PlanContext, record: RecordView) -> bool:
    """Return whether an update must be submitted: the spec is compared, never a job trusted."""
    # After a rollback the spec reads like the old one, and what runs is older still: KubeFATE
    # counts its revisions from 0 and Helm from 1 (pkg/service/helm.go HelmRollback).
    if record.state is RecordState.ROLLBACK:
        return True
    last = ctx.state.last
    if last is not None and last.method is Method.UPDATE and last.outcome in _IN_DOUBT:
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
    releases, timing = ctx.observed.releases, ctx.timing
    if _is_cut_off(ctx):
        text = "waiting until KubeFATE has given up the install that was cut off"
        ending_s = timing.recheck_ending_s
        return StageResult(ctx.busy_phase, "InstallEnding", text, next_check_s=ending_s)
    if not releases:
        text = f"KubeFATE is asked to install {ctx.document.release_name}"
        return _submit(ctx, Method.INSTALL, "Installing", text, good=_live_good(ctx))
    last = ctx.state.last
    may_uninstall = last is not None and not (
        last.outcome is Outcome.SUCCEEDED and last.method is not Method.DELETE
    )
    if last is not None and may_uninstall and ctx.age_s(last.ended_at) < timing.release_settle_s:
        text = "waiting until Helm has cleared the old release away"
        return StageResult(ctx.busy_phase, "ReleaseEnding", text)
    text = "KubeFATE forgot this participant; its workloads run on"
    if ctx.was_ready and ctx.document.repair is RepairPolicy.REPORT:
        idle_s = timing.recheck_idle_s
        return StageResult(Phase.DEGRADED, "DatabaseLost", text, next_check_s=idle_s)
    # Helm refuses to install a name that it knows. Without its Secrets it takes the live objects
    # over, because they bear its annotations (Helm 3.2 and later).
    return StageResult(
        ctx.busy_phase,
        "DatabaseLost",
        f"{text} and are taken up again",
        actions=(ForgetRelease(tuple(release.revision for release in releases)),),
    )


def _is_cut_off(ctx: PlanContext) -> bool:
    """Return whether a removal has just taken the record from under an install."""
    submissions, last = ctx.state.submissions, ctx.state.last
    if last is None or last.method is not Method.DELETE or last.is_open:
        return False
    was_installing = any(item.method is Method.INSTALL and item.is_open for item in submissions)
    return was_installing and ctx.age_s(last.ended_at) < ctx.timing.install_cut_off_s


def _pending_release(ctx: PlanContext) -> StageResult | None:
    """Clear away a pending revision that nobody works on: Helm refuses everything until then."""
    releases = ctx.observed.releases
    newest = releases[-1] if releases else None
    if newest is None or not newest.status.startswith("pending"):
        return None
    if ctx.age_s(newest.modified_at) < ctx.timing.release_settle_s:
        return StageResult(ctx.busy_phase, "HelmBusy", "Helm is at work on the release")
    text = "Helm's operation was cut off; its mark is cleared away"
    forget = ForgetRelease((newest.revision,))
    return StageResult(ctx.busy_phase, "HelmCutOff", text, actions=(forget,))


def _mend_busy(ctx: PlanContext, record: RecordView) -> StageResult | None:
    """Mend a record in motion without a request of ours: take the job up, or begin anew."""
    job = ctx.observed.kubefate.job
    if job is not None and not job.is_over and not is_stuck(ctx, job):
        return _take_up(ctx, record, job)
    is_deployed = any(release.status == "deployed" for release in ctx.observed.releases)
    if record.state is RecordState.DELETING or not is_deployed:
        kept = _keep_live(ctx)
        if kept is not None:
            return kept
        return _submit(ctx, Method.DELETE, "RecordBroken", "a half-made record is removed first")
    text = "a job was cut off; the record is brought up to date again"
    return submit_update(ctx, "JobStuck", text)


def _keep_live(ctx: PlanContext) -> StageResult | None:
    """Forget what Helm left half done over a live participant: removing it would uninstall."""
    releases = ctx.observed.releases
    if not ctx.state.ready_generation or not ctx.observed.workloads or not releases:
        return None
    pending = _pending_release(ctx)
    if pending is not None:
        return pending
    text = "Helm's half-made release is forgotten; its workloads run on"
    forget = ForgetRelease(tuple(release.revision for release in releases))
    return StageResult(ctx.busy_phase, "HelmCutOff", text, actions=(forget,))


def _live_good(ctx: PlanContext) -> LastGoodConfig | None:
    """Return what a participant runs with whose record is lost.

    An install that fails is uninstalled by KubeFATE (pkg/job/cluster_install.go), so one over a
    live participant changes nothing; the document follows as an update.
    """
    good = ctx.state.good
    is_live = bool(ctx.observed.workloads)
    return good if is_live and good is not None and _may_send(ctx, good) else None


def _may_send(ctx: PlanContext, good: LastGoodConfig) -> bool:
    """Return whether KubeFATE may be given what last worked.

    Of another chart than the document's only where the record is still of that chart: after an
    upgrade that failed KubeFATE has put the old spec back (pkg/job/job.go), so that this is no
    downgrade, which its upgrade manager would refuse. The same version in another archive is never
    sent: the new archive has replaced the old one at KubeFATE.
    """
    chart = ctx.document.chart
    if good.generation >= ctx.document.generation:
        return False
    if good.chart.is_same(chart):
        return True
    good_version = (good.chart.name, good.chart.version)
    record = ctx.observed.kubefate.record
    if record is None or good_version == (chart.name, chart.version):
        return False
    return (record.spec.get("chartName"), record.spec.get("chartVersion")) == good_version


def _take_up(ctx: PlanContext, record: RecordView, job: JobView) -> StageResult:
    """Follow a job that this journal does not know: the agent's disk was lost."""
    methods = {word: method for method, word in JOB_METHODS.items()}
    method = methods.get(job.method, Method.DELETE)
    generation, _, attempt = record.revision.partition(".")
    # A removal leaves the record's revision as it was: that of another request.
    is_of_job = generation.isdigit() and attempt.isdigit() and method is not Method.DELETE
    submission = Submission(
        generation=int(generation) if is_of_job else ctx.document.generation,
        attempt=int(attempt) if is_of_job else next_attempt(ctx),
        method=method,
        begun_at=job.started_at or ctx.now,
    )
    return StageResult(
        ctx.busy_phase,
        "JobFound",
        "took up a job that was under way",
        actions=(AdoptSubmission(submission, job.job_id),),
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
    failures = ctx.state.failures(generation)
    held = _after_failures(ctx, failures) if failures else None
    if held is not None:
        return held
    submit = Submit(method, next_attempt(ctx, generation), _record_uuid(ctx), good)
    return StageResult(ctx.busy_phase, reason, message, actions=(submit,))


def _after_failures(ctx: PlanContext, failures: tuple[Submission, ...]) -> StageResult | None:
    """Return what comes before the next try: what last worked, a wait, or the end."""
    last, cause = failures[-1], cause_named(failures[-1].cause)
    left_s = backoff_left_s(ctx, len(failures), last)
    is_final = cause.is_lasting and len(failures) >= cause.tries
    if is_final or left_s > ctx.timing.restore_after_s:
        restore = _restore(ctx, last)
        if restore is not None:
            return restore
    if is_final:
        text = f"{last.message or last.cause} (tried {len(failures)} times). {cause.hint}"
        text += _in_force(ctx)
        idle_s = ctx.timing.recheck_idle_s
        return StageResult(Phase.FAILED, last.cause, text, next_check_s=idle_s, failed=True)
    if left_s > 0:
        text = f"{last.message or last.cause}; next try in {left_s:.0f} s"
        return StageResult(ctx.busy_phase, last.cause, text, next_check_s=left_s)
    return None


def _restore(ctx: PlanContext, failure: Submission) -> StageResult | None:
    """Put back what last worked: KubeFATE's rollback goes to an older state than that.

    Its revision counter starts at 0 and Helm's at 1 (pkg/service/helm.go HelmRollback).
    """
    good = ctx.state.good
    if failure.method is not Method.UPDATE or good is None or not _may_send(ctx, good):
        return None
    failures = ctx.state.failures(good.generation)
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
    last = ctx.state.last
    if last is None or last.generation != good.generation:
        return False
    return last.outcome is Outcome.SUCCEEDED


def _in_force(ctx: PlanContext) -> str:
    good = ctx.state.good
    if good is None or not _is_restored(ctx, good):
        return ""
    return f" Generation {good.generation}, which last worked, is in force."


def next_attempt(ctx: PlanContext, generation: int | None = None) -> int:
    """Return a number that neither the journal nor KubeFATE's record has used."""
    if generation is None:
        generation = ctx.document.generation
    next_of_journal = ctx.state.next_attempt(generation)
    record = ctx.observed.kubefate.record
    if record is None:
        return next_of_journal
    record_generation, _, attempt = record.revision.partition(".")
    if record_generation == str(generation) and attempt.isdigit():
        return max(next_of_journal, int(attempt) + 1)
    return next_of_journal


def _record_uuid(ctx: PlanContext) -> str:
    record = ctx.observed.kubefate.record
    return "" if record is None else record.uuid
