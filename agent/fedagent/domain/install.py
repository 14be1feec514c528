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
    CALM_S,
    PlanContext,
    StageResult,
    backoff_left_s,
    owned_by_another,
    without_service,
)
from fedagent.domain.state import LastGoodConfig, Method, Outcome, Submission

_RELEASE_SETTLE_S: Final = 5.0
_CUT_OFF_S: Final = 3.0
"""KubeFATE's install misses its record within a second, and then uninstalls the release by name."""
_RESTORE_AFTER_S: Final = 10.0
_RESTORE_TRIES: Final = 3
_UNSURE: Final = frozenset({Outcome.STUCK, Outcome.FAILED, Outcome.ROLLED_BACK})
"""After these nobody knows what an update left behind."""


def install(given: PlanContext) -> StageResult | None:
    """Have KubeFATE's record as the document says, and no job under way."""
    if not given.observed.kubefate.answers:
        return without_service(given)
    foreign = not_ours(given)
    if foreign is not None:
        return foreign
    sent = given.memory.open_submission
    return follow(given, sent) if sent is not None else _bring(given)


def not_ours(given: PlanContext) -> StageResult | None:
    """Return the halt for a record that another hub or a person made."""
    view = given.observed.kubefate
    if view.occupant:
        return owned_by_another(f"namespace {given.document.namespace}", view.occupant)
    if view.record is not None and view.record.owner != str(given.us):
        what = f"KubeFATE cluster {given.document.release_name}"
        return owned_by_another(what, view.record.owner or "nobody we know")
    return None


def _bring(given: PlanContext) -> StageResult | None:
    record = given.observed.kubefate.record
    if record is None:
        return _install(given)
    if record.state in BUSY_RECORD:
        return _busy(given, record)
    if _is_release_lost(given):
        text = "Helm's release is gone: KubeFATE's record is removed, to install it anew"
        return _submit(given, Method.DELETE, RELEASE_LOST, text)
    if needs_update(given, record):
        return submit_update(given, "Outdated", "KubeFATE gets the new cluster.yaml")
    return None


def _is_release_lost(given: PlanContext) -> bool:
    """Tell whether an update has shown that Helm knows nothing of what KubeFATE has a record of.

    Its namespace was deleted by hand, or Helm's Secrets in it. KubeFATE drops a record whose
    release it does not find (pkg/job/cluster_delete.go), and what still runs is taken over.
    """
    last = given.memory.last
    return not given.observed.releases and last is not None and last.cause == RELEASE_LOST


def submit_update(given: PlanContext, reason: str, message: str) -> StageResult:
    """Return the halt that submits an update, now or after the back-off."""
    pending = _pending_release(given)
    if pending is not None:
        return pending
    return _submit(given, Method.UPDATE, reason, message)


def needs_update(given: PlanContext, record: RecordView) -> bool:
    """Tell whether an update must be submitted: the spec is compared, never a job trusted."""
    if record.state is RecordState.ROLLBACK:
        return True
    last = given.memory.last
    if last is not None and last.method is Method.UPDATE and last.outcome in _UNSURE:
        return True
    return not _equal(record.spec, given.document.cluster)


