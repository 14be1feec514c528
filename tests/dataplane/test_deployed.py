"""What real agents deployed, on the real proxies: who reaches whom, and what a change does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.dataplane.probes import (
    Tunnel,
    WayOut,
    check_every_route,
    posted,
    presented,
    to,
)
from tests.dataplane.sites import Pods, deployed, open_federation, real_pods
from tests.support.federation import DOMAIN, NAME, Federation
from tests.support.lifecycle import Json, loopback_ip
from tests.support.patience import until
from tests.support.proxy_host import Address

pytestmark = pytest.mark.dataplane

THREE = ((9999, "alpha"), (10000, "beta"), (10001, "alpha"))
NGINX_S = 10.0
"""Each worker reads its table again every five seconds."""
"""Each of the exchange's tables is proven, and Traffic Server takes 3 to 7 s for one."""


@pytest.fixture
async def fed(programs: None, tmp_path: Path) -> AsyncIterator[Federation]:
    """Three sites with an exchange that has no parties."""
    async with open_federation(tmp_path) as federation:
        await federation.apply(federation.intent(()))
        await federation.wait_ready()
        yield federation


@pytest.fixture
async def pods(fed: Federation, tmp_path: Path) -> AsyncIterator[Pods]:
    """The real proxies, as the exchange's pods."""
    async with real_pods(fed, tmp_path) as running:
        yield running


async def join(fed: Federation, pods: Pods) -> None:
    """Have three parties come, each with a broker and an nginx behind its node ports."""
    await fed.apply(fed.intent(THREE))
    await fed.wait_keys("exchange", *(party for party, _ in THREE))
    opened: set[int] = set()

    async def are_open() -> bool:
        for party, _ in THREE:
            row = await fed.participant(party)
            if party not in opened and row["phase"] == "Ready":
                (one,) = (await deployed(fed, [each for each in THREE if each[0] == party])).parties
                await pods.backends.open(one)
                opened.add(party)
        return len(opened) == len(THREE)

    await fed.until(are_open, "the three parties are Ready")
    await fed.wait_ready()


async def probes(fed: Federation) -> dict[str, str]:
    """Have the exchange's agent try every route now."""
    tried = await fed.api.post(f"participants/{NAME}/exchange/probes", {})
    return {row["key"]: row["state"] for row in tried["probes"]}


async def test_parties_reach_each_other_through_what_agents_deployed_and_the_agent_sees_it(
    fed: Federation, pods: Pods
) -> None:
    ats = (await deployed(fed, ())).ats
    assert await presented(ats, f"9999.{DOMAIN}") == (f"proxy.{DOMAIN}",)
    pods.proxies.traffic_server.check()

    await join(fed, pods)

    await check_every_route(await deployed(fed, THREE))
    assert await probes(fed) == {f"{party}.{DOMAIN}": "Reachable" for party, _ in THREE}


async def test_a_party_that_leaves_is_gone_one_that_moves_is_found_and_no_tunnel_is_cut(
    fed: Federation, pods: Pods
) -> None:
    await join(fed, pods)
    before = await deployed(fed, THREE)
    way, roots = WayOut.of(before.party(9999)), before.roots_pem
    tunnels = [await Tunnel.open(way.ats, way.name(party), roots) for party in (10000, 10001)]
    uids, told = await pods.uids(), len(pods.told)

    place = {"pulsar": (loopback_ip(), 6651), "nginx": (loopback_ip(), 8000)}
    await fed.apply(moved(fed, place))
    after = await deployed(fed, THREE[:2], {10000: place})
    await pods.backends.open(after.party(10000))
    await pods.backends.shut(before.party(10000))
    await fed.wait_gone(10001)
    await fed.wait_ready()

    # What is open stays open: the old place of who moved, and who is gone until its pods are.
    assert [await tunnel.echoes("after both") for tunnel in tunnels] == [True, True]
    for tunnel in tunnels:
        await tunnel.close()
    assert await pods.uids() == uids
    assert set(pods.told[told:]) == {"traffic-server", "nginx"}
    assert await presented(way.ats, way.name(10001)) == (f"proxy.{DOMAIN}",)
    await until(refuses(way.nginx, 10001))
    await until(answers(way.nginx, 10000))
    await check_every_route(await deployed(fed, THREE[:2], {10000: place}))
    assert await probes(fed) == {f"{party}.{DOMAIN}": "Reachable" for party in (9999, 10000)}


def refuses(nginx: Address, party: int) -> Callable[[], Awaitable[bool]]:
    async def is_refused() -> bool:
        return (await posted(nginx, to(party)))[0] >= 400

    return is_refused


def answers(nginx: Address, party: int) -> Callable[[], Awaitable[bool]]:
    async def is_answered() -> bool:
        return await posted(nginx, to(party)) == (200, party)

    return is_answered


def moved(fed: Federation, place: dict[str, Address]) -> Json:
    """The intent without 10001, and with 10000 at another place."""
    intent = fed.intent(THREE[:2])
    for row in intent["parties"]:
        if row["id"] == 10000:
            row["advertise"] = {role: f"{ip}:{port}" for role, (ip, port) in place.items()}
    return intent
