"""Routes change while tunnels are open: the reloads that the agent runs, on managed proxies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.dataplane.federation import Bureau, Party
from tests.dataplane.probes import Tunnel, WayOut, posted, presented, reached, to
from tests.dataplane.stage import Stage, node_of, staged
from tests.support.patience import until
from tests.support.proxy_host import ProxyHost

pytestmark = [pytest.mark.dataplane, pytest.mark.slow]
NGINX_S = 10.0
"""nginx reads its table every five seconds."""
Asked = Callable[[], Awaitable[bool]]


def some(proxy_host: ProxyHost, *ids: int) -> list[Party]:
    return [Party.at(each, node_of(proxy_host, each % 10 + 1)) for each in ids]


def serves(stage: Stage, way: WayOut, party_id: int) -> Asked:
    async def is_reached() -> bool:
        try:
            answer = await reached(way.ats, way.name(party_id), stage.bureau.roots_pem)
        except OSError:
            return False
        return answer == f"party {party_id}"

    return is_reached


def has_left(way: WayOut, party_id: int) -> Asked:
    async def is_gone() -> bool:
        return await presented(way.ats, way.name(party_id)) == (f"proxy.{way.domain}",)

    return is_gone


async def test_a_reload_adds_removes_and_moves_routes_and_cuts_no_tunnel(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    parties = some(proxy_host, 9990, 9991, 9992)
    async with staged(proxy_host, tmp_path, bureau, parties, is_managed=True) as stage:
        way, roots = stage.way_of(9990), bureau.roots_pem
        kept = await Tunnel.open(way.ats, way.name(9991), roots)
        leaving = await Tunnel.open(way.ats, way.name(9992), roots)

        parties = some(proxy_host, 9990, 9991, 9992, 9993)
        await stage.backends.open((await stage.redeploy(parties)).party(9993))
        stage.proxies.reload_traffic_server()
        await until(serves(stage, way, 9993))
        assert await kept.echoes("after an addition")

        await stage.redeploy(parties, removed=[9992])
        stage.proxies.reload_traffic_server()
        await until(has_left(way, 9992))
        assert await kept.echoes("after a removal")
        # Only a restart would cut it: Traffic Server looks at its table when a tunnel opens.
        assert await leaving.echoes("still there")

        old = stage.deployed.party(9991)
        moved = [*some(proxy_host, 9990, 9993), Party.at(9991, node_of(proxy_host, 11))]
        await stage.redeploy(moved)
        await stage.backends.open(stage.deployed.party(9991))
        await stage.backends.close(old.pulsar)
        stage.proxies.reload_traffic_server()
        await until(serves(stage, way, 9991))
        assert await kept.echoes("after a move")
        await kept.close()
        await leaving.close()


async def test_a_reload_of_a_broken_table_succeeds_and_keeps_the_old_routes(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    parties = some(proxy_host, 9990, 9991)
    async with staged(proxy_host, tmp_path, bureau, parties, is_managed=True) as stage:
        way = stage.way_of(9990)
        broken = {"traffic-server-sni": {"sni.yaml": "sni:\n"}}
        stage.proxies.write({**stage.deployed.config_maps, **broken})
        stage.proxies.reload_traffic_server()
        await until(stage.proxies.has_refused_a_table)
        assert await reached(way.ats, way.name(9991), bureau.roots_pem) == "party 9991"
        stage.proxies.write(stage.deployed.config_maps)
        stage.proxies.reload_traffic_server()


async def test_nginx_takes_additions_by_itself_and_forgets_a_party_only_when_reloaded(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    parties = some(proxy_host, 9990, 9991)
    async with staged(proxy_host, tmp_path, bureau, parties) as stage:
        way = stage.way_of(9990)
        more = some(proxy_host, 9990, 9991, 9992)
        await stage.backends.open((await stage.redeploy(more)).party(9992))
        await until(answers(way, 9992))

        await stage.redeploy(more, removed=[9991])
        await asyncio.sleep(NGINX_S)
        assert await posted(way.nginx, to(9991)) == (200, 9991)

        stage.proxies.reload_nginx()
        await until(refuses(way, 9991))
        await until(answers(way, 9992))


def answers(way: WayOut, party_id: int) -> Asked:
    async def is_answered() -> bool:
        return await posted(way.nginx, to(party_id)) == (200, party_id)

    return is_answered


def refuses(way: WayOut, party_id: int) -> Asked:
    async def is_refused() -> bool:
        status, _ = await posted(way.nginx, to(party_id))
        return status >= 400

    return is_refused
