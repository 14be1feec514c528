"""Addresses of Services: cluster IPs, node ports, and the sockets that hold the node ports."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Iterator

from fedsim.kube.errors import Cause, invalid, value_invalid
from fedsim.kube.kinds import SERVICES
from fedsim.kube.store import Change, ChangeType, Json, Store

NODE_PORTS = range(30_000, 32_768)
_TRIES = 5_000


class PortBook:
    """Gives Services their cluster IPs and node ports.

    With a data plane each node port in use is held by a bound socket, so that clusters that share
    a node address never give out the same port twice; a port that something else holds is not
    given out. `take` lends the socket to whoever listens on it.
    """

    def __init__(self, store: Store, node_ip: str, *, seed: int = 0, binds: bool = True) -> None:
        self._store = store
        self._node_ip = node_ip
        self._binds = binds
        self._random = random.Random(seed)  # noqa: S311 - repeatable choice, no secret
        self._held: dict[int, socket.socket] = {}

    def watch(self) -> None:
        """Hold the ports of the Services that are there, and follow the store from now on."""
        for service in self._store.list(SERVICES):
            for port in _node_ports(service):
                self._hold(port)
        self._store.listen(self._follow)

    def close(self) -> None:
        """Let go of every port."""
        for held in self._held.values():
            held.close()
        self._held.clear()

    def take(self, port: int) -> socket.socket | None:
        """Return a bound socket for the port, None when it cannot be bound; the caller owns it."""
        return self._held.pop(port, None) or self._bind(port, may_reuse=True)

    def give_back(self, port: int) -> None:
        """Hold the port again after its listener closed its socket, if a Service has it still."""
        if any(port in _node_ports(service) for service in self._store.list(SERVICES)):
            self._hold(port)

    def allocate(self, service: Json, before: Json | None) -> None:
        """Write the addresses into a Service, keeping those it has; raises 422 at a clash."""
        spec, old = service["spec"], (before or {}).get("spec") or {}
        if spec["type"] == "ExternalName":
            return
        address = spec.get("clusterIP") or old.get("clusterIP") or self._cluster_ip()
        spec["clusterIP"] = address
        spec["clusterIPs"] = [address]
        if before is None and address != "None":
            self._check_cluster_ip(service, address)
        if spec["type"] == "NodePort" or (
            spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True)
        ):
            self._node_ports(service, old)
        else:
            for port in spec.get("ports") or ():
                port.pop("nodePort", None)

    def _node_ports(self, service: Json, old: Json) -> None:
        kept = {
            (port.get("name"), port["port"], port.get("protocol")): port.get("nodePort")
            for port in old.get("ports") or ()
        }
        own = set(kept.values())
        taken = self._taken(service)
        causes: list[Cause] = []
        ports = service["spec"].get("ports") or []
        for index, port in enumerate(ports):
            key = (port.get("name"), port["port"], port.get("protocol"))
            wanted = port.get("nodePort") or kept.get(key)
            field = f"spec.ports[{index}].nodePort"
            if wanted is None:
                continue
            why = self._why_not(wanted, taken, is_own=wanted in own)
            if why:
                causes.append(value_invalid(field, wanted, why))
            taken.add(wanted)
            port["nodePort"] = wanted
        if causes:
            raise invalid("Service", "", service["metadata"]["name"], causes)
        for port in ports:
            if not port.get("nodePort"):
                port["nodePort"] = self._free_port(taken)
                taken.add(port["nodePort"])

    def _why_not(self, port: object, taken: set[int], *, is_own: bool) -> str:
        if not isinstance(port, int) or port not in NODE_PORTS:
            return (
                "provided port is not in the valid range. The range of valid ports is 30000-32767"
            )
        if port in taken:
            return "provided port is already allocated"
        if self._binds and not is_own and not self._can_bind(port, may_reuse=True):
            return "provided port is already allocated"
        return ""

    def _taken(self, service: Json) -> set[int]:
        key = (service["metadata"].get("namespace"), service["metadata"]["name"])
        return {
            port
            for other in self._store.list(SERVICES)
            if (other["metadata"].get("namespace"), other["metadata"]["name"]) != key
            for port in _node_ports(other)
        }

    def _free_port(self, taken: set[int]) -> int:
        for _ in range(_TRIES):
            port = self._random.choice(NODE_PORTS)
            if port not in taken and (not self._binds or self._can_bind(port, may_reuse=False)):
                return port
        raise invalid(
            "Service",
            "",
            "",
            [
                value_invalid(
                    "spec.ports[0].nodePort", 0, "failed to allocate a nodePort: range full"
                )
            ],
        )

    def _can_bind(self, port: int, *, may_reuse: bool) -> bool:
        if port in self._held:
            return True
        probe = self._bind(port, may_reuse=may_reuse)
        if probe is None:
            return False
        probe.close()
        return True

    def _bind(self, port: int, *, may_reuse: bool) -> socket.socket | None:
        return bind(self._node_ip, port, may_reuse=may_reuse)

    def _hold(self, port: int) -> None:
        if self._binds and port not in self._held:
            held = self._bind(port, may_reuse=True)
            if held is not None:
                self._held[port] = held

    def _follow(self, change: Change) -> None:
        if change.resource is not SERVICES:
            return
        now = set() if change.type is ChangeType.DELETED else set(_node_ports(change.object))
        before = set(_node_ports(change.previous)) if change.previous else set()
        for port in before - now:
            if (held := self._held.pop(port, None)) is not None:
                held.close()
        for port in now - before:
            self._hold(port)

    def _cluster_ip(self) -> str:
        taken = {service["spec"].get("clusterIP") for service in self._store.list(SERVICES)}
        return next(address for address in self._addresses() if address not in taken)

    def _addresses(self) -> Iterator[str]:
        while True:
            chosen = self._random.randrange(256, 65_000)
            yield f"10.96.{chosen // 256}.{chosen % 256}"

    def _check_cluster_ip(self, service: Json, address: str) -> None:
        if any(other["spec"].get("clusterIP") == address for other in self._others(service)):
            why = f"failed to allocate IP {address}: provided IP is already allocated"
            cause = value_invalid("spec.clusterIPs", f"[{address}]", why)
            raise invalid("Service", "", service["metadata"]["name"], [cause])

    def _others(self, service: Json) -> Iterable[Json]:
        return (each for each in self._store.list(SERVICES) if each is not service)


def _node_ports(service: Json) -> list[int]:
    ports = (service.get("spec") or {}).get("ports") or ()
    return [port["nodePort"] for port in ports if port.get("nodePort")]


def keep_address(service: Json, before: Json) -> None:
    """Fill in the cluster IP that an update left out."""
    spec, old = service["spec"], before["spec"]
    if spec["type"] != "ExternalName" and old.get("clusterIP"):
        spec.setdefault("clusterIP", old["clusterIP"])


def bind(host: str, port: int, *, may_reuse: bool) -> socket.socket | None:
    """Return a socket bound to an address, None when it cannot be had.

    ``may_reuse`` takes a port whose last connections are still winding up.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.settimeout(0)
    if may_reuse:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        return None
    return bound
