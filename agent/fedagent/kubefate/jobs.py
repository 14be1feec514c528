"""Submit once, follow, recover: what the service and Helm know of one cluster, and acts on it.

Nothing here decides. ``observe`` says what is there, ``symptoms`` names what it means, each
``submit_*`` does one thing and looks before it would do it twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import structlog

from fedagent.kube.client import Json, Kube
from fedagent.kubefate.client import KubeFate
from fedagent.kubefate.errors import AlreadyExists, RecordNotFound, Unavailable, Unchanged
from fedagent.kubefate.records import (
    DIGEST_KEY,
    OWNER_KEY,
    REVISION_KEY,
    Cluster,
    ClusterArgs,
    ClusterStatus,
    Job,
    JobMethod,
    JobStatus,
    SubJob,
)
from fedagent.kubefate.releases import Release, read_releases

log = structlog.get_logger()

STUCK_AFTER_S: Final = 180.0
"""An install counts seconds and an update writes each 5 s, but Helm itself may take minutes."""
STUCK_AFTER_RESTART_S: Final = 15.0
"""Enough when the service is known to have restarted: no job survives that."""
_SETTLED: Final = frozenset({ClusterStatus.RUNNING, ClusterStatus.UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class KubeFateObservation:
    """What the service and Helm know of one cluster at one moment.

    ``job`` is the one asked for, else the newest open one, else the newest; None where the record
    is settled and no job was asked for. ``is_job_lost``: the service does not know the one asked
    for.
    """

    cluster: Cluster | None
    job: Job | None
    releases: tuple[Release, ...]
    seen_at: datetime
    service_started_at: datetime | None = None
    is_job_lost: bool = False

    @property
    def release(self) -> Release | None:
        """The newest revision of the Helm release."""
        return self.releases[-1] if self.releases else None

    @property
    def is_busy(self) -> bool:
        """Tell whether a job of this cluster is open: nothing may be submitted."""
        return self.job is not None and not self.job.is_over


class Symptom(StrEnum):
    """Something that the ordinary course of things does not mend.

    ``STUCK_JOB``: the job will never end; ``clear_stuck_job``, then update where a release is
    deployed, else delete and install. ``STUCK_RELEASE``: Helm died at work and refuses everything;
    ``releases.drop_pending``. ``ORPHAN_RELEASE``: a release without a record; install with
    ``cover``. ``DATABASE_LOST``: the same, and a job that we remember is unknown.
    ``WRONG_REVISION``: a rollback may have gone too far back; update with a new ``lcmRevision``.
    """

    STUCK_JOB = "stuck_job"
    STUCK_RELEASE = "stuck_release"
    ORPHAN_RELEASE = "orphan_release"
    DATABASE_LOST = "database_lost"
    WRONG_REVISION = "wrong_revision"


class Outcome(StrEnum):
    """What became of a submission."""

    STARTED = "started"
    ALREADY_THERE = "already_there"
    UNCHANGED = "unchanged"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Submission:
    """The outcome, and the job where one was begun."""

    outcome: Outcome
    job: Job | None = None


@dataclass(frozen=True, slots=True)
class JobTrace:
    """When a job last showed a sign of life, on the agent's own clock."""

    uuid: str
    sign: tuple[JobStatus, tuple[str, ...], tuple[SubJob, ...], datetime | None]
    alive_at: datetime


async def observe(
    client: KubeFate,
    kube: Kube,
    name: str,
    namespace: str,
    *,
    seen_at: datetime,
    job_id: str | None = None,
    look_for_job: bool = False,
    service_started_at: datetime | None = None,
) -> KubeFateObservation:
    """Look at one cluster: its record, its job, its Helm releases. Two requests to the service.

    A record that looks settled hides a job that has just begun: with ``look_for_job`` jobs are
    looked for all the same. Ask for it when a submission may have been forgotten (at a start).
    """
    cluster = await find_cluster(client, name, namespace)
    job = await follow(client, job_id) if job_id else None
    is_job_lost = bool(job_id) and job is None
    is_settled = cluster is not None and cluster.status in _SETTLED
    if job is None and (look_for_job or not is_settled):
        job = newest_job(await client.jobs(), cluster, name, namespace)
    elif cluster is not None:
        # Only this call refreshes the status between Running and Unavailable.
        cluster = await _refresh(client, cluster)
    return KubeFateObservation(
        cluster=cluster,
        job=job,
        releases=await read_releases(kube, namespace, name),
        seen_at=seen_at,
        service_started_at=_later(service_started_at, client.restart_seen_at),
        is_job_lost=is_job_lost,
    )


async def follow(client: KubeFate, job_id: str) -> Job | None:
    """Read one job again; None when the service does not know it. One request."""
    try:
        return await client.job(job_id)
    except RecordNotFound:
        return None


async def find_cluster(client: KubeFate, name: str, namespace: str) -> Cluster | None:
    """Find the record of a cluster by name and namespace; deleted ones are left out."""
    wanted = (name, namespace)
    found = [row for row in await client.clusters() if (row.name, row.namespace) == wanted]
    return found[-1] if found else None


def newest_job(
    jobs: tuple[Job, ...], cluster: Cluster | None, name: str, namespace: str
) -> Job | None:
    """Return the newest open job of a cluster, else its newest; a delete job bears no name."""
    own = [
        job
        for job in jobs
        if (cluster is not None and job.cluster_id == cluster.uuid)
        or (job.name, job.namespace) == (name, namespace)
    ]
    open_jobs = [job for job in own if not job.is_over]
    candidates = open_jobs or own
    return candidates[-1] if candidates else None


