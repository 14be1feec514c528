"""Submit once and follow: each ``submit_*`` does one thing and looks before it would do it twice.

Nothing here decides: what is stuck or lost is decided by ``domain.job_tracking``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog

from fedagent.kube.client import Json
from fedagent.kubefate.client import KubeFate
from fedagent.kubefate.errors import AlreadyExists, RecordNotFound, Unavailable, Unchanged
from fedagent.kubefate.records import (
    DIGEST_KEY,
    OWNER_KEY,
    REVISION_KEY,
    Cluster,
    ClusterArgs,
    Job,
    JobMethod,
    JobStatus,
    SubJob,
)

log = structlog.get_logger()


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


async def follow(client: KubeFate, job_id: str) -> Job | None:
    """Read one job again; None when the service does not know it. One request."""
    try:
        return await client.job(job_id)
    except RecordNotFound:
        return None


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
    tree = json.loads(cluster_json)
    if not isinstance(tree, dict):
        raise ValueError("cluster_json is no object")  # noqa: TRY004 - bad input, no wrong call
    values: Json = tree | {OWNER_KEY: owner, REVISION_KEY: revision, DIGEST_KEY: digest}
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


def track(previous: JobTrace | None, job: Job, now: datetime) -> JobTrace:
    """Note whether a job shows a new sign of life."""
    sign = (job.status, job.states, job.sub_jobs, job.updated_at)
    if previous is not None and (previous.uuid, previous.sign) == (job.uuid, sign):
        return previous
    return JobTrace(job.uuid, sign, now)


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
