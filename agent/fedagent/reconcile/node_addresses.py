"""Which node of a cluster others dial for its node ports: the same one, as long as it is ready.

A changed address becomes a new generation of every document that mentions it, so a node is kept
even while another would do as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from fedagent.kube.client import Kube
from fedagent.kube.errors import Forbidden
from fedagent.kube.kinds import NODES
from fedagent.kube.objects import list_all

Json = Mapping[str, Any]
_TYPES: Final = ("ExternalIP", "InternalIP")


class NodeAddressCache:
    """The node address in use. It changes only when its node is gone or no longer ready."""

    def __init__(self, kube: Kube, keep_s: float) -> None:
        self._keep_s = keep_s
        self._kube = kube
        self._ip = ""
        self._read_at: datetime | None = None

    async def pick(self, pods: Iterable[Json], now: datetime) -> str:
        """Return an IP for node ports; where nodes may not be listed, that of a pod's host."""
        fresh = self._read_at is not None and (now - self._read_at).total_seconds() < self._keep_s
        if self._ip and fresh:
            return self._ip
        try:
            usable = addresses_of(await list_all(self._kube, NODES))
        except Forbidden:
            usable = _hosts_of(pods)
        self._read_at = now
        if self._ip not in usable:
            self._ip = usable[0] if usable else ""
        return self._ip


def addresses_of(nodes: Iterable[Json]) -> tuple[str, ...]:
    """Return one address of each ready node, by the node's name; an external one is preferred."""
    addresses: list[tuple[str, str]] = []
    for node in nodes:
        status = node.get("status") or {}
        conditions = {row.get("type"): row.get("status") for row in status.get("conditions", ())}
        if conditions.get("Ready") != "True":
            continue
        by_type = {row.get("type"): row.get("address") for row in status.get("addresses", ())}
        ip = next((str(by_type[kind]) for kind in _TYPES if by_type.get(kind)), "")
        if ip:
            addresses.append((str(node["metadata"]["name"]), ip))
    return tuple(ip for _, ip in sorted(addresses))


def _hosts_of(pods: Iterable[Json]) -> tuple[str, ...]:
    return tuple(
        sorted({str((pod.get("status") or {})["hostIP"]) for pod in pods if _has_host(pod)})
    )


def _has_host(pod: Json) -> bool:
    return bool((pod.get("status") or {}).get("hostIP"))
