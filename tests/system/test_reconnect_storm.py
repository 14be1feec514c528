"""Everybody comes back at once: a hub is killed under all its agents and started again.

The hub is a process of its own, and so are the agents, which are light ones (`tests.bench.swarm`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from tests.bench.hub import SwarmProcess, swarm_of
from tests.support.forks import Fork
from tests.support.patience import until
from tests.support.processes import free_ports
from tests.support.restclient import Place, Rest, rest_of

from fedhub.settings import HubSettings

INVITING = 16
PAGE = 200
LIMIT_S = 400.0
"""How long it takes is the bench's to say (`storm_1000_back_s`)."""


async def invite(rest: Rest, count: int) -> list[list[str]]:
    gate = asyncio.Semaphore(INVITING)

    async def one(name: str) -> list[str]:
        async with gate:
            return [name, (await rest.invite(name))["token"]]

    return await asyncio.gather(*(one(f"site-{number:04d}") for number in range(count)))


async def states(rest: Rest) -> Counter[str]:
    """Count the sites by what the hub shows of them."""
    found: Counter[str] = Counter()
    cursor = ""
    while True:
        page = await rest.get(f"/api/v1/sites?limit={PAGE}{cursor}")
        found.update(row["state"] for row in page["items"])
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def come_back(hub: Fork, rest: Rest, swarm: SwarmProcess, count: int) -> None:
    """Kill the hub, start it, and look at every site until all are back."""
    await hub.kill()
    await swarm.until(lambda: swarm.connected <= count / 2, LIMIT_S)
    await hub.start()

    async def are_online() -> bool:
        counts = await states(rest)
        assert counts["Offline"] == 0, counts
        return counts["Online"] >= count

    await until(are_online, "every agent is back")
    await swarm.until(lambda: swarm.connected == count, LIMIT_S)


async def storm(folder: Path, count: int) -> None:
    rest_port, enrol, link = free_ports(3)
    settings = HubSettings(
        state=folder / "hub",
        listen=f"127.0.0.1:{rest_port}",
        enrol_listen=f"127.0.0.1:{enrol}",
        link_listen=f"127.0.0.1:{link}",
    )
    hub = Fork.hub(settings, folder / "hub.log")
    await hub.start()
    (ready_file,) = settings.state.glob("ready.*")
    place = Place.of_ready_file(ready_file)
    try:
        async with rest_of(place) as rest:
            async with swarm_of(place, folder, await invite(rest, count)) as swarm:
                await swarm.until(lambda: swarm.connected == count, LIMIT_S)
                await come_back(hub, rest, swarm, count)
            assert await rest.kinds("&kind=site.offline") == []
            assert await rest.kinds("&kind=site.loop_stalled") == []
    finally:
        await hub.kill()


async def test_a_hundred_agents_come_back_at_once_and_none_is_shown_offline(tmp_path: Path) -> None:
    await storm(tmp_path, 100)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_thousand_agents_come_back_at_once_and_none_is_shown_offline(
    tmp_path: Path,
) -> None:
    await storm(tmp_path, 1_000)
