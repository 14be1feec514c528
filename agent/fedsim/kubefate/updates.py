"""Run updates and deletions as the service does (KubeFATE ``pkg/job/job.go``)."""

from __future__ import annotations

from typing import Any

import structlog

from fedsim.faults import FaultName
from fedsim.kubefate.core import Core
from fedsim.kubefate.helm import BUSY, HelmError
from fedsim.kubefate.kubernetes_api import ApiError
from fedsim.kubefate.progress import Progress
from fedsim.kubefate.records import Cluster, ClusterArgs, ClusterStatus, Job, JobStatus

log = structlog.get_logger()


class Updates:
    """Runs updates and deletions. Nothing keeps two of one cluster apart."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._progress = Progress(core)

    async def run(self, job: Job, cluster: Cluster, spec: dict[str, Any] | None) -> None:
        """Take one update to its end; a failure or a late job is rolled back."""
        args = job.args or ClusterArgs()
        self._progress.set_status(job, JobStatus.RUNNING)
        self._set_cluster(cluster, ClusterStatus.UPDATING)
        before = (cluster.values, cluster.spec)
        cluster.values, cluster.spec = args.text, spec
        cluster.chart_name, cluster.chart_version = args.chart_name, args.chart_version
        is_upgraded = await self._upgrade(job, cluster)
        if is_upgraded:
            await self._core.restart_if_ordered()
            ended = await self._follow(job, cluster)
            if ended is None:
                return
            if ended:
                self._succeed(job, cluster)
                return
        await self._roll_back(job, cluster, before)

    async def delete(self, job: Job, cluster: Cluster) -> None:
        """Uninstall a cluster; its record goes even when that fails."""
        self._progress.set_status(job, JobStatus.RUNNING)
        self._set_cluster(cluster, ClusterStatus.DELETING)
        await self._core.restart_if_ordered()
        status = JobStatus.SUCCESS
        try:
            await self._core.helm.uninstall(cluster.name, cluster.namespace)
            self._progress.note(job, "uninstall Success")
        except HelmError as error:
            self._progress.note(job, str(error))
            status = JobStatus.FAILED
        if cluster.deleted_at is None:
            cluster.status = ClusterStatus.DELETED
            self._core.state.clusters.delete(cluster)
        self._progress.set_status(job, status, ended=True)

    async def _upgrade(self, job: Job, cluster: Cluster) -> bool:
        failure: HelmError | None = None
        try:
            if self._core.faults.strikes(FaultName.ANOTHER_OPERATION):
                raise HelmError(f"UPGRADE FAILED: {BUSY}")  # noqa: TRY301 - as Helm raises it
            package = self._core.package(cluster)
            await self._core.helm.upgrade(cluster.name, cluster.namespace, package)
        except HelmError as error:
            failure = error
        cluster.helm_revision += 1
        self._core.state.clusters.save(cluster)
        if failure is not None:
            self._progress.note(job, str(failure))
            self._progress.set_status(job, JobStatus.FAILED)
            return False
        self._progress.note(job, "Cluster update Success")
        self._progress.set_status(job, JobStatus.RUNNING)
        return True

    async def _follow(self, job: Job, cluster: Cluster) -> bool | None:
        """Return whether all became available in time; None when the cluster was deleted meanwhile.

        The real service then spins for ever, with its job Running.
        """
        while True:
            if self._progress.cluster_is_gone(cluster) or self._progress.is_gone(job):
                return None
            if self._progress.is_late(job):
                self._progress.note(job, "Checkout Cluster status timeOut!")
                self._progress.set_status(job, JobStatus.FAILED)
                return False
            if await self._is_ready(job, cluster):
                return True
            await self._core.pause(self._core.settings.update_poll_s)

    async def _is_ready(self, job: Job, cluster: Cluster) -> bool:
        try:
            components = await self._core.views.deployments(cluster.name, cluster.namespace)
        except ApiError as error:
            log.warning("components.unread", cluster=cluster.name, cause=str(error))
            return False
        self._progress.save_components(job, components)
        return self._progress.is_done(cluster, components)

    def _succeed(self, job: Job, cluster: Cluster) -> None:
        cluster.revision += 1
        self._set_cluster(cluster, ClusterStatus.RUNNING)
        self._progress.set_status(job, JobStatus.SUCCESS, ended=True)

    async def _roll_back(
        self, job: Job, cluster: Cluster, before: tuple[str, dict[str, Any] | None]
    ) -> None:
        """Restore the old spec and re-apply a revision: the wrong one from the second time on.

        The real code asks Helm for ``helm_revision - 1``, a number of its own that starts at 0,
        and 0 happens to mean "the one before". The chart's version is not restored.
        """
        cluster.values, cluster.spec = before
        self._set_cluster(cluster, ClusterStatus.ROLLBACK)
        is_wrong = self._core.faults.is_on(FaultName.WRONG_ROLLBACK)
        version = cluster.helm_revision - 1 if is_wrong else 0
        try:
            await self._core.helm.rollback(cluster.name, cluster.namespace, version)
            self._progress.note(job, "Cluster run rollback Success")
            status = JobStatus.ROLLBACK
        except HelmError as error:
            self._progress.note(job, str(error))
            status = JobStatus.FAILED
        # gorm writes no zero values, so a count that falls to 0 stays 1 in the database.
        cluster.helm_revision = max(1, cluster.helm_revision - 1)
        self._core.state.clusters.save(cluster)
        self._progress.set_status(job, status, ended=True)

    def _set_cluster(self, cluster: Cluster, status: ClusterStatus) -> None:
        cluster.status = status
        self._core.state.clusters.save(cluster)
