"""A whole hub for the tests, in this process, with the agents that a test makes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.clock import ManualClock
from tests.support.fakeagent import FakeAgent
from tests.support.restclient import Place, Rest, rest_of
from tests.support.scripted_site import GoodSite

from fedcore.clock import Clock
from fedhub.run import RunningHub, running_hub
from fedhub.services.context import HubContext
from fedhub.settings import HubSettings


@dataclass(slots=True)
class HubUnderTest:
    """A hub in this process, its REST client, and the agents that the test made."""

    running: RunningHub
    rest: Rest
    place: Place
    agents: list[FakeAgent] = field(default_factory=list)
    sites: list[GoodSite] = field(default_factory=list)
    _numbers: int = 0

    @property
    def hub(self) -> HubContext:
        return self.running.hub

    async def join(self, name: str, **more: Any) -> FakeAgent:
        """Invite a site and enrol an agent for it; it is not connected yet."""
        invitation = await self.rest.invite(name)
        agent = FakeAgent(self.place, name, **more)
        self.agents.append(agent)
        await agent.enrol(invitation["token"])
        return agent

    async def connect(self, name: str, **more: Any) -> FakeAgent:
        """Invite, enrol and connect."""
        agent = await self.join(name, **more)
        await agent.connect()
        return agent

    async def good_site(self, name: str) -> GoodSite:
        """Make a site that does what it is told."""
        self._numbers += 1
        number = self._numbers
        site = GoodSite(await self.connect(name), number)
        self.sites.append(site)
        return site

    async def close(self) -> None:
        """End what the test started."""
        for site in self.sites:
            await site.stop()
        for agent in self.agents:
            await agent.close()


def hub_settings(folder: Path, database_url: str | None = None, **more: Any) -> HubSettings:
    ports = dict.fromkeys(("listen", "enrol_listen", "link_listen"), "127.0.0.1:0")
    return HubSettings(state=folder / "hub", database_url=database_url or "", **{**ports, **more})


def make_hub_template(folder: Path) -> Path:
    """Make the state of a hub that has started once: copying it is faster than making it."""

    async def make() -> None:
        async with running_hub(hub_settings(folder)):
            pass

    asyncio.run(make())
    return folder / "hub"


@asynccontextmanager
async def running_test_hub(
    tmp_path: Path,
    *,
    template: Path | None = None,
    database_url: str | None = None,
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncIterator[HubUnderTest]:
    """Run a hub on loopback; agents that the test made through it are closed first."""
    if template is not None and not (tmp_path / "hub").exists():
        shutil.copytree(template, tmp_path / "hub")
    chosen = hub_settings(tmp_path, database_url, **settings)
    async with running_hub(chosen, clock=clock) as running:
        place = Place(
            url=running.url,
            enrol_address=running.enrol_address,
            link_address=running.link_address,
            ca_pem=running.ca_file.read_bytes(),
            token=running.token_file.read_text().strip(),
        )
        async with rest_of(place) as rest:
            under_test = HubUnderTest(running, rest, place)
            try:
                yield under_test
            finally:
                await under_test.close()


def party(party_id: int, site: str, **more: Any) -> dict[str, Any]:
    return {"id": party_id, "site": site, "expose": "NodePort", **more}


def federation(
    parties: list[dict[str, Any]],
    *,
    name: str = "credit-risk",
    exchange: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Write an intent; ``exchange`` is at site hq unless given, None is not possible here."""
    return {
        "kind": "Federation",
        "name": name,
        "domain": f"{name}.example.com",
        "release": "1.8.0",
        "engine": "spark-pulsar",
        "exchange": dict(exchange or {"site": "hq", "expose": "NodePort"}),
        "parties": parties,
        **more,
    }


@pytest.fixture(scope="session")
def hub_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State of a hub that has started once."""
    return make_hub_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
async def lab(tmp_path: Path, hub_template: Path) -> AsyncIterator[HubUnderTest]:
    """Serve a hub of the test's own."""
    async with running_test_hub(tmp_path, template=hub_template) as under_test:
        yield under_test


@pytest.fixture
async def timed_lab(
    tmp_path: Path, hub_template: Path
) -> AsyncIterator[tuple[HubUnderTest, ManualClock]]:
    """Serve a hub of the test's own, whose clock stands still until the test moves it."""
    clock = ManualClock()
    async with running_test_hub(tmp_path, template=hub_template, clock=clock) as under_test:
        yield under_test, clock
