"""A cluster in federations of two hubs: each agent leaves the other's things alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.controlplane import ControlPlane, Planes
from tests.support.federation import Federation
from tests.support.kubetier import HOME, RealPlace, Service, real_place
from tests.support.lifecycle import Json
from tests.support.patience import until

pytestmark = [
    pytest.mark.kube,
    pytest.mark.asyncio(loop_scope="session"),
]

OTHER = "other"


@pytest_asyncio.fixture(loop_scope="session")
async def second(story: Federation, planes: Planes, tmp_path: Path) -> AsyncIterator[Federation]:
    """Another hub with two sites on clusters of the story: `hq` has a KubeFATE of its own."""
    await story.wait_ready()

    @asynccontextmanager
    async def opener(name: str, folder: Path) -> AsyncIterator[RealPlace]:
        plane = await planes.get({"hq": 0, "alpha": 1}[name])
        async with real_place(name, folder, plane, Service.BY_URL) as place:
            if name == "alpha":
                place.credentials = None
            yield place

    async with Federation(tmp_path, sites=("hq", "alpha"), open_place=opener) as federation:
        yield federation


def intent(**exchange: str) -> Json:
    return {"name": OTHER, "domain": "other.example.com", "exchange": exchange}


async def wait_refused(hub: Federation, path: str) -> Json:
    async def is_refused() -> Json | None:
        found = await hub.api.get(path)
        row = found.get("participant", found)
        return row if row["phase"] == "Refused" else None

    found: Json = await until(is_refused, f"{path} is refused", describe=lambda: hub.tell(OTHER))
    return found


async def objects(plane: ControlPlane, namespace: str) -> dict[str, str]:
    """Return the resource versions of what an agent would touch."""
    found: dict[str, str] = {}
    for path in (
        f"/apis/apps/v1/namespaces/{namespace}/deployments",
        f"/api/v1/namespaces/{namespace}/configmaps",
        f"/api/v1/namespaces/{namespace}/secrets",
    ):
        rows = (await plane.api.get(path))["items"]
        found |= {row["metadata"]["uid"]: row["metadata"]["resourceVersion"] for row in rows}
    return found


async def test_a_namespace_of_another_hub_is_left_alone_and_its_owner_named(
    story: Federation, second: Federation, planes: Planes
):
    plane = await planes.get(0)
    before = await objects(plane, "fate-exchange")

    await second.apply(intent(site="hq"))
    told = await wait_refused(second, f"participants/{OTHER}/exchange")

    assert told["reason"] == "OwnedByAnother"
    assert story.running_hub.hub.hub_id in told["message"]
    await second.remove(OTHER)
    await second.wait_gone(name=OTHER)
    assert await objects(plane, "fate-exchange") == before


async def test_a_kubefate_of_another_hub_is_not_used(
    story: Federation, second: Federation, planes: Planes
):
    plane = await planes.get(1)
    before = await objects(plane, HOME)

    await second.apply(intent(site="alpha", namespace="second-exchange"))
    told = await wait_refused(second, "endpoints/alpha")

    assert told["reason"] == "OwnedByAnother"
    assert story.running_hub.hub.hub_id in told["message"]
    assert await objects(plane, HOME) == before


async def test_two_hubs_run_beside_each_other_on_one_cluster(
    story: Federation, second: Federation, planes: Planes
):
    plane = await planes.get(0)
    place = second.places["hq"]
    assert isinstance(place, RealPlace)
    await place.allow_exec("second-exchange")
    before = await objects(plane, "fate-exchange")

    await second.apply(intent(site="hq", namespace="second-exchange"))
    await second.wait_ready(OTHER)
    await second.remove(OTHER)
    await second.wait_gone(name=OTHER)

    assert "second-exchange" not in await place.namespaces()
    assert await objects(plane, "fate-exchange") == before
    await story.wait_ready()
