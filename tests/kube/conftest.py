from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.controlplane import ControlPlane, Planes
from tests.support.federation import Federation
from tests.support.kubetier import RealPlace, Service, real_places

WAYS = {"hq": Service.BY_URL, "alpha": Service.INSTALLED, "beta": Service.ADOPTED}
"""Three control planes share two cores with whatever else runs."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def control_plane(planes: Planes) -> ControlPlane:
    """One cluster for the whole session: every test takes a namespace of its own in it."""
    return await planes.get()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def sites(
    planes: Planes, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Federation]:
    """A hub and three sites whose agents have come by a KubeFATE in three ways."""
    folder = tmp_path_factory.mktemp("sites")
    opener = real_places(planes, WAYS)
    async with Federation(folder, open_place=opener) as federation:
        yield federation


@pytest.fixture(scope="package")
def asked() -> dict[str, Counter[str]]:
    """What `story` asked of each site's KubeFATE until it was Ready, by method and path."""
    return {}


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def story(sites: Federation, asked: dict[str, Counter[str]]) -> Federation:
    """The three sites with a federation that is Ready: an exchange and parties 9999 and 10000."""
    before = {site: requests(sites, site) for site in WAYS}
    for site, namespace in (
        ("hq", "fate-exchange"),
        ("alpha", "fate-9999"),
        ("beta", "fate-10000"),
    ):
        await sites.places[site].allow_exec(namespace)
    await sites.apply(sites.intent())
    await sites.wait_ready()
    asked.update({site: requests(sites, site) - before[site] for site in WAYS})
    return sites


def requests(sites: Federation, site: str) -> Counter[str]:
    """Count what a site's KubeFATE was asked so far."""
    place = sites.places[site]
    assert isinstance(place, RealPlace)
    return Counter(place.service.value.requests)


@pytest.fixture
def fresh_name(request: pytest.FixtureRequest) -> str:
    """A name that no other test takes: namespaces are not given back within a session."""
    text = request.node.name.lower().replace("_", "-")
    return "".join(c for c in text if c.isalnum() or c == "-")[-50:].strip("-")
