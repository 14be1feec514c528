"""One federation on real proxies, for one test.

``on_stage`` is for a federation that was deployed elsewhere, ``staged`` plans one for the test.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Unpack

from tests.dataplane.backends import Backends
from tests.dataplane.federation import Bureau, Entrance, Party, Ways, deployed_federation
from tests.dataplane.probes import WayOut
from tests.support.dataplane import Deployed, Proxies, running_proxies
from tests.support.proxy_host import NETWORK, Loopback, Namespaces, NoNamespaceError, ProxyHost

NODES: Final = 12
"""Nodes that a stage has addresses for beside the exchange's, which is number 0."""
_FIRST_NODE: Final = 9
NODE_IPS: Final = tuple(f"{NETWORK}.{_FIRST_NODE + each}.1" for each in range(NODES + 1))


@contextlib.contextmanager
def namespaces_or_loopback(folder: Path, ips: Iterable[str]) -> Iterator[ProxyHost]:
    """Make way A's place with these addresses, or way B's where there are no namespaces; enter it.

    Only addresses of 127.0.0.0/8 can be had in the latter.
    """
    proxy_host: Namespaces | Loopback
    try:
        proxy_host = Namespaces.make(folder, ips)
    except (NoNamespaceError, OSError):
        proxy_host = Loopback.make()
    try:
        with proxy_host.entered():
            yield proxy_host
    finally:
        proxy_host.close()


@contextlib.asynccontextmanager
async def on_stage(
    proxy_host: ProxyHost, folder: Path, deployed: Deployed, *, is_managed: bool = False
) -> AsyncIterator[tuple[Proxies, Backends]]:
    """Run the exchange's proxies on what was deployed, and all that stands behind them."""
    backends = Backends(folder)
    async with running_proxies(deployed, proxy_host, folder, is_managed=is_managed) as proxies:
        try:
            await backends.open_all(deployed, proxies)
            yield proxies, backends
        finally:
            await backends.close_all()


@dataclass(slots=True)
class Stage:
    """The running proxies, what stands behind them, and what they were given."""

    proxy_host: ProxyHost
    proxies: Proxies
    backends: Backends
    bureau: Bureau
    entrance: Entrance
    deployed: Deployed

    def way_of(self, party_id: int) -> WayOut:
        """Return how a party leaves its site."""
        return WayOut.of(self.deployed.party(party_id))

    async def redeploy(self, parties: Iterable[Party], **ways: Unpack[Ways]) -> Deployed:
        """Plan again and let the new tables arrive; backends and proxies are not touched."""
        self.deployed = await deployed_federation(parties, self.bureau, self.entrance, **ways)
        self.proxies.write(self.deployed.config_maps)
        return self.deployed


def node_of(proxy_host: ProxyHost, number: int) -> str:
    """Return the address of node ``number`` of a proxy_host; 0 is the exchange's."""
    return f"{proxy_host.network}.{_FIRST_NODE + number}.1"


@contextlib.asynccontextmanager
async def staged(
    proxy_host: ProxyHost,
    folder: Path,
    bureau: Bureau,
    parties: Iterable[Party],
    *,
    is_managed: bool = False,
    **ways: Unpack[Ways],
) -> AsyncIterator[Stage]:
    """Plan a federation and put it on the stage."""
    entrance = Entrance.at(node_of(proxy_host, 0))
    deployed = await deployed_federation(parties, bureau, entrance, **ways)
    async with on_stage(proxy_host, folder, deployed, is_managed=is_managed) as (proxies, backends):
        yield Stage(proxy_host, proxies, backends, bureau, entrance, deployed)
