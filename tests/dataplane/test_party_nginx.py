"""A party's own nginx, the real one, on the table that its chart writes from our cluster.yaml."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.dataplane.backends import Backends
from tests.dataplane.federation import Bureau, Entrance, Party, deployed_federation
from tests.dataplane.probes import posted, to
from tests.dataplane.stage import node_of
from tests.support.dataplane import Proxies
from tests.support.proxy_host import Loopback, ProxyHost

pytestmark = pytest.mark.dataplane
FATE_FLOW: Final = ("127.64.0.1", 9380)
"""What `fateflow` means to the party's nginx, see `namespace`."""


@asynccontextmanager
async def party_nginx(
    proxy_host: ProxyHost, folder: Path, bureau: Bureau, rename: str = ""
) -> AsyncIterator[ProxyHost]:
    """Run party 9999's nginx; ``rename``: a table with this name in place of the exchange's IP."""
    if isinstance(proxy_host, Loopback):
        pytest.skip("the name `fateflow` needs namespaces: run the tests as root")
    entrance = Entrance.at(node_of(proxy_host, 0))
    deployed = await deployed_federation(
        [Party.at(9999, node_of(proxy_host, 1)), Party.at(10000, node_of(proxy_host, 2))],
        bureau,
        entrance,
    )
    files = dict(deployed.party(9999).config_maps["nginx-config"])
    if rename:
        table = files["route_table.yaml"]
        files["route_table.yaml"] = table.replace(entrance.nginx[0], rename)
    proxies, backends = Proxies(proxy_host, folder, is_managed=False), Backends(folder)
    proxies.mount_nginx(files)
    try:
        await proxies.start_nginx()
        await backends.open_http(entrance.nginx, "the exchange")
        await backends.open_http(FATE_FLOW, "its own FATE-Flow")
        yield proxy_host
    finally:
        await proxies.stop()
        await backends.close_all()


async def test_a_partys_nginx_sends_other_parties_to_the_exchange_and_keeps_its_own(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with party_nginx(proxy_host, tmp_path, bureau):
        assert await posted(proxy_host.nginx, to(10000)) == (200, "the exchange")
        assert await posted(proxy_host.nginx, to(9999)) == (200, "its own FATE-Flow")


async def test_a_name_in_its_table_would_have_a_party_answer_for_another(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    """Why the planner writes IP addresses alone."""
    async with party_nginx(proxy_host, tmp_path, bureau, rename="exchange.example.com"):
        assert await posted(proxy_host.nginx, to(10000)) == (200, "its own FATE-Flow")
