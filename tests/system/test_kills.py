"""SIGKILL of each process, at every step boundary by name and at random moments.

It always ends Ready; what was begun is not begun again; no event is lost or told twice.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.charts import OwnCharts
from tests.support.federation import Federation
from tests.support.fork_main import DyingPoint
from tests.support.forks import Fork
from tests.support.lifecycle import DEFAULT_TIMING, impatient_timing
from tests.support.place import kubefate_settings, simulated_place

from fedagent.kubefate.releases import read_releases

PARTIES = ((9999, "hq"),)
KILLS_A_RUN = 3


def seeds(few: int = 1) -> range:
    """Three kills a seed: 3 of each process by default, 60 in the full suite."""
    return range(20 if os.environ.get("FED_TEST_FULL") else few)


@asynccontextmanager
async def federation(
    folder: Path, victim: str, *, charts: OwnCharts | None = None, **hub_settings: Any
) -> AsyncIterator[tuple[Federation, Fork]]:
    """Open a federation at one site in which one process is a process of its own.

    With `charts` the site reaches no repository: the hub's archives are the only ones.
    """
    if charts is not None:
        hub_settings["catalogue_dirs"] = (charts.catalogue,)
    fed = Federation(
        folder,
        sites=("hq",),
        open_place=lambda name, at: simulated_place(
            name,
            at,
            serves=victim != "kubefate",
            service_settings={"offline": charts is not None},
        ),
        hub_settings=hub_settings,
        # A KubeFATE that dies is waited for; what kills agent and hub is the product's own time.
        timing=impatient_timing() if victim == "kubefate" else DEFAULT_TIMING,
    )
    if victim == "hub":
        fed.hub = Fork.hub(fed.hub_settings, folder / "hub.log")
    async with fed:
        if victim == "agent":
            await fed.agents["hq"].stop()
            fed.agents["hq"] = Fork.agent(fed.settings_of("hq"), folder / "agent.log")
            yield fed, fed.agents["hq"]
        elif victim == "kubefate":
            place = fed.place("hq")
            port = int(place.kubefate_url.rpartition(":")[2])
            fork = Fork.kubefate(kubefate_settings(folder / "hq", port), folder / "kubefate.log")
            try:
                yield fed, fork
            finally:
                await fork.stop()
        else:
            assert isinstance(fed.hub, Fork)
            yield fed, fed.hub


async def check_end(fed: Federation, *, once: bool = True) -> None:
    """Everything is as if nobody had been killed."""
    rows = await fed.wait_ready()
    assert rows.keys() == {"exchange", "9999"}
    place = fed.places["hq"]
    for method in ("ClusterInstall", "ClusterUpdate"):
        submitted = await place.submissions(method)
        assert all(count == 1 for count in submitted.values()), "one request for one number"
        each = Counter(name.partition(".")[0] for name in submitted)
        if once:
            assert set(each.values()) <= {1}, f"{method} once per generation: {submitted}"
        if method == "ClusterInstall":
            assert each.keys() == {"fate-exchange 1", "fate-9999 1"}
    for namespace in ("fate-exchange", "fate-9999"):
        (*old, last) = await read_releases(place.kube, namespace, namespace)
        assert last.status == "deployed"
        assert all(release.status == "superseded" for release in old)
    routes = (await fed.api.get("federations/credit/routes"))["routes"]
    assert all(row["deployed"] for row in routes)
    await fed.check_events()


ENDPOINT_ACT = "fedagent.reconcile.endpoint_controller:EndpointController.act"
ACT = "fedagent.reconcile.actor:Actor.act"
AGENT_POINTS = (
    DyingPoint(ENDPOINT_ACT, "InstallService"),
    DyingPoint(
        "fedagent.reconcile.endpoint_controller:EndpointController.act",
        "InstallService",
        after=True,
    ),
    DyingPoint(ACT, "EnsureNamespace"),
    DyingPoint(ACT, "EnsureNamespace", after=True),
    DyingPoint(ACT, "IssueCertificate"),
    DyingPoint("fedagent.link.hub_client:LinkHubClient.issue_certificate", after=True),
    DyingPoint(ACT, "IssueCertificate", after=True),
    DyingPoint(ACT, "Submit"),
    DyingPoint("fedagent.reconcile.submitter:Submitter._send"),
    DyingPoint("fedagent.reconcile.submitter:Submitter._send", nth=2, after=True),
    DyingPoint(ACT, "EndSubmission"),
    DyingPoint(ACT, "NoteProxy"),
    DyingPoint(ACT, "NoteProxy", after=True),
    DyingPoint(ACT, "ReloadProxy"),
    DyingPoint("fedagent.reconcile.proxies:Proxies.reload", after=True),
    DyingPoint(ACT, "ProbeRoutes"),
    DyingPoint(ACT, "ProbeRoutes", after=True),
)


async def test_an_agent_killed_at_every_step_boundary(tmp_path: Path) -> None:
    async with federation(tmp_path, "agent") as (fed, agent):
        await fed.apply(fed.intent(PARTIES))
        for point in AGENT_POINTS:
            agent.point = point
            await agent.start()
            await agent.wait_dead(fed.tell)
        await agent.start()
        await check_end(fed)


@pytest.mark.parametrize("seed", seeds())
async def test_an_agent_killed_at_random_moments(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    async with federation(tmp_path, "agent") as (fed, agent):
        await agent.start()
        await fed.apply(fed.intent(PARTIES))
        for _ in range(KILLS_A_RUN):
            await asyncio.sleep(rng.uniform(0.0, 2.0))
            await agent.kill()
            await agent.start()
        await check_end(fed)


HUB_POINTS = (
    DyingPoint("fedhub.services.agent_sessions:open_session"),
    DyingPoint("fedhub.services.agent_sessions:open_session", after=True),
    DyingPoint("fedhub.fleet.documents:to_wire"),
    DyingPoint("fedhub.fleet.frame_stream:FrameStream.send", after=True),
    DyingPoint("fedhub.services.reports:receive_statuses"),
    DyingPoint("fedhub.services.reports:receive_statuses", after=True),
    DyingPoint("fedhub.services.reports:receive_events"),
    DyingPoint("fedhub.services.reports:receive_events", after=True),
    DyingPoint("fedhub.services.certificates:issue_for_resource"),
    DyingPoint("fedhub.services.certificates:issue_for_resource", after=True),
    DyingPoint("fedhub.services.reports:receive_statuses", nth=3, after=True),
    DyingPoint("fedhub.services.reports:receive_events", nth=3),
)


DATABASES = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))
"""Where a hub that is killed keeps its things."""


def settings_for(request: pytest.FixtureRequest, database: str) -> dict[str, str]:
    if database == "sqlite":
        return {}
    return {"database_url": request.getfixturevalue("postgres_cluster").new_database()}


@pytest.mark.parametrize("database", DATABASES)
async def test_a_hub_killed_at_every_step_boundary(
    tmp_path: Path, request: pytest.FixtureRequest, database: str
) -> None:
    settings = settings_for(request, database)
    async with federation(tmp_path, "hub", **settings) as (fed, hub):
        await fed.apply(fed.intent(PARTIES))
        await hub.kill()
        for point in HUB_POINTS:
            hub.point = point
            await hub.start()
            await hub.wait_dead(fed.tell)
        await hub.start()
        await check_end(fed)


@pytest.mark.parametrize("database", DATABASES)
async def test_a_hub_killed_in_an_apply_has_it_all_or_nothing(
    tmp_path: Path, request: pytest.FixtureRequest, database: str
) -> None:
    settings = settings_for(request, database)
    async with federation(tmp_path, "hub", **settings) as (fed, hub):
        await hub.stop()
        hub.point = DyingPoint("fedhub.services.federations:_carry_out_in", after=True)
        await hub.start()
        with pytest.raises(Exception, match=r"(?i)disconnect|reset|connect"):
            await fed.apply(fed.intent(PARTIES))
        await hub.wait_dead(fed.tell)
        await hub.start()
        assert await fed.api.items("federations") == []
        assert await fed.api.items("operations") == []
        await fed.apply(fed.intent(PARTIES))
        await check_end(fed)


RANDOM_HUB_KILLS = (
    *(pytest.param("sqlite", seed) for seed in seeds()),
    *(pytest.param("postgres", seed, marks=pytest.mark.postgres) for seed in seeds(0)),
)


@pytest.mark.parametrize(("database", "seed"), RANDOM_HUB_KILLS)
async def test_a_hub_killed_at_random_moments(
    tmp_path: Path, request: pytest.FixtureRequest, database: str, seed: int
) -> None:
    rng = random.Random(seed)
    settings = settings_for(request, database)
    async with federation(tmp_path, "hub", **settings) as (fed, hub):
        await fed.apply(fed.intent(PARTIES))
        for _ in range(KILLS_A_RUN):
            await asyncio.sleep(rng.uniform(0.0, 2.0))
            await hub.kill()
            await hub.start()
        await check_end(fed)
        await fed.wait_site("hq", "Online")
        assert "site.offline" not in {event["kind"] for event in await fed.events()}


CHUNK = "fedagent.link.hub_client:_append"
READ = "fedhub.store.charts:read"
CHART_POINTS = {
    "agent": (
        DyingPoint(ACT, "UploadChart"),
        DyingPoint(CHUNK, nth=2),
        DyingPoint(CHUNK, nth=3, after=True),
        DyingPoint("fedagent.kubefate.client:KubeFate.upload_chart"),
        DyingPoint("fedagent.kubefate.client:KubeFate.upload_chart", after=True),
        DyingPoint(ACT, "UploadChart", after=True),
    ),
    "hub": (
        DyingPoint("fedhub.store.charts:get"),
        DyingPoint(READ),
        DyingPoint(READ, nth=2),
        DyingPoint(READ, nth=3, after=True),
    ),
}
"""Around and in the middle of an archive on its way: it has three chunks."""


@pytest.mark.parametrize("victim", CHART_POINTS)
async def test_a_chart_arrives_whole_though_either_side_is_killed_while_it_is_fetched(
    tmp_path: Path, victim: str
) -> None:
    charts = OwnCharts.in_folder(tmp_path / "catalogue")
    async with federation(tmp_path, victim, charts=charts) as (fed, process):
        await charts.upload(fed.api)
        await process.stop()
        for number, point in enumerate(CHART_POINTS[victim]):
            process.point = point
            await process.start()
            if not number and process.is_up:
                await fed.apply(fed.intent(PARTIES))
            await process.wait_dead(fed.tell)
        await process.start()
        await check_end(fed)
        async with fed.places["hq"].kubefate() as service:
            held = {chart.name for chart in await service.charts()}
        assert held == {"fate", "fate-exchange"}


KUBEFATE_POINTS = (
    DyingPoint("fedsim.kubefate.jobs:Jobs.install"),
    DyingPoint("fedsim.kubefate.jobs:Jobs.install", after=True),
    DyingPoint("fedsim.kubefate.installs:Installs._create", after=True),
    DyingPoint("fedsim.kubefate.installs:Installs._install", after=True),
    DyingPoint("fedsim.kubefate.installs:Installs._follow"),
    DyingPoint("fedsim.kubefate.jobs:Jobs.update"),
    DyingPoint("fedsim.kubefate.jobs:Jobs.update", after=True),
    DyingPoint("fedsim.kubefate.updates:Updates.run"),
)


@pytest.mark.parametrize("point", KUBEFATE_POINTS, ids=str)
async def test_a_kubefate_killed_at_a_step_boundary(tmp_path: Path, point: DyingPoint) -> None:
    async with federation(tmp_path, "kubefate") as (fed, service):
        service.point = point
        await service.start()
        await fed.apply(fed.intent(PARTIES))
        await service.wait_dead(fed.tell)
        await service.start()
        await check_end(fed, once=False)


@pytest.mark.parametrize("seed", seeds())
async def test_a_kubefate_killed_at_random_moments(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    async with federation(tmp_path, "kubefate") as (fed, service):
        await service.start()
        await fed.apply(fed.intent(PARTIES))
        for _ in range(KILLS_A_RUN):
            await asyncio.sleep(rng.uniform(0.2, 2.5))
            await service.kill()
            await service.start()
        await check_end(fed, once=False)
