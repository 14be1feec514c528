"""A request that was sent to KubeFATE: did it arrive, how does it go, how did it end."""

from __future__ import annotations

from typing import Final

from fedagent.domain.decision import (
    AdoptSubmission,
    DetachJob,
    EndSubmission,
    Phase,
    StopJob,
)
from fedagent.domain.diagnosis import JOB_STUCK, cause_of, worst_of
from fedagent.domain.observed import BUSY_RECORD, JobState, JobView, RecordState
from fedagent.domain.stage import PlanContext, StageResult
from fedagent.domain.state import Method, Outcome, Submission

_INSTALLED: Final = "helm install Success"
_NO_RELEASE: Final = "release: not found"
"""KubeFATE has nothing to uninstall, and drops its record all the same."""
_METHODS: Final = {
    Method.INSTALL: "ClusterInstall",
    Method.UPDATE: "ClusterUpdate",
    Method.DELETE: "ClusterDelete",
}
_OUTCOMES: Final = {
    JobState.SUCCESS: Outcome.SUCCEEDED,
    JobState.ROLLBACK: Outcome.ROLLED_BACK,
    JobState.CANCELED: Outcome.CANCELED,
}


def follow(ctx: PlanContext, sent: Submission) -> StageResult:
    """Return what is next for a request whose end is not known. KubeFATE answers."""
    if not sent.job_id:
        return _look_up(ctx, sent)
    job = ctx.observed.kubefate.job
    if job is None or job.job_id != sent.job_id:
        return _end(ctx, sent, Outcome.LOST, "JobLost", "KubeFATE no longer knows the job")
    return _ended(ctx, sent, job) if job.is_over else _going(ctx, sent, job)


def _going(ctx: PlanContext, sent: Submission, job: JobView) -> StageResult:
    """Follow a job that is not over, unless it is dead or had better not go on."""
    if is_stuck(ctx, job):
        text = "KubeFATE stopped working on the job without ending it"
        return _end(ctx, sent, Outcome.STUCK, JOB_STUCK.code, text)
    if _is_over_live(ctx, sent):
        return _detach(ctx, sent, job) or _running(ctx, sent, job)
    if _is_hopeless(ctx, sent, job):
        return StageResult(
            phase_of(ctx, sent),
            "JobReplaced",
            "stopping an install that cannot succeed, for the newer document",
            actions=(StopJob(job.job_id),),
            follows_job=job.job_id,
        )
    return _running(ctx, sent, job)


def phase_of(ctx: PlanContext, sent: Submission) -> Phase:
    """Return the phase that people see while a request is under way."""
    if ctx.document.absent or sent.method is Method.DELETE:
        return Phase.REMOVING if ctx.document.absent else ctx.busy_phase
    return ctx.busy_phase


def is_stuck(ctx: PlanContext, job: JobView) -> bool:
    """Tell whether KubeFATE works on a Running job no more (it resumes none after a restart)."""
    service_started_at = ctx.observed.kubefate.service_started_at
    silent_s = 0.0 if job.changed_at is None else ctx.age_s(job.changed_at)
    begun_at = job.started_at
    if service_started_at is not None and begun_at is not None and service_started_at > begun_at:
        return silent_s > ctx.timing.job_restart_stuck_s
    if job.method == _METHODS[Method.INSTALL] and job.state is JobState.RUNNING:
        checks = any(text.startswith("checkout Cluster status") for text in job.states)
        if silent_s > (ctx.timing.job_checks_stuck_s if checks else ctx.timing.job_install_stuck_s):
            return True
    if job.method == _METHODS[Method.DELETE]:
        return silent_s > ctx.timing.job_install_stuck_s
    return silent_s > (ctx.timing.job_ready_stuck_s if _all_ready(ctx) else ctx.timing.job_limit_s)


def _all_ready(ctx: PlanContext) -> bool:
    workloads = ctx.observed.workloads
    wanted = ctx.document.components
    return bool(wanted) and all(
        item.name in workloads and workloads[item.name].is_ready for item in wanted
    )


