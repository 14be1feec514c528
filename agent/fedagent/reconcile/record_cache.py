"""What KubeFATE says about one participant, read with as few requests as possible.

A login costs the service 1.25 s and a list grows with its history: so a job is followed by one
request, the records are read when something has changed, and the job list only when in doubt.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
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
from fedagent.domain.state import ResourceState, Submission
from fedagent.kube.errors import KubeError
from fedagent.kubefate.client import KubeFate
from fedagent.kubefate.errors import KubeFateError
from fedagent.kubefate.jobs import JobTrace, follow, newest_job, track
from fedagent.kubefate.records import DIGEST_KEY, OWNER_KEY, REVISION_KEY, Cluster, Job
from fedagent.reconcile.kubefate_service import KubeFateService
from fedagent.reconcile.timing import ReconcileTiming

_LCM_KEYS: Final = frozenset({OWNER_KEY, REVISION_KEY, DIGEST_KEY})


@dataclass(slots=True)
class RecordCache:
    """The last view of one participant's record, and when it must be read again."""

    desk: KubeFateService
    timing: ReconcileTiming
    view: KubeFateView | None = None
    read_at: datetime | None = None
    polled_at: datetime | None = None
    trace: JobTrace | None = None
    is_dirty: bool = True

    def spoil(self) -> None:
        """Read everything again at the next look: something was done or heard."""
        self.is_dirty = True

    async def look(
        self,
        document: ParticipantDocument,
        memory: ResourceState,
        *,
        all_ready: bool,
        now: datetime,
    ) -> KubeFateView:
        """Return what KubeFATE says, from the service or from the last look."""
        await self.desk.wait_known()
        was_dirty, self.is_dirty = self.is_dirty, False
        try:
            async with asyncio.timeout(self.timing.record_limit_s):
                if was_dirty:
                    self.read_at = None
                await self._update(document, memory, now, all_ready=all_ready)
        except (KubeFateError, KubeError) as error:
            access, message = self.desk.meaning(error)
            self.view, self.read_at = KubeFateView(access, message), now
            self.desk.doubt()
        except TimeoutError:
            self.desk.doubt()
            message = f"KubeFATE gave no answer within {self.timing.record_limit_s:g} s"
            self.view, self.read_at = KubeFateView(ServiceAccess.UNREACHABLE, message), now
        if self.view is None:
            raise RuntimeError("a first look reads everything")
        return self.view

    async def _update(
        self,
        document: ParticipantDocument,
        memory: ResourceState,
        now: datetime,
        *,
        all_ready: bool,
    ) -> None:
        sent = memory.open_submission
        if self._needs_all(memory, now):
            client = await self.desk.client()
            self.view = await self._read(client, document, sent, now)
            self.read_at, self.polled_at = now, now
        elif sent is not None and self._needs_poll(sent, now, all_ready=all_ready):
            await self._poll(await self.desk.client(), sent, now)

    def _needs_all(self, memory: ResourceState, now: datetime) -> bool:
        if self.view is None or self.read_at is None:
            return True
        age_s = (now - self.read_at).total_seconds()
        if not self.view.answers:
            return age_s >= self.timing.record_retry_s
        sent = memory.open_submission
        if age_s >= self.timing.record_s:
            return True
        return sent is not None and not sent.job_id and age_s >= self.timing.record_in_doubt_s

    def _needs_poll(self, sent: Submission, now: datetime, *, all_ready: bool) -> bool:
        if not sent.job_id or self.polled_at is None:
            return bool(sent.job_id)
        wait_s = (
            self.timing.job_poll_s
            if (now - sent.begun_at).total_seconds() < self.timing.job_slow_after_s
            else self.timing.job_slow_poll_s
        )
        if all_ready or sent.method == "delete":
            wait_s = self.timing.job_quick_poll_s
        return (now - self.polled_at).total_seconds() >= wait_s

    async def _read(
        self,
        client: KubeFate,
        document: ParticipantDocument,
        sent: Submission | None,
        now: datetime,
    ) -> KubeFateView:
        rows = await client.clusters()
        wanted = (document.release_name, document.namespace)
        own = [row for row in rows if (row.name, row.namespace) == wanted]
        others = [
            row for row in rows if row.namespace == document.namespace and row.name != wanted[0]
        ]
        cluster = own[-1] if own else None
        job = await self._find_job(client, document, cluster, sent)
        return KubeFateView(
            access=ServiceAccess.READY,
            record=None if cluster is None else record_view(cluster),
            occupant=others[-1].owner or others[-1].name if others else "",
            job=self._seen(job, now),
            service_started_at=_later(self.desk.started_at, client.restart_seen_at),
            seen_at=now,
        )

    async def _find_job(
        self,
        client: KubeFate,
        document: ParticipantDocument,
        cluster: Cluster | None,
        sent: Submission | None,
    ) -> Job | None:
        if sent is not None and sent.job_id:
            return await follow(client, sent.job_id)
        is_busy = cluster is not None and RecordState(cluster.status.value) in BUSY_RECORD
        if sent is None and not is_busy:
            return None
        return newest_job(await client.jobs(), cluster, document.release_name, document.namespace)

    async def _poll(self, client: KubeFate, sent: Submission, now: datetime) -> None:
        job = await follow(client, sent.job_id)
        self.polled_at = now
        if self.view is not None:
            started_at = _later(self.desk.started_at, client.restart_seen_at)
            self.view = replace(
                self.view, job=self._seen(job, now), service_started_at=started_at, seen_at=now
            )

    def _seen(self, job: Job | None, now: datetime) -> JobView | None:
        if job is None:
            return None
        self.trace = track(self.trace, job, now)
        return job_view(job, self.trace)


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


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    times = [time for time in (one, other) if time is not None]
    return max(times, default=None)
