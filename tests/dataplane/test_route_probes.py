"""What the agent's probe says of each thing that the real Traffic Server can show."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from tests.dataplane.federation import Bureau, KeyRing, Party, deployed_federation
from tests.dataplane.probes import reached
from tests.dataplane.stage import Stage, node_of, staged
from tests.support.dataplane import end
from tests.support.patience import until
from tests.support.proxy_host import Address, ProxyHost

from fedagent.reconcile.route_prober import RouteProber
from fedcore.words import ProbeState

pytestmark = pytest.mark.dataplane


def two(proxy_host: ProxyHost) -> list[Party]:
    return [Party.at(each, node_of(proxy_host, n)) for n, each in enumerate((9999, 10000), start=1)]


async def states(stage: Stage, *parties: int | str, handshake_limit_s: float = 4.0) -> list[str]:
    names = [f"{each}.credit-risk.example.com" for each in parties]
    answers = await RouteProber(1.5, handshake_limit_s).probe(
        *stage.deployed.ats, names, stage.bureau.roots_pem
    )
    return [answers[name].state for name in names]


async def test_a_good_route_is_proven_and_a_name_without_one_is_not_served(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, two(proxy_host)) as stage:
        found = await states(stage, 9999, 10000, 4711)
        assert found == [ProbeState.REACHABLE, ProbeState.REACHABLE, ProbeState.NOT_SERVED]


async def test_a_route_stays_proven_until_the_proxy_takes_the_table_without_it(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, two(proxy_host)) as stage:
        await stage.redeploy(two(proxy_host), removed=[10000])
        assert await states(stage, 10000) == [ProbeState.REACHABLE]
        await stage.proxies.restart_traffic_server()
        assert await states(stage, 9999, 10000) == [ProbeState.REACHABLE, ProbeState.NOT_SERVED]


async def test_a_party_whose_port_is_closed_is_down(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, two(proxy_host)) as stage:
        await stage.backends.close(stage.deployed.party(10000).pulsar)
        assert await states(stage, 9999, 10000) == [ProbeState.REACHABLE, ProbeState.PARTY_DOWN]


async def test_the_sentinel_is_taken_for_a_party_that_is_down(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, two(proxy_host)) as stage:
        assert await states(stage, "sentinel") == [ProbeState.PARTY_DOWN]


async def test_a_party_that_accepts_and_says_nothing_is_down_and_the_others_are_proven(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, two(proxy_host)) as stage:
        address = stage.deployed.party(10000).pulsar
        await stage.backends.close(address)
        with socket.create_server(address):
            shown = await states(stage, 9999, 10000, handshake_limit_s=1.0)
            assert shown == [ProbeState.REACHABLE, ProbeState.PARTY_DOWN]


async def test_a_party_with_a_certificate_of_another_hub_is_down(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau, keys: KeyRing
) -> None:
    async with staged(proxy_host, tmp_path, bureau, two(proxy_host)) as stage:
        stranger = await Bureau.open(keys)
        other = await deployed_federation(two(proxy_host), stranger, stage.entrance)
        await stage.backends.shut(stage.deployed.party(10000))
        await stage.backends.open(other.party(10000))
        assert await states(stage, 9999, 10000) == [ProbeState.REACHABLE, ProbeState.PARTY_DOWN]


async def test_a_proxy_whose_port_is_closed_cannot_be_reached(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, two(proxy_host)) as stage:
        await stage.backends.close(stage.deployed.ats)
        assert await states(stage, 9999, 4711) == [ProbeState.UNREACHABLE, ProbeState.UNREACHABLE]


async def test_a_proxy_that_accepts_and_never_answers_serves_nothing(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, two(proxy_host)) as stage:
        await stage.backends.close(stage.deployed.ats)
        with socket.create_server(stage.deployed.ats):
            shown = await states(stage, 9999, 4711, handshake_limit_s=0.5)
            assert shown == [ProbeState.NOT_SERVED, ProbeState.NOT_SERVED]


async def test_another_party_behind_a_route_is_no_fault_of_the_proxy(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    """A reload or restart, which `not-served` leads to, would cut tunnels and mend nothing."""
    async with staged(proxy_host, tmp_path, bureau, two(proxy_host)) as stage:
        here, there = stage.deployed.party(9999), stage.deployed.party(10000)
        await stage.backends.shut(here)
        await stage.backends.shut(there)
        await stage.backends.open(replace(here, pulsar=there.pulsar, nginx=there.nginx))
        assert await states(stage, 10000) == [ProbeState.PARTY_DOWN]


async def test_a_name_without_a_route_is_not_served_whatever_the_proxys_certificate_is(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau, keys: KeyRing
) -> None:
    """Expired, or of an older root: a removed party would never count as gone."""
    async with staged(proxy_host, tmp_path, bureau, two(proxy_host)) as stage:
        stranger = await Bureau.open(keys)
        other = await deployed_federation(two(proxy_host), stranger, stage.entrance)
        await stage.proxies.stop()
        stage.proxies.mount(stage.deployed.config_maps, other.secrets)
        await stage.proxies.start()
        assert await states(stage, 9999, 4711) == [ProbeState.REACHABLE, ProbeState.NOT_SERVED]


async def test_a_name_without_a_route_is_not_served_when_the_proxy_has_no_certificate_at_all(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    """Traffic Server then refuses every handshake of its own and tunnels on."""
    async with staged(proxy_host, tmp_path, bureau, two(proxy_host)) as stage:
        await end(stage.proxies.traffic_server)
        (proxy_host.host_path("/etc/trafficserver") / "proxy.key.pem").unlink()
        stage.proxies.traffic_server.spawn()
        way = stage.way_of(10000)
        await until(lambda: opens(way.ats, way.name(9999), bureau.roots_pem))
        assert await states(stage, 9999, 4711) == [ProbeState.REACHABLE, ProbeState.NOT_SERVED]


async def opens(address: Address, name: str, roots_pem: bytes) -> bool:
    try:
        return bool(await reached(address, name, roots_pem))
    except OSError:
        return False
