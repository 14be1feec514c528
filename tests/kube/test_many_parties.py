"""Ten parties that join at once on real Kubernetes: nobody's working route is missing for a moment.

One round in `make test`, twenty in `make test-full`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import structlog
from tests.kube.invariant_watch import TABLES, vigil
from tests.support.controlplane import Planes
from tests.support.federation import Federation
from tests.support.kubetier import RealPlace, Service, real_places
from tests.support.lifecycle import Json

pytestmark = [
    pytest.mark.kube,
    pytest.mark.asyncio(loop_scope="session"),
]

log = structlog.get_logger()
ROUNDS = range(20) if os.environ.get("FED_TEST_FULL") else range(1)
SPACE = "crowd-exchange"
STANDING = ((601, "hq"), (602, "alpha"))
TEN = tuple((party, ("hq", "alpha")[party % 2]) for party in range(611, 621))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crowd(
    planes: Planes, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Federation]:
    """A hub of its own with two sites, an exchange and two parties that work already."""
    opener = real_places(planes, {"hq": Service.BY_URL, "alpha": Service.BY_URL})
    folder = tmp_path_factory.mktemp("crowd")
    async with Federation(folder, sites=("hq", "alpha"), open_place=opener) as federation:
        await place(federation).allow_exec(SPACE)
        await federation.apply(intent(federation))
        await federation.wait_ready()
        yield federation
        await federation.remove()
        await federation.wait_gone()


def place(federation: Federation, site: str = "hq") -> RealPlace:
    found = federation.places[site]
    assert isinstance(found, RealPlace)
    return found


def intent(federation: Federation, *more: tuple[int, str]) -> Json:
    return federation.intent((*STANDING, *more), exchange={"site": "hq", "namespace": SPACE})


async def tables(federation: Federation) -> list[set[str]]:
    """Return the parties in each of the exchange's tables."""
    there = place(federation)
    paths = [f"/api/v1/namespaces/{SPACE}/configmaps/{name}" for name in TABLES]
    bodies = [await there.plane.api.get(path) for path in paths]
    return [set(TABLES[body["metadata"]["name"]](body["data"])) for body in bodies]


def keys(*parties: tuple[int, str]) -> frozenset[str]:
    return frozenset(str(party) for party, _ in parties)


@pytest.mark.parametrize("number", ROUNDS)
async def test_ten_join_at_once_and_leave_at_once_and_no_working_route_is_ever_missing(
    crowd: Federation, number: int
):
    clock = asyncio.get_running_loop().time
    async with vigil(place(crowd).plane.api, SPACE, keys(*TEN)) as watch:
        times = [clock()]
        await crowd.apply(intent(crowd, *TEN))
        await crowd.wait_keys("exchange", *keys(*STANDING, *TEN))
        await crowd.wait_ready()
        times.append(clock())
        everybody = set(keys(*STANDING, *TEN))
        assert await tables(crowd) == [everybody, everybody]

        watch.let_go(keys(*TEN))
        times.append(clock())
        await crowd.apply(intent(crowd))
        await crowd.wait_gone(*keys(*TEN))
        await crowd.wait_ready()
        times.append(clock())
    log.info(
        "crowd.round",
        number=number,
        joined_s=round(times[1] - times[0], 1),
        left_s=round(times[3] - times[2], 1),
        looks=watch.looks.seen // len(TABLES),
        longest_between_looks_ms=round(watch.looks.longest_s * 1000),
        changes=watch.changes.seen,
        gaps=len(watch.looks.gaps) + len(watch.changes.gaps),
    )

    assert watch.looks.gaps == []
    assert watch.changes.gaps == []
    assert watch.looks.seen > 100
    assert watch.changes.seen >= 4
    assert await tables(crowd) == [set(keys(*STANDING))] * 2
    for site in ("hq", "alpha"):
        left = {f"fate-{party}" for party in keys(*TEN)} & await place(crowd, site).namespaces()
        assert not left