def _equal(left: Any, right: Any) -> bool:
    """Compare two JSON trees; a number is the same whether written 1 or 1.0."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _install(given: PlanContext) -> StageResult | None:
    releases = given.observed.releases
    if _is_cut_off(given):
        text = "waiting until KubeFATE has given up the install that was cut off"
        return StageResult(given.busy_phase, "InstallEnding", text, next_check_s=0.5)
    if not releases:
        name = given.document.release_name
        text = f"KubeFATE is asked to install {name}"
        return _submit(given, Method.INSTALL, "Installing", text, good=_live_good(given))
    last = given.memory.last
    uninstalls = last is not None and not (
        last.outcome is Outcome.SUCCEEDED and last.method is not Method.DELETE
    )
    if last is not None and uninstalls and given.age_s(last.ended_at) < _RELEASE_SETTLE_S:
        text = "waiting until Helm has cleared the old release away"
        return StageResult(given.busy_phase, "ReleaseEnding", text)
    text = "KubeFATE forgot this participant; its workloads run on"
    if given.was_ready and given.document.repair is Repair.REPORT:
        return StageResult(Phase.DEGRADED, "DatabaseLost", text, next_check_s=CALM_S)
    return StageResult(
        given.busy_phase,
        "DatabaseLost",
        f"{text} and are taken up again",
        actions=(ForgetRelease(tuple(item.revision for item in releases)),),
    )


def _is_cut_off(given: PlanContext) -> bool:
    """Tell whether a removal has just taken the record from under an install."""
    sent = given.memory.submissions
    last = given.memory.last
    if last is None or last.method is not Method.DELETE or last.is_open:
        return False
    is_open = any(item.method is Method.INSTALL and item.is_open for item in sent)
    return is_open and given.age_s(last.ended_at) < _CUT_OFF_S


def _pending_release(given: PlanContext) -> StageResult | None:
    """Clear a pending revision away that nobody works on: Helm refuses everything until then."""
    releases = given.observed.releases
    newest = releases[-1] if releases else None
    if newest is None or not newest.status.startswith("pending"):
        return None
    if given.age_s(newest.modified_at) < _RELEASE_SETTLE_S:
        return StageResult(given.busy_phase, "HelmBusy", "Helm is at work on the release")
    text = "Helm's operation was cut off; its mark is cleared away"
    return StageResult(
        given.busy_phase, "HelmCutOff", text, actions=(ForgetRelease((newest.revision,)),)
    )


def _busy(given: PlanContext, record: RecordView) -> StageResult | None:
    """Mend a record in motion without a request of ours: take the job up, or begin anew."""
    job = given.observed.kubefate.job
    if job is not None and not job.is_over and not is_stuck(given, job):
        return _take_up(given, record)
    installed = any(item.status == "deployed" for item in given.observed.releases)
    if record.state is RecordState.DELETING or not installed:
        kept = _keep_live(given)
        if kept is not None:
            return kept
        text = "a half-made record is removed first"
        return _submit(given, Method.DELETE, "RecordBroken", text)
    text = "a job was cut off; the record is brought up to date again"
    return submit_update(given, "JobStuck", text)


def _keep_live(given: PlanContext) -> StageResult | None:
    """Forget what Helm left half done over a live participant: removing it would uninstall."""
    releases = given.observed.releases
    if not given.memory.ready_generation or not given.observed.workloads or not releases:
        return None
    pending = _pending_release(given)
    if pending is not None:
        return pending
    text = "Helm's half-made release is forgotten; its workloads run on"
    forget = ForgetRelease(tuple(item.revision for item in releases))
    return StageResult(given.busy_phase, "HelmCutOff", text, actions=(forget,))


def _live_good(given: PlanContext) -> LastGoodConfig | None:
    """Return what a participant runs with whose record is lost.

    An install that fails is uninstalled by KubeFATE (pkg/job/cluster_install.go), so one over a
    live participant changes nothing; the document follows as an update.
    """
    good = given.memory.good
    is_live = bool(given.observed.workloads)
    return good if is_live and good is not None and _may_send(given, good) else None


def _may_send(given: PlanContext, good: LastGoodConfig) -> bool:
    """Tell whether what last worked is another cluster.yaml of the document's own chart."""
    chart, sent = given.document.chart, json.loads(good.cluster_json)
    is_same_chart = (sent.get("chartName"), sent.get("chartVersion")) == (chart.name, chart.version)
    return good.generation < given.document.generation and is_same_chart