def prepare_values(cluster_json: str, *, owner: str, revision: str, digest: str) -> bytes:
    """Add the agent's three keys to a cluster.yaml (canonical JSON in, canonical JSON out).

    ``owner`` is ``hub/participant``; ``revision`` is ``generation.attempt`` and differs at every
    submission: the service refuses a configuration that it holds already, also after a rollback.
    Raises ValueError when ``cluster_json`` is no JSON object.
    """
    given = json.loads(cluster_json)
    if not isinstance(given, dict):
        raise ValueError("cluster_json is no object")  # noqa: TRY004 - bad input, no wrong call
    values: Json = given | {OWNER_KEY: owner, REVISION_KEY: revision, DIGEST_KEY: digest}
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


async def submit_install(client: KubeFate, args: ClusterArgs) -> Submission:
    """Begin an installation, at most once.

    ``ALREADY_THERE``: there is a record of that name; the job is that of this very submission when
    its answer was lost earlier. Raises Unavailable when nobody knows whether it began: observe.
    """
    try:
        return Submission(Outcome.STARTED, await client.install(args))
    except AlreadyExists:
        return Submission(Outcome.ALREADY_THERE, await _find_submission(client, args))
    except Unavailable:
        return await _look_after_loss(client, args)


async def submit_update(client: KubeFate, args: ClusterArgs) -> Submission:
    """Begin an update, at most once; ``GONE``: there is no record to update.

    Never call it while another job of the cluster is open: Helm's refusal would end in a rollback.
    """
    try:
        return Submission(Outcome.STARTED, await client.update(args))
    except RecordNotFound:
        return Submission(Outcome.GONE)
    except Unchanged:
        return Submission(Outcome.UNCHANGED, await _find_submission(client, args))
    except Unavailable:
        return await _look_after_loss(client, args)


async def submit_delete(client: KubeFate, cluster: Cluster) -> Submission:
    """Begin a deletion; ``GONE``: there is no record. The release may outlive it: see releases."""
    try:
        return Submission(Outcome.STARTED, await client.delete(cluster.uuid))
    except RecordNotFound:
        return Submission(Outcome.GONE)
    except Unavailable:
        jobs = await client.jobs()
        begun = [
            job for job in jobs if job.cluster_id == cluster.uuid and job.method is JobMethod.DELETE
        ]
        if not begun:
            raise
        return Submission(Outcome.STARTED, begun[-1])


async def clear_stuck_job(client: KubeFate, job: Job) -> None:
    """Delete the record of a job that will never end, so that nobody waits for it.

    The cluster's record stays as it is (Creating or Updating). Idempotent.
    """
    try:
        await client.delete_job(job.uuid)
    except RecordNotFound:
        return
    log.warning("job.cleared", job_id=job.uuid, method=job.method, name=job.name)


def track(previous: JobTrace | None, job: Job, now: datetime) -> JobTrace:
    """Note whether a job shows a new sign of life."""
    sign = (job.status, job.states, job.sub_jobs, job.updated_at)
    if previous is not None and (previous.uuid, previous.sign) == (job.uuid, sign):
        return previous
    return JobTrace(job.uuid, sign, now)


def is_stuck(job: Job, trace: JobTrace, *, now: datetime, restarted_at: datetime | None) -> bool:
    """Tell whether an open job will never end, by its silence.

    A service that restarted resumes no job. Its restart alone proves nothing (a refused token may
    have other causes), so some silence is asked for in any case.
    """
    if job.is_over:
        return False
    silent_s = (now - trace.alive_at).total_seconds()
    is_older = (
        restarted_at is not None and job.start_time is not None and job.start_time < restarted_at
    )
    return silent_s >= (STUCK_AFTER_RESTART_S if is_older else STUCK_AFTER_S)


def symptoms(
    seen: KubeFateObservation, *, trace: JobTrace | None, now: datetime
) -> frozenset[Symptom]:
    """Name what will not mend by itself. Pure."""
    found: set[Symptom] = set()
    job = seen.job
    if (
        job is not None
        and trace is not None
        and is_stuck(job, trace, now=now, restarted_at=seen.service_started_at)
    ):
        found.add(Symptom.STUCK_JOB)
    is_idle = not seen.is_busy or Symptom.STUCK_JOB in found
    if is_idle and seen.release is not None and seen.release.is_pending:
        found.add(Symptom.STUCK_RELEASE)
    if is_idle and seen.cluster is None and seen.releases:
        found.add(Symptom.DATABASE_LOST if seen.is_job_lost else Symptom.ORPHAN_RELEASE)
    if is_idle and seen.cluster is not None and seen.cluster.status is ClusterStatus.ROLLBACK:
        found.add(Symptom.WRONG_REVISION)
    return frozenset(found)


async def _look_after_loss(client: KubeFate, args: ClusterArgs) -> Submission:
    job = await _find_submission(client, args)
    if job is None:
        raise Unavailable(f"the service took no submission of {args.name}, or tells of none")
    log.info("job.answer_lost", job_id=job.uuid, name=args.name)
    return Submission(Outcome.STARTED, job)


async def _find_submission(client: KubeFate, args: ClusterArgs) -> Job | None:
    """Find the job of this very submission by the revision inside its configuration."""
    revision = json.loads(args.data).get(REVISION_KEY)
    own = [
        job
        for job in await client.jobs()
        if (job.name, job.namespace, job.lcm_revision) == (args.name, args.namespace, revision)
    ]
    return own[-1] if own else None


async def _refresh(client: KubeFate, cluster: Cluster) -> Cluster | None:
    try:
        return await client.cluster(cluster.uuid)
    except RecordNotFound:
        return None


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    times = [time for time in (one, other) if time is not None]
    return max(times) if times else None
