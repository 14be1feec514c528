"""What KubeFATE says about one participant, read with as few requests as possible.

A login costs the service 1.25 s of a core (``pkg/modules/user.go``), and its lists grow with their
history. So:

the journal           | what is asked
----------------------|--------------------------------------------------------------------------
any                   | all records when something was done or heard, and each ``record_s``
any, no answer lately | all records each ``record_retry_s``
request without job   | all records and the job list each ``record_in_doubt_s``
request with its job  | that job alone: often where its end is near, seldom once it is old
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Final

from fedagent.domain.document import ParticipantDocument
from fedagent.domain.observed import (
    BUSY_RECORD,
    JobState,
    JobView,
    KubeFateView,
    RecordState,
    RecordView,
    ServiceAccess,
)
from fedagent.domain.state import Method, ResourceState, Submission
from fedagent.kube.errors import KubeError
from fedagent.kubefate.client import KubeFate
from fedagent.kubefate.errors import KubeFateError
from fedagent.kubefate.jobs import JobTrace, follow, newest_job, track
from fedagent.kubefate.records import DIGEST_KEY, OWNER_KEY, REVISION_KEY, Cluster, Job
from fedagent.reconcile.kubefate_service import KubeFateService
from fedagent.reconcile.timing import ReconcileTiming

_LCM_KEYS: Final = frozenset({OWNER_KEY, REVISION_KEY, DIGEST_KEY})


class RecordCache:
    """The last view of one participant's record, and when it must be read again."""

    def __init__(self, service: KubeFateService, timing: ReconcileTiming) -> None:
        self._service = service
        self._timing = timing
        self._view: KubeFateView | None = None
        self._read_at: datetime | None = None
        self._polled_at: datetime | None = None
        self._trace: JobTrace | None = None

    def invalidate(self) -> None:
        """Read everything again at the next look: something was done or heard."""
        self._read_at = None

    async def refresh(
        self,
        document: ParticipantDocument,
        state: ResourceState,
        *,
        all_ready: bool,
        now: datetime,
    ) -> KubeFateView:
        """Return what KubeFATE says, from the service or from the last look."""
        await self._service.wait_known()
        limit_s = self._timing.record_limit_s
        try:
            async with asyncio.timeout(limit_s):
                view = await self._update(document, state, now, all_ready=all_ready)
        except (KubeFateError, KubeError) as error:
            access, message = self._service.access_after(error)
            view = self._without_answer(KubeFateView(access, message), now)
        except TimeoutError:
            message = f"KubeFATE gave no answer within {limit_s:g} s"
            view = self._without_answer(KubeFateView(ServiceAccess.UNREACHABLE, message), now)
        self._view = view
        return view

    def _without_answer(self, view: KubeFateView, now: datetime) -> KubeFateView:
        self._read_at = now
        self._service.report_unreachable()
        return view

    async def _update(
        self, document: ParticipantDocument, state: ResourceState, now: datetime, *, all_ready: bool
    ) -> KubeFateView:
        submission, view = state.open_submission, self._view
        if view is None or self._needs_all(view, submission, now):
            client = await self._service.client()
            # Set before the requests: what is invalidated while they run is read once more.
            self._read_at, self._polled_at = now, now
            return await self._read(client, document, submission, now)
        if submission is not None and self._needs_poll(submission, now, all_ready=all_ready):
            return await self._poll(await self._service.client(), view, submission, now)
        return view

    def _needs_all(self, view: KubeFateView, submission: Submission | None, now: datetime) -> bool:
        if self._read_at is None:
            return True
        age_s = (now - self._read_at).total_seconds()
        if not view.answers:
            return age_s >= self._timing.record_retry_s
        if age_s >= self._timing.record_s:
            return True
        is_in_doubt = submission is not None and not submission.job_id
        return is_in_doubt and age_s >= self._timing.record_in_doubt_s

    def _needs_poll(self, submission: Submission, now: datetime, *, all_ready: bool) -> bool:
        if not submission.job_id or self._polled_at is None:
            return bool(submission.job_id)
        timing = self._timing
        is_young = (now - submission.begun_at).total_seconds() < timing.job_slow_after_s
        wait_s = timing.job_poll_s if is_young else timing.job_slow_poll_s
        if all_ready or submission.method is Method.DELETE:
            wait_s = timing.job_quick_poll_s
        return (now - self._polled_at).total_seconds() >= wait_s

    async def _read(
        self,
        client: KubeFate,
        document: ParticipantDocument,
        submission: Submission | None,
        now: datetime,
    ) -> KubeFateView:
        clusters = [
            cluster
            for cluster in await client.clusters()
            if cluster.namespace == document.namespace
        ]
        # The newest of a name counts: KubeFATE lists what was deleted and made again in order.
        own = [cluster for cluster in clusters if cluster.name == document.release_name]
        others = [cluster for cluster in clusters if cluster.name != document.release_name]
        cluster = own[-1] if own else None
        job = await self._find_job(client, document, cluster, submission)
        return KubeFateView(
            access=ServiceAccess.READY,
            record=None if cluster is None else record_view(cluster),
            occupant=others[-1].owner or others[-1].name if others else "",
            job=self._job_view(job, now),
            service_started_at=self._service_started_at(client),
            seen_at=now,
        )

    async def _find_job(
        self,
        client: KubeFate,
        document: ParticipantDocument,
        cluster: Cluster | None,
        submission: Submission | None,
    ) -> Job | None:
        if submission is not None and submission.job_id:
            return await follow(client, submission.job_id)
        is_busy = cluster is not None and RecordState(cluster.status.value) in BUSY_RECORD
        if submission is None and not is_busy:
            return None
        return newest_job(await client.jobs(), cluster, document.release_name, document.namespace)

    async def _poll(
        self, client: KubeFate, view: KubeFateView, submission: Submission, now: datetime
    ) -> KubeFateView:
        job = await follow(client, submission.job_id)
        self._polled_at = now
        return replace(
            view,
            job=self._job_view(job, now),
            service_started_at=self._service_started_at(client),
            seen_at=now,
        )

    def _service_started_at(self, client: KubeFate) -> datetime | None:
        """Return when the service started last, by its pod or by a token that it has forgotten."""
        times = (self._service.started_at, client.restart_seen_at)
        return max((time for time in times if time is not None), default=None)

    def _job_view(self, job: Job | None, now: datetime) -> JobView | None:
        if job is None:
            return None
        self._trace = track(self._trace, job, now)
        return job_view(job, self._trace)


def record_view(cluster: Cluster) -> RecordView:
    """Return the view of a cluster record; the agent's own keys are taken out of the spec."""
    return RecordView(
        uuid=cluster.uuid,
        state=RecordState(cluster.status.value),
        owner=cluster.owner,
        revision=cluster.lcm_revision,
        digest=cluster.lcm_digest,
        spec={key: value for key, value in cluster.spec.items() if key not in _LCM_KEYS},
    )


def job_view(job: Job, trace: JobTrace) -> JobView:
    """Return the view of a job."""
    return JobView(
        job_id=job.uuid,
        method=job.method.value,
        state=JobState(job.status.value),
        revision=job.lcm_revision,
        error=job.error,
        states=job.states,
        started_at=job.start_time,
        changed_at=trace.alive_at,
        is_over=job.is_over,
    )
