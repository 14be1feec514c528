"""Accept jobs and refuse them: what the service checks before anything runs."""

from __future__ import annotations

import uuid
from typing import Any

from fedsim.faults import FaultName
from fedsim.kubefate.core import Core
from fedsim.kubefate.installs import Installs
from fedsim.kubefate.records import Cluster, ClusterArgs, Job, JobMethod, JobStatus
from fedsim.kubefate.release import EXCHANGE, FATE, chart_version
from fedsim.kubefate.specs import parse_spec
from fedsim.kubefate.state import RecordNotFoundError
from fedsim.kubefate.updates import Updates


class RefusedError(Exception):
    """A request that the service refuses with 500 and this text."""


class PanicError(Exception):
    """A request at which the real handler panics: 500 with an empty body."""


class Jobs:
    """Starts installs, updates and deletions, and stops installs."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._installs = Installs(core)
        self._updates = Updates(core)

    def install(self, args: ClusterArgs, creator: str) -> Job:
        """Start an install; raise RefusedError."""
        if not args.chart_version or not args.chart_name:
            raise RefusedError("chartVersion cannot be empty")
        if self._find(args) is not None:
            raise RefusedError(
                f"name={args.name} & namespace={args.namespace} Cluster already existed"
            )
        job = self._add(JobMethod.INSTALL, creator, args)
        self._core.spawn(self._installs.run(job))
        return job

    def update(self, args: ClusterArgs, creator: str) -> Job:
        """Start an update; raise RefusedError, SpecError or PanicError."""
        cluster = self._find(args)
        if cluster is None:
            raise RefusedError(f"name={args.name} Cluster is not existed")
        spec = parse_spec(args.text)
        self._check_update(cluster, spec)
        job = self._add(JobMethod.UPDATE, creator, args, cluster.uuid)
        self._core.spawn(self._updates.run(job, cluster, spec))
        return job

    def delete(self, cluster_id: str, creator: str) -> Job:
        """Start a deletion; raise RecordNotFoundError."""
        cluster = self._core.state.clusters.get(lambda row: row.uuid == cluster_id)
        job = self._add(JobMethod.DELETE, creator, None, cluster_id)
        self._core.spawn(self._updates.delete(job, cluster))
        return job

    def stop(self, job_id: str) -> None:
        """Ask a running install to stop; raise RefusedError."""
        try:
            job = self._core.state.jobs.get(lambda row: row.uuid == job_id)
        except RecordNotFoundError as error:
            raise RefusedError(f"get job by jobID error, please check job ID, {error}") from error
        if job.method is not JobMethod.INSTALL:
            raise RefusedError(f"{job.method} type jobs do not support stop")
        if job.status is not JobStatus.RUNNING:
            raise RefusedError(f"job status is {job.status}, not support stop")
        args = job.args or ClusterArgs()
        if self._core.faults.hits(FaultName.STOP_LOST, args.name, args.namespace):
            return
        job.status = JobStatus.STOPPING
        self._core.state.jobs.save(job)

    def _find(self, args: ClusterArgs) -> Cluster | None:
        key = (args.name, args.namespace)
        return self._core.state.clusters.find(lambda row: (row.name, row.namespace) == key)

    def _add(
        self, method: JobMethod, creator: str, args: ClusterArgs | None, cluster_id: str = ""
    ) -> Job:
        job = Job(
            uuid=str(uuid.uuid4()),
            method=method,
            creator=creator,
            cluster_id=cluster_id,
            start_time=self._core.clock.now(),
            args=args,
        )
        return self._core.state.jobs.add(job)

    def _check_update(self, cluster: Cluster, spec: dict[str, Any] | None) -> None:
        if cluster.chart_name == EXCHANGE and self._core.faults.is_on(
            FaultName.PANIC_ON_EXCHANGE_PUT
        ):
            raise PanicError
        if cluster.chart_name == FATE:
            _check_fate_update(cluster.spec or {}, spec or {})


def _check_fate_update(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Check as 1.4.5 does for chart ``fate``; names and versions come from the cluster.yaml."""
    for spec in (old, new):
        if not all(isinstance(spec.get(key), str) for key in ("chartName", "chartVersion")):
            raise PanicError
    if old["chartName"] != new["chartName"]:
        raise RefusedError("doesn't support upgrade between different charts")
    if old == new:
        raise RefusedError("the configuration file did not change")
    before, after = chart_version(old["chartVersion"]), chart_version(new["chartVersion"])
    if before is None or after is None:
        raise PanicError
    if after < before:
        raise RefusedError("using kubefate to downgrade a cluster is not supported yet")