def _take_up(given: PlanContext, record: RecordView) -> StageResult:
    """Follow a job that this journal does not know: the agent's disk was lost."""
    job = given.observed.kubefate.job
    if job is None:
        raise RuntimeError("there is no job to take up")
    methods = {"ClusterInstall": Method.INSTALL, "ClusterUpdate": Method.UPDATE}
    method = methods.get(job.method, Method.DELETE)
    generation, _, attempt = record.revision.partition(".")
    # A removal leaves the record's revision as it was: that of another request.
    known = generation.isdigit() and attempt.isdigit() and method is not Method.DELETE
    sent = Submission(
        generation=int(generation) if known else given.document.generation,
        attempt=int(attempt) if known else next_attempt(given),
        method=method,
        begun_at=job.started_at or given.now,
    )
    return StageResult(
        given.busy_phase,
        "JobFound",
        "took up a job that was under way",
        actions=(AdoptSubmission(sent, job.job_id),),
    )


def _submit(
    given: PlanContext,
    method: Method,
    reason: str,
    message: str,
    *,
    good: LastGoodConfig | None = None,
) -> StageResult:
    generation = given.document.generation if good is None else good.generation
    failures = given.memory.failures(generation)
    if failures:
        last, cause = failures[-1], cause_named(failures[-1].cause)
        left_s = backoff_left_s(given, len(failures), last)
        is_final = cause.is_lasting and len(failures) >= cause.tries
        restore = _restore(given, last) if is_final or left_s > _RESTORE_AFTER_S else None
        if restore is not None:
            return restore
        if is_final:
            text = f"{last.message or last.cause} (tried {len(failures)} times). {cause.hint}"
            text += _in_force(given)
            return StageResult(Phase.FAILED, last.cause, text, next_check_s=CALM_S, failed=True)
        if left_s > 0:
            text = f"{last.message or last.cause}; next try in {left_s:.0f} s"
            return StageResult(given.busy_phase, last.cause, text, next_check_s=left_s)
    submit = Submit(method, next_attempt(given, generation), _record_uuid(given), good)
    return StageResult(given.busy_phase, reason, message, actions=(submit,))


def _restore(given: PlanContext, failure: Submission) -> StageResult | None:
    """Put back what last worked: KubeFATE's rollback goes to an older state than that.

    Its revision counter starts at 0 and Helm's at 1 (pkg/service/helm.go HelmRollback).
    """
    good = given.memory.good
    if failure.method is not Method.UPDATE or good is None or not _may_send(given, good):
        return None
    failures = given.memory.failures(good.generation)
    if _is_restored(given, good) or len(failures) >= _RESTORE_TRIES:
        return None
    text = f"{failure.message or failure.cause}; what last worked is put back"
    left_s = backoff_left_s(given, len(failures), failures[-1] if failures else None)
    if left_s > 0:
        return StageResult(given.busy_phase, "Restoring", text, next_check_s=left_s)
    attempt = next_attempt(given, good.generation)
    submit = Submit(Method.UPDATE, attempt, _record_uuid(given), good)
    return StageResult(given.busy_phase, "Restoring", text, actions=(submit,))


def _is_restored(given: PlanContext, good: LastGoodConfig) -> bool:
    last = given.memory.last
    return last is not None and (last.generation, last.outcome) == (
        good.generation,
        Outcome.SUCCEEDED,
    )


def _in_force(given: PlanContext) -> str:
    good = given.memory.good
    if good is None or not _is_restored(given, good):
        return ""
    return f" Generation {good.generation}, which last worked, is in force."


def next_attempt(given: PlanContext, generation: int | None = None) -> int:
    """Return a number that neither the journal nor KubeFATE's record has used."""
    if generation is None:
        generation = given.document.generation
    ours = given.memory.next_attempt(generation)
    record = given.observed.kubefate.record
    if record is None:
        return ours
    seen, _, attempt = record.revision.partition(".")
    if seen == str(generation) and attempt.isdigit():
        return max(ours, int(attempt) + 1)
    return ours


def _record_uuid(given: PlanContext) -> str:
    record = given.observed.kubefate.record
    return "" if record is None else record.uuid
