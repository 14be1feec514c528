from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.controlplane import ControlPlane, Planes
from tests.support.federation import Federation
from tests.support.kubetier import Service, real_places

WAYS = {"hq": Service.BY_URL, "alpha": Service.INSTALLED, "beta": Service.ADOPTED}


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


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def story(sites: Federation) -> Federation:
    """The three sites with a federation that is Ready: an exchange and parties 9999 and 10000."""
    for site, namespace in (
        ("hq", "fate-exchange"),
        ("alpha", "fate-9999"),
        ("beta", "fate-10000"),
    ):
        await sites.places[site].allow_exec(namespace)
    await sites.apply(sites.intent())
    await sites.wait_ready(limit_s=60)
    return sites


@pytest.fixture
def fresh_name(request: pytest.FixtureRequest) -> str:
    """A name that no other test takes: namespaces are not given back within a session."""
    text = request.node.name.lower().replace("_", "-")
    return "".join(c for c in text if c.isalnum() or c == "-")[-50:].strip("-")
