"""What all parts of one running service share, and the two things that may happen to it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from fedsim.faults import FaultName, Faults
from fedsim.kubefate import charts
from fedsim.kubefate.auth import Tokens
from fedsim.kubefate.clock import Clock
from fedsim.kubefate.clusters import ClusterViews
from fedsim.kubefate.helm import Helm, HelmError, Operation, Package, Step
from fedsim.kubefate.kubernetes_api import ApiError, KubernetesApi
from fedsim.kubefate.records import Cluster, HelmChart
from fedsim.kubefate.release import render
from fedsim.kubefate.settings import Settings
from fedsim.kubefate.state import State
from fedsim.kubefate.values import RenderError

log = structlog.get_logger()


class Core:
    """Holds the tables, Kubernetes and the orders to misbehave; runs jobs in the background."""

    def __init__(
        self, settings: Settings, state: State, api: KubernetesApi, faults: Faults, clock: Clock
    ) -> None:
        self.settings = settings
        self.state = state
        self.api = api
        self.faults = faults
        self.clock = clock
        self.tokens = Tokens()
        self.views = ClusterViews(api)
        self.helm = Helm(api, clock, self._before_helm)
        self.is_up = False
        self.username = settings.username
        self.password = settings.password
        self._tasks: set[asyncio.Task[None]] = set()
        self._was_lost = False
        faults.listen(self._on_order)

    def start(self, username: str = "", password: str = "") -> None:
        """Begin a process life: a new signing key, the user made anew, no job resumed."""
        self._end_jobs()
        self.username = username or self.username
        self.password = password or self.password
        self.tokens = Tokens()
        self.is_up = True
        log.info("service.started", version=self.settings.version)

    def stop(self) -> None:
        """End the process life: jobs end where they are, and their records stay as they are."""
        self._end_jobs()
        self.is_up = False

    def restart(self) -> None:
        """Stop and start at once."""
        self.stop()
        self.start()

    def lose_database(self) -> None:
        """Forget all records; releases live on in Kubernetes."""
        self.state.lose()
        log.info("database.lost")

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a job in the background until it ends or the process life does."""
        task = asyncio.create_task(_guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait for the end of jobs that were cancelled."""
        self.stop()
        while self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    async def pause(self, seconds: float) -> None:
        """Sleep for a duration of the real service, at this run's pace."""
        await self.clock.sleep(self.settings.scaled(seconds))

    async def restart_if_ordered(self) -> None:
        """Restart when that was ordered; the calling job then ends here."""
        if self.faults.strikes(FaultName.RESTART):
            self.restart()
            await asyncio.sleep(0)

    def find_chart(self, name: str, version: str) -> HelmChart:
        """Return a stored chart, else one of the repository, then stored; raise ChartError."""
        self.drop_lost_charts()
        stored = self.state.charts.find(lambda row: (row.name, row.version) == (name, version))
        if stored is not None:
            return stored
        settings = self.settings
        chart = charts.download(name, version, offline=settings.offline, repo_url=settings.repo_url)
        return self.state.charts.add(chart)

    def drop_lost_charts(self) -> None:
        """Forget charts that were ordered to be lost."""
        for chart in self.state.charts.all():
            if self.faults.hits(FaultName.CHART_LOST, chart.name):
                self.state.charts.delete(chart)

    def package(self, cluster: Cluster) -> Package:
        """Render a cluster's chart; raise HelmError."""
        try:
            chart = self.find_chart(cluster.chart_name, cluster.chart_version)
            objects = render(
                chart.name, chart.version, cluster.spec, cluster.name, cluster.namespace
            )
        except (charts.ChartError, RenderError) as error:
            raise HelmError(str(error)) from error
        return Package(chart.name, chart.version, cluster.spec or {}, objects)

    async def _before_helm(self, step: Step) -> None:
        await self.pause(self.settings.helm_delay_s)
        fault = _HELM_FAULTS.get(step.operation)
        if fault is not None and self.faults.hits(fault, step.name, step.namespace):
            raise ApiError(500, "InternalError", f"{step.operation} was ordered to fail")

    def _end_jobs(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _on_order(self) -> None:
        is_ordered = self.faults.is_on(FaultName.DATABASE_LOST)
        if is_ordered and not self._was_lost:
            self.lose_database()
        self._was_lost = is_ordered


_HELM_FAULTS = {
    Operation.INSTALL: FaultName.JOB_FAILS,
    Operation.UPGRADE: FaultName.UPGRADE_FAILS,
    Operation.UNINSTALL: FaultName.UNINSTALL_FAILS,
}


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        # As a panic in a goroutine of the real service: the job's record stays as it is.
        log.exception("job.crashed")
