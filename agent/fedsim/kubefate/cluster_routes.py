"""The routes of clusters and jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

from fedsim.kubefate.api import CREATOR
from fedsim.kubefate.clusters import all_available
from fedsim.kubefate.core import Core
from fedsim.kubefate.gin import Route, failure, panic, success
from fedsim.kubefate.jobs import Jobs, PanicError, RefusedError
from fedsim.kubefate.kubernetes_api import ApiError
from fedsim.kubefate.records import ClusterArgs, ClusterStatus, Job
from fedsim.kubefate.specs import BindError, SpecError, bind_cluster_args
from fedsim.kubefate.state import RecordNotFoundError

Parameters = Mapping[str, str]
_WATCHED = (ClusterStatus.RUNNING, ClusterStatus.UNAVAILABLE)


class ClusterRoutes:
    """Creates, reads, changes and deletes clusters; shows and stops jobs."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._jobs = Jobs(core)

    def routes(self) -> list[Route]:
        """Return the routes, with the slashes that the service has."""
        return [
            Route("POST", "/v1/cluster", self._create),
            Route("PUT", "/v1/cluster", self._change),
            Route("GET", "/v1/cluster/", self._list),
            Route("GET", "/v1/cluster/{uuid}", self._get),
            Route("DELETE", "/v1/cluster/{uuid}", self._delete),
            Route("GET", "/v1/job/", self._list_jobs),
            Route("GET", "/v1/job/{uuid}", self._get_job),
            Route("PUT", "/v1/job/{uuid}", self._stop_job),
            Route("DELETE", "/v1/job/{uuid}", self._delete_job),
        ]

    async def _create(self, request: web.Request, _: Parameters) -> web.Response:
        return await self._submit(request, self._jobs.install, "createCluster Success")

    async def _change(self, request: web.Request, _: Parameters) -> web.Response:
        return await self._submit(request, self._jobs.update, "setCluster Success")

    async def _submit(
        self, request: web.Request, act: Callable[[ClusterArgs, str], Job], message: str
    ) -> web.Response:
        try:
            args = bind_cluster_args(await request.read())
            job = act(args, request[CREATOR])
        except BindError as error:
            return failure(400, str(error))
        except (RefusedError, SpecError) as error:
            return failure(500, str(error))
        except PanicError:
            return panic()
        return success(message, job.wire())

    async def _list(self, request: web.Request, _: Parameters) -> web.Response:
        has_deleted = request.query.get("all") == "true"
        rows = self._core.state.clusters.all(deleted=has_deleted)
        return success("getClusterList Success", [row.wire() for row in rows])

    async def _get(self, _: web.Request, parameters: Parameters) -> web.Response:
        try:
            cluster = self._core.state.clusters.get(lambda row: row.uuid == parameters["uuid"])
            info = await self._core.views.info(cluster.name, cluster.namespace)
        except (RecordNotFoundError, ApiError) as error:
            return failure(500, str(error))
        if cluster.status in _WATCHED:
            is_ready = all_available(info["status"]["deployments"])
            status = ClusterStatus.RUNNING if is_ready else ClusterStatus.UNAVAILABLE
            if cluster.status is not status:
                cluster.status = status
                self._core.state.clusters.save(cluster)
        return success("getCluster Success", cluster.wire(info))

    async def _delete(self, request: web.Request, parameters: Parameters) -> web.Response:
        try:
            job = self._jobs.delete(parameters["uuid"], request[CREATOR])
        except RecordNotFoundError as error:
            return failure(500, str(error))
        return success("deleteCluster Success", job.wire())

    async def _list_jobs(self, _: web.Request, __: Parameters) -> web.Response:
        rows = self._core.state.jobs.all()
        jobs = [self._stored(row) for row in rows]
        return success("getJobList Success", jobs)

    async def _get_job(self, _: web.Request, parameters: Parameters) -> web.Response:
        try:
            job = self._core.state.jobs.get(lambda row: row.uuid == parameters["uuid"])
        except RecordNotFoundError as error:
            return failure(500, str(error))
        return success("getJob Success", self._stored(job))

    async def _stop_job(self, request: web.Request, parameters: Parameters) -> web.Response:
        if request.query.get("jobStatus") != "stop":
            return failure(400, "jobStatus error")
        try:
            self._jobs.stop(parameters["uuid"])
        except RefusedError as error:
            return failure(500, str(error))
        return success("stop Job Success", "Stop Job Success")

    async def _delete_job(self, _: web.Request, parameters: Parameters) -> web.Response:
        try:
            job = self._core.state.jobs.get(lambda row: row.uuid == parameters["uuid"])
        except RecordNotFoundError as error:
            return failure(500, str(error))
        self._core.state.jobs.delete(job)
        return success("delete Job Success")

    def _stored(self, job: Job) -> dict[str, object]:
        """Return a job as read back: a deletion's empty request became an object of zeros."""
        body = job.wire()
        if job.args is None:
            body["meta_data"] = ClusterArgs().wire()
        return body
