"""A request that was sent to KubeFATE: whether it arrived, how it goes, how it ended.

A submission is on disk before it is sent, so there is always one of these cases:

the journal | KubeFATE                                   | what is done
------------|--------------------------------------------|---------------------------------------------
no job id   | has a job of this revision                 | take it up: only the answer was lost
no job id   | was last read before it settled (3 s)      | look again
no job id   | has the record at this revision, idle      | it succeeded
no job id   | has the record at this revision, in motion | it is stuck: nothing works on it
no job id   | has neither                                | it is lost, and is submitted again
job id      | does not know the job                      | it is lost
job id      | says that it is over                       | note the outcome and the cause
job id      | shows no sign of life                      | it is stuck (see ``is_stuck``)
job id      | installs over a live participant           | let go of it in time (``_detach``)
job id      | installs what a newer document replaces    | stop it, when it will not succeed
job id      | works on it                                | wait, and say how many are ready

KubeFATE's own words for jobs are in ``pkg/modules/job.go``; how each kind of job ends, in
``pkg/job/cluster_install.go``, ``pkg/job/job.go`` (update) and ``pkg/job/cluster_delete.go``.
"""

from __future__ import annotations

from typing import Final

from fedagent.domain.decision import AdoptSubmission, DetachJob, EndSubmission, StopJob
from fedagent.domain.diagnosis import INSTALL_TIMED_OUT, JOB_STUCK, cause_of
from fedagent.domain.observed import BUSY_RECORD, JobState, JobView, RecordState
from fedagent.domain.stage import PlanContext, StageResult
from fedagent.domain.state import Method, Outcome, Submission
from fedcore.words import Phase

_INSTALLED: Final = "helm install Success"
"""The state that an install job writes once Helm has applied the chart (cluster_install.go)."""
_CHECKS: Final = "checkout Cluster status"
"""The state that an install job writes anew at each of its checks (cluster_install.go)."""
_NO_RELEASE: Final = "release: not found"
"""Helm has nothing to uninstall. KubeFATE calls that a failure, and drops its record as well."""
JOB_METHODS: Final = {
    Method.INSTALL: "ClusterInstall",
    Method.UPDATE: "ClusterUpdate",
    Method.DELETE: "ClusterDelete",
}
"""KubeFATE's word for what a job does (pkg/modules/job.go)."""
_OUTCOMES: Final = {
    JobState.SUCCESS: Outcome.SUCCEEDED,
    JobState.ROLLBACK: Outcome.ROLLED_BACK,
    JobState.CANCELED: Outcome.CANCELED,
}
_VERBS: Final = {
    Method.INSTALL: "installing",
    Method.UPDATE: "updating",
    Method.DELETE: "uninstalling",
}


def follow(ctx: PlanContext, submission: Submission) -> StageResult:
    """Return what is next for a request whose end is not known. KubeFATE answers."""
    if not submission.job_id:
        return _look_up(ctx, submission)
    job = ctx.observed.kubefate.job
    if job is None or job.job_id != submission.job_id:
        text = "KubeFATE no longer knows the job"
        return _end(ctx, submission, Outcome.LOST, "JobLost", text)
    return _ended(ctx, submission, job) if job.is_over else _follow_job(ctx, submission, job)


def ready_count(ctx: PlanContext) -> int:
    """Return how many of the document's components are ready."""
    workloads = ctx.observed.workloads
    return sum(
        1
        for component in ctx.document.components
        if component.name in workloads and workloads[component.name].is_ready
    )


def is_stuck(ctx: PlanContext, job: JobView) -> bool:
    """Return whether KubeFATE no longer works on a job that it calls running.

    It resumes no job after a restart, and an install whose cluster.yaml it cannot parse stays
    Running for ever (``pkg/job/cluster_install.go``). How long a job may be silent depends on how
    often a live one of its kind writes:

    job                                 | silence
    ------------------------------------|--------------------
    older than the service's pod        | job_restart_stuck_s
    install that has begun its checks   | job_checks_stuck_s
    install before that, or uninstall   | job_install_stuck_s
    any other, every component is ready | job_ready_stuck_s
    any other                           | job_limit_s
    """
    timing = ctx.timing
    service_started_at = ctx.observed.kubefate.service_started_at
    silent_s = 0.0 if job.changed_at is None else ctx.age_s(job.changed_at)
    begun_at = job.started_at
    if service_started_at is not None and begun_at is not None and service_started_at > begun_at:
        return silent_s > timing.job_restart_stuck_s
    if job.method == JOB_METHODS[Method.INSTALL] and job.state is JobState.RUNNING:
        has_checks = any(text.startswith(_CHECKS) for text in job.states)
        if silent_s > (timing.job_checks_stuck_s if has_checks else timing.job_install_stuck_s):
            return True
    if job.method == JOB_METHODS[Method.DELETE]:
        return silent_s > timing.job_install_stuck_s
    return silent_s > (timing.job_ready_stuck_s if _all_ready(ctx) else timing.job_limit_s)


def _all_ready(ctx: PlanContext) -> bool:
    components = ctx.document.components
    return bool(components) and ready_count(ctx) == len(components)


def _phase_of(ctx: PlanContext) -> Phase:
    """Return the phase that people see while a request is under way."""
    return Phase.REMOVING if ctx.document.absent else ctx.busy_phase


