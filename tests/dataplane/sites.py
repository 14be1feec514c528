"""A federation that a real hub and real agents deployed, with real proxies as its exchange's pods.

The sites' clusters are simulated and have no data plane of their own. In its place stand the real
Traffic Server and nginx: what a kubelet does is done here. ConfigMaps reach the running programs as
they change, and the commands that the agent runs in the pods reach them. So the agent's own probes
are handshakes with the real Traffic Server.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.dataplane.backends import Backends
from tests.support.dataplane import (
    TABLES,
    Deployed,
    DeployedParty,
    Files,
    Proxies,
    running_proxies,
)
from tests.support.federation import Federation
from tests.support.lifecycle import Json
from tests.support.place import simulated_place
from tests.support.proxy_host import Address, Loopback

from fedagent.kube.kinds import CONFIGMAPS, PODS, SECRETS
from fedagent.kube.objects import list_all
from fedsim.kube import kinds
from fedsim.kube.store import Change

EXCHANGE = "fate-exchange"
SITES = ("hq", "alpha", "beta")


def open_federation(folder: Path) -> Federation:
    """Return three sites at whose node ports nobody listens."""
    opener = functools.partial(simulated_place, kube_settings={"data_plane": False})
    return Federation(folder, sites=SITES, open_place=opener)


async def data_of(fed: Federation, site: str, namespace: str, kind: str) -> dict[str, Files]:
    """Return what the ConfigMaps or the Secrets of a namespace hold, by name."""
    wanted = {"configmaps": CONFIGMAPS, "secrets": SECRETS}[kind]
    found = await list_all(fed.places[site].kube, wanted, namespace=namespace)
    return {body["metadata"]["name"]: body.get("data") or {} for body in found}


async def addresses(fed: Federation, key: int | str) -> dict[str, Address]:
    """Return where a participant's site says that it is reached, by role."""
    rows = (await fed.participant(key))["addresses"]
    return {row["role"]: (row["ip"], row["port"]) for row in rows}


async def deployed(
    fed: Federation,
    parties: Iterable[tuple[int, str]],
    elsewhere: Mapping[int, Mapping[str, Address]] | None = None,
) -> Deployed:
    """Read a federation from its clusters; `elsewhere` are addresses that parties advertise."""
    found = []
    for party, site in parties:
        space = f"fate-{party}"
        at = await addresses(fed, party) | (elsewhere or {}).get(party, {})
        config_maps = await data_of(fed, site, space, "configmaps")
        secrets = await data_of(fed, site, space, "secrets")
        found.append(DeployedParty(party, config_maps, secrets, at["pulsar"], at["nginx"]))
    doors = await addresses(fed, "exchange")
    return Deployed(
        await data_of(fed, "hq", EXCHANGE, "configmaps"),
        await data_of(fed, "hq", EXCHANGE, "secrets"),
        fed.running_hub.ca_file.read_bytes(),
        tuple(found),
        doors["ats"],
        doors["nginx"],
    )


@dataclass
class Pods:
    """The real proxies as the pods of a simulated exchange. `told` are the commands they got."""

    fed: Federation
    proxies: Proxies
    backends: Backends
    told: list[str] = field(default_factory=list)

    def connect(self) -> None:
        """Be the kubelet of the exchange's site from now on."""
        cluster = self.fed.place("hq").simulated.cluster
        cluster.store.listen(self._sync)
        cluster.reload = self._reload

    async def uids(self) -> set[str]:
        """Name the pods: other names afterwards mean that the agent restarted one."""
        found = await list_all(self.fed.places["hq"].kube, PODS, namespace=EXCHANGE)
        return {pod["metadata"]["uid"] for pod in found}

    def _sync(self, change: Change) -> None:
        if change.resource is not kinds.CONFIG_MAPS or change.namespace != EXCHANGE:
            return
        if change.name in TABLES:
            self.proxies.write_table(change.name, change.object["data"])

    def _reload(self, pod: Json) -> None:
        if pod["metadata"]["namespace"] != EXCHANGE:
            return
        is_nginx = pod["metadata"]["name"].startswith("nginx-")
        self.told.append("nginx" if is_nginx else "traffic-server")
        if is_nginx:
            self.proxies.reload_nginx()
        else:
            self.proxies.reload_traffic_server()


@asynccontextmanager
async def real_pods(fed: Federation, folder: Path) -> AsyncIterator[Pods]:
    """Start the proxies on what is deployed, without parties' brokers: a test opens those."""
    proxy_host = Loopback.make()
    try:
        found = await deployed(fed, ())
        async with running_proxies(found, proxy_host, folder, is_managed=True) as proxies:
            pods = Pods(fed, proxies, Backends(folder))
            pods.connect()
            try:
                await pods.backends.open_all(found, proxies)
                yield pods
            finally:
                await pods.backends.close_all()
    finally:
        proxy_host.close()