def _look_up(ctx: PlanContext, sent: Submission) -> StageResult:
    """Find out whether a request whose answer was lost has arrived."""
    view = ctx.observed.kubefate
    job, record = view.job, view.record
    if job is not None and _is_of(job, sent):
        return StageResult(
            phase_of(ctx, sent),
            "JobFound",
            "took up a job whose answer was lost",
            actions=(AdoptSubmission(sent, job.job_id),),
        )
    if (
        view.seen_at is None
        or (view.seen_at - sent.begun_at).total_seconds() < ctx.timing.answer_settle_s
    ):
        text = "looking whether KubeFATE took the request"
        return StageResult(phase_of(ctx, sent), "Settling", text)
    if sent.method is Method.DELETE and record is None:
        return _end(ctx, sent, Outcome.SUCCEEDED)
    if record is not None and sent.method is not Method.DELETE:
        arrived = record.revision == sent.revision
        if arrived and record.state not in BUSY_RECORD and record.state is not RecordState.ROLLBACK:
            return _end(ctx, sent, Outcome.SUCCEEDED)
        if arrived:
            text = "the request arrived, and nothing works on it"
            return _end(ctx, sent, Outcome.STUCK, JOB_STUCK.code, text)
    return _end(ctx, sent, Outcome.LOST, "RequestLost", "the request did not arrive")


def _is_of(job: JobView, sent: Submission) -> bool:
    if job.method != _METHODS[sent.method]:
        return False
    if sent.method is Method.DELETE:
        return not job.is_over
    return job.revision == sent.revision


def _ended(ctx: PlanContext, sent: Submission, job: JobView) -> StageResult:
    outcome = _OUTCOMES.get(job.state, Outcome.FAILED)
    if sent.method is Method.DELETE and _NO_RELEASE in job.error:
        outcome = Outcome.SUCCEEDED
    if outcome in {Outcome.SUCCEEDED, Outcome.CANCELED}:
        return _end(ctx, sent, outcome)
    cause = cause_of(job.error)
    code = cause.code
    if code == "InstallTimedOut":
        worst = worst_of(ctx.observed, ctx.now, ctx.timing)
        code = code if worst is None else worst.code
    return _end(ctx, sent, outcome, code, job.error or f"the job ended as {job.state}")


def _end(
    ctx: PlanContext, sent: Submission, outcome: Outcome, cause: str = "", message: str = ""
) -> StageResult:
    return StageResult(
        phase_of(ctx, sent),
        cause or "JobEnded",
        message or f"the {sent.method} job has ended",
        actions=(EndSubmission(sent, outcome, cause, message),),
    )


def _is_over_live(ctx: PlanContext, sent: Submission) -> bool:
    """Tell whether an install takes up a participant that people work with already."""
    return sent.method is Method.INSTALL and ctx.memory.ready_generation > 0


def _detach(ctx: PlanContext, sent: Submission, job: JobView) -> StageResult | None:
    """End an install over a live participant before KubeFATE gives up on it and uninstalls."""
    is_newer = sent.generation < ctx.document.generation
    limit_s = ctx.timing.detach_for_newer_s if is_newer else ctx.timing.detach_s
    if _INSTALLED not in job.states or ctx.age_s(job.started_at) < limit_s:
        return None
    return StageResult(
        phase_of(ctx, sent),
        "JobDetached",
        "KubeFATE waits for components of a participant that runs; its job is let go",
        actions=(DetachJob(job.job_id),),
        follows_job=job.job_id,
    )


def _is_hopeless(ctx: PlanContext, sent: Submission, job: JobView) -> bool:
    """Tell whether an install may be stopped: a newer document waits and this one does not come."""
    if sent.method is not Method.INSTALL or sent.generation >= ctx.document.generation:
        return False
    if job.state is not JobState.RUNNING:
        return False
    broken = worst_of(ctx.observed, ctx.now, ctx.timing) is not None
    return broken or ctx.age_s(job.started_at) > ctx.timing.install_hopeless_s


def _running(ctx: PlanContext, sent: Submission, job: JobView) -> StageResult:
    wanted = ctx.document.components
    ready = sum(
        1
        for item in wanted
        if item.name in ctx.observed.workloads and ctx.observed.workloads[item.name].is_ready
    )
    doing = {
        Method.INSTALL: "installing",
        Method.UPDATE: "updating",
        Method.DELETE: "uninstalling",
    }[sent.method]
    reason, message = "JobRunning", f"KubeFATE is {doing}"
    if sent.method is not Method.DELETE:
        message += f": {ready} of {len(wanted)} components are ready"
        worst = worst_of(ctx.observed, ctx.now, ctx.timing)
        if worst is not None:
            reason, message = worst.code, f"{message}; {worst.message}"
    return StageResult(
        phase_of(ctx, sent),
        reason,
        message,
        next_check_s=ctx.timing.recheck_ending_s
        if ready == len(wanted) or sent.method is Method.DELETE
        else ctx.timing.recheck_progress_s,
        follows_job=job.job_id,
    )