def _look_up(ctx: PlanContext, submission: Submission) -> StageResult:
    """Find out whether a request whose answer was lost has arrived."""
    view = ctx.observed.kubefate
    job, record = view.job, view.record
    if job is not None and _is_of(job, submission):
        return StageResult(
            _phase_of(ctx),
            "JobFound",
            "took up a job whose answer was lost",
            actions=(AdoptSubmission(submission, job.job_id),),
        )
    # Counted from what KubeFATE was asked last, not from now: an old answer proves nothing.
    seen_at, begun_at = view.seen_at, submission.begun_at
    if seen_at is None or (seen_at - begun_at).total_seconds() < ctx.timing.answer_settle_s:
        return StageResult(_phase_of(ctx), "Settling", "looking whether KubeFATE took the request")
    if submission.method is Method.DELETE:
        if record is None:
            return _end(ctx, submission, Outcome.SUCCEEDED)
    elif record is not None and record.revision == submission.revision:
        # A record that is in motion, or was rolled back, without a job of this revision.
        if record.state in BUSY_RECORD or record.state is RecordState.ROLLBACK:
            text = "the request arrived, and nothing works on it"
            return _end(ctx, submission, Outcome.STUCK, JOB_STUCK.code, text)
        return _end(ctx, submission, Outcome.SUCCEEDED)
    text = "the request did not arrive"
    return _end(ctx, submission, Outcome.LOST, "RequestLost", text)


def _is_of(job: JobView, submission: Submission) -> bool:
    if job.method != JOB_METHODS[submission.method]:
        return False
    # A delete job bears no revision: the one that is open must be ours.
    if submission.method is Method.DELETE:
        return not job.is_over
    return job.revision == submission.revision


def _ended(ctx: PlanContext, submission: Submission, job: JobView) -> StageResult:
    outcome = _OUTCOMES.get(job.state, Outcome.FAILED)
    if submission.method is Method.DELETE and _NO_RELEASE in job.error:
        outcome = Outcome.SUCCEEDED
    if outcome in {Outcome.SUCCEEDED, Outcome.CANCELED}:
        return _end(ctx, submission, outcome)
    code = cause_of(job.error).code
    # "Timed out" names no cause; what the pods lacked does, and KubeFATE uninstalls them now.
    if code == INSTALL_TIMED_OUT and ctx.worst_finding is not None:
        code = ctx.worst_finding.code
    message = job.error or f"the job ended as {job.state}"
    return _end(ctx, submission, outcome, code, message)


def _end(
    ctx: PlanContext, submission: Submission, outcome: Outcome, cause: str = "", message: str = ""
) -> StageResult:
    return StageResult(
        _phase_of(ctx),
        cause or "JobEnded",
        message or f"the {submission.method} job has ended",
        actions=(EndSubmission(submission, outcome, cause, message),),
    )


def _follow_job(ctx: PlanContext, submission: Submission, job: JobView) -> StageResult:
    """Follow a job that is not over, unless it is dead or had better not go on."""
    if is_stuck(ctx, job):
        text = "KubeFATE stopped working on the job without ending it"
        return _end(ctx, submission, Outcome.STUCK, JOB_STUCK.code, text)
    is_over_live = submission.method is Method.INSTALL and ctx.state.ready_generation > 0
    if is_over_live:
        # Never stopped: stopping an install uninstalls, and people work with what it took over.
        return _detach(ctx, submission, job) or _running(ctx, submission, job)
    if _is_hopeless(ctx, submission, job):
        return StageResult(
            _phase_of(ctx),
            "JobReplaced",
            "stopping an install that cannot succeed, for the newer document",
            actions=(StopJob(job.job_id),),
            follows_job=job.job_id,
        )
    return _running(ctx, submission, job)


def _detach(ctx: PlanContext, submission: Submission, job: JobView) -> StageResult | None:
    """Take an install over a live participant out of KubeFATE's hands, once Helm has applied it.

    KubeFATE then only waits for components. It would uninstall them at its limit of an hour, while
    a job whose row is deleted ends without that (``pkg/job/cluster_install.go``).
    """
    is_replaced = submission.generation < ctx.document.generation
    limit_s = ctx.timing.detach_for_newer_s if is_replaced else ctx.timing.detach_s
    if _INSTALLED not in job.states or ctx.age_s(job.started_at) < limit_s:
        return None
    return StageResult(
        _phase_of(ctx),
        "JobDetached",
        "KubeFATE waits for components of a participant that runs; its job is let go",
        actions=(DetachJob(job.job_id),),
        follows_job=job.job_id,
    )


def _is_hopeless(ctx: PlanContext, submission: Submission, job: JobView) -> bool:
    """Return whether an install may be stopped: a newer document waits, and this one fails."""
    if submission.method is not Method.INSTALL or job.state is not JobState.RUNNING:
        return False
    if submission.generation >= ctx.document.generation:
        return False
    is_broken = ctx.worst_finding is not None
    return is_broken or ctx.age_s(job.started_at) > ctx.timing.install_hopeless_s


def _running(ctx: PlanContext, submission: Submission, job: JobView) -> StageResult:
    reason, message = "JobRunning", f"KubeFATE is {_VERBS[submission.method]}"
    ready, total = ready_count(ctx), len(ctx.document.components)
    if submission.method is not Method.DELETE:
        message += f": {ready} of {total} components are ready"
        worst = ctx.worst_finding
        if worst is not None:
            reason, message = worst.code, f"{message}; {worst.message}"
    is_ending = ready == total or submission.method is Method.DELETE
    timing = ctx.timing
    return StageResult(
        _phase_of(ctx),
        reason,
        message,
        next_check_s=timing.recheck_ending_s if is_ending else timing.recheck_progress_s,
        follows_job=job.job_id,
    )
