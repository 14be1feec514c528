"""Run an install as the service does (KubeFATE ``pkg/job/cluster_install.go``)."""

from __future__ import annotations

import uuid

import structlog

from fedsim.faults import FaultName
from fedsim.kubefate.core import Core
from fedsim.kubefate.helm import HelmError
from fedsim.kubefate.kubernetes_api import ApiError
from fedsim.kubefate.progress import Progress
from fedsim.kubefate.records import Cluster, ClusterArgs, ClusterStatus, Job, JobStatus
from fedsim.kubefate.specs import SpecError, parse_spec

log = structlog.get_logger()


class Installs:
    """Runs installs. The end time is set on success alone."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._progress = Progress(core)

    async def run(self, job: Job) -> None:
        """Take one install from Pending to its end."""
        progress = self._progress
        progress.set_status(job, JobStatus.RUNNING)
        progress.note(job, "update job status to Running")
        try:
            cluster = self._create(job)
        except SpecError as error:
            # The real job, too, stays Running for ever.
            progress.note(job, f"create Cluster error, {error}")
            return
        progress.note(job, "create Cluster in DB Success")
        try:
            await self._install(job, cluster)
        except HelmError as error:
            progress.set_status(job, JobStatus.FAILED)
            await self._clean(cluster)
            progress.note(job, f"helm install error, {error}")
            return
        progress.set_status(job, JobStatus.RUNNING)
        progress.note(job, "helm install Success")
        await self._core.restart_if_ordered()
        await self._follow(job, cluster)

    def _create(self, job: Job) -> Cluster:
        args = job.args or ClusterArgs()
        cluster = Cluster(
            uuid=str(uuid.uuid4()),
            name=args.name,
            namespace=args.namespace,
            chart_name=args.chart_name,
            chart_version=args.chart_version,
            values=args.text,
            spec=parse_spec(args.text),
            status=ClusterStatus.CREATING,
        )
        if not self._progress.cluster_is_gone(cluster):
            raise SpecError(
                f"Cluster already exists in database, name = {args.name}, "
                f"namespace={args.namespace}"
            )
        self._core.state.clusters.add(cluster)
        job.cluster_id = cluster.uuid
        # The real code writes the whole stale job here, Pending included.
        self._progress.set_status(job, JobStatus.PENDING)
        return cluster

    async def _install(self, job: Job, cluster: Cluster) -> None:
        covers = job.args is not None and job.args.cover
        if covers:
            await self._uninstall(cluster)
            self._progress.note(job, "overwrite current installation")
        faults = self._core.faults
        if not covers and faults.hits(FaultName.ORPHAN_RELEASE, cluster.name, cluster.namespace):
            raise HelmError("cannot re-use a name that is still in use")
        package = self._core.package(cluster)
        await self._core.helm.install(cluster.name, cluster.namespace, package)

    async def _follow(self, job: Job, cluster: Cluster) -> None:
        progress = self._progress
        turn = 0
        progress.note(job, f"checkout Cluster status [{turn}]")
        while True:
            turn += 1
            progress.rewrite(job, f"checkout Cluster status [{turn}]")
            if progress.is_gone(job):
                return
            if await self._ended_early(job, cluster):
                return
            if await self._is_ready(job, cluster):
                self._succeed(job, cluster)
                return
            await self._core.pause(self._core.settings.install_poll_s)

    async def _ended_early(self, job: Job, cluster: Cluster) -> bool:
        progress = self._progress
        if progress.is_late(job):
            progress.note(job, "checkout Cluster status timeOut!")
            progress.set_status(job, JobStatus.FAILED)
            await self._clean(cluster)
            return True
        if job.status is JobStatus.STOPPING:
            await self._clean(cluster)
            progress.note(job, "job stopped")
            progress.set_status(job, JobStatus.CANCELED)
            return True
        if progress.cluster_is_gone(cluster):
            await self._clean(cluster)
            progress.note(job, "Cluster delete")
            progress.set_status(job, JobStatus.FAILED)
            return True
        return False

    async def _is_ready(self, job: Job, cluster: Cluster) -> bool:
        views = self._core.views
        try:
            components = await views.deployments(cluster.name, cluster.namespace)
            for name in await views.blocked(cluster.name, cluster.namespace):
                components[name] = "Progressing"
        except ApiError as error:
            log.warning("components.unread", cluster=cluster.name, cause=str(error))
            return False
        self._progress.save_components(job, components)
        return self._progress.is_done(cluster, components)

    def _succeed(self, job: Job, cluster: Cluster) -> None:
        self._progress.note(job, "job run Success")
        cluster.status = ClusterStatus.RUNNING
        cluster.revision += 1
        self._core.state.clusters.save(cluster)
        self._progress.set_status(job, JobStatus.SUCCESS, ended=True)

    async def _clean(self, cluster: Cluster) -> None:
        """Drop the record and uninstall the release, evidence included."""
        if cluster.deleted_at is None:
            cluster.status = ClusterStatus.DELETED
            self._core.state.clusters.delete(cluster)
        await self._uninstall(cluster)

    async def _uninstall(self, cluster: Cluster) -> None:
        try:
            await self._core.helm.uninstall(cluster.name, cluster.namespace)
        except HelmError as error:
            log.info("release.not_uninstalled", release=cluster.name, cause=str(error))
