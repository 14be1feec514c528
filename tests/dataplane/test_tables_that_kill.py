"""Why the planner keeps a sentinel: what Traffic Server does with the tables that it never writes.

The first is what the chart makes of an exchange without entries.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml
from tests.dataplane.federation import Bureau, Party, Ways
from tests.dataplane.probes import presented
from tests.dataplane.stage import node_of, staged
from tests.support.dataplane import cut, end
from tests.support.patience import until
from tests.support.proxy_host import ProxyHost

from fedsim.kubefate import proxy_files

pytestmark = pytest.mark.dataplane
REFUSED = 33
"""Traffic Server's exit code for a table that it cannot load."""


@pytest.mark.parametrize("table", [proxy_files.sni([]), "{}\n", "sni: {}\n"])
async def test_a_table_without_entries_ends_traffic_server_at_its_start(
    table: str, proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, []) as stage:
        server = stage.proxies.traffic_server
        await end(server)
        tables = stage.deployed.config_maps
        stage.proxies.write({**tables, "traffic-server-sni": {"sni.yaml": table}})
        server.spawn()
        assert server.child is not None
        assert await asyncio.to_thread(server.child.wait, 4) == REFUSED
        assert await stage.proxies.has_refused_a_table()
        stage.proxies.write(tables)
        await stage.proxies.start_traffic_server()


async def test_the_planner_never_writes_one(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    party = Party.at(9999, node_of(proxy_host, 1))
    async with staged(proxy_host, tmp_path, bureau, [party]) as stage:
        for gone in (Ways(removed=[9999]), Ways(unreported=[9999])):
            deployed = await stage.redeploy([party], **gone)
            table = yaml.safe_load(deployed.config_maps["traffic-server-sni"]["sni.yaml"])
            assert [each["fqdn"] for each in table["sni"]] == ["sentinel.credit-risk.example.com"]
            await stage.proxies.restart_traffic_server()
            shown = await presented(stage.proxy_host.ats, "9999.credit-risk.example.com")
            assert shown == ("proxy.credit-risk.example.com",)


@pytest.mark.slow
async def test_under_its_manager_a_dead_traffic_server_still_accepts_and_never_answers(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, [], is_managed=True) as stage:
        await end(stage.proxies.traffic_server)
        empty = {"traffic-server-sni": {"sni.yaml": proxy_files.sni([])}}
        stage.proxies.write({**stage.deployed.config_maps, **empty})
        stage.proxies.traffic_server.spawn()
        await until(stage.proxies.has_refused_a_table)
        _, writer = await asyncio.open_connection(*stage.proxy_host.ats)
        await cut(writer)
        with pytest.raises(TimeoutError):
            await presented(stage.proxy_host.ats, "9999.credit-risk.example.com")
        stage.proxies.traffic_server.check()
