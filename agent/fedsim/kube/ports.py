"""Addresses of Services: cluster IPs, node ports, and the sockets that hold the node ports."""

from __future__ import annotations

import random
import socket

from fedsim.kube.errors import Cause, invalid, value_invalid
from fedsim.kube.kinds import SERVICES
from fedsim.kube.store import Change, ChangeType, Json, Store

NODE_PORTS = range(30_000, 32_768)
OPEN_TYPES = frozenset({"NodePort", "LoadBalancer"})
_TRIES = 5_000
_TAKEN = "provided port is already allocated"
_OUTSIDE = "provided port is not in the valid range. The range of valid ports is 30000-32767"


class PortAllocator:
    """Gives Services their cluster IPs and node ports.

    With a data plane each node port in use is held by a bound socket, so that clusters that share
    a node address never allocate the same port twice; a port that something else holds is not
    allocated. `take` lends the socket to the data plane, which listens on it.
    """

    def __init__(self, store: Store, node_ip: str, *, binds: bool) -> None:
        self._store = store
        self._node_ip = node_ip
        self._binds = binds
        self._random = random.Random(0)
        self._held: dict[int, socket.socket] = {}

    def watch(self) -> None:
        """Hold the ports of the Services that are there, and follow the store from now on."""
        for service in self._store.list(SERVICES):
            for port in node_ports(service):
                self._hold(port)
        self._store.listen(self._follow)

    def close(self) -> None:
        """Close the socket of every port."""
        for held in self._held.values():
            held.close()
        self._held.clear()

    def take(self, port: int) -> socket.socket | None:
        """Return a bound socket for the port, None when it cannot be bound; the caller owns it."""
        return self._held.pop(port, None) or bind(self._node_ip, port, may_reuse=True)

    def give_back(self, port: int) -> None:
        """Hold the port again after its listener closed its socket, if a Service has it still."""
        if any(port in node_ports(service) for service in self._store.list(SERVICES)):
            self._hold(port)

    def allocate(self, service: Json, before: Json | None) -> None:
        """Write the addresses into a Service, keeping those it has; raises 422 at a clash."""
        spec, old = service["spec"], (before or {}).get("spec") or {}
        spec["clusterIP"] = spec.get("clusterIP") or old.get("clusterIP") or self._cluster_ip()
        spec["clusterIPs"] = [spec["clusterIP"]]
        if spec["type"] in OPEN_TYPES:
            self._allocate_node_ports(service, old)

    def _allocate_node_ports(self, service: Json, old: Json) -> None:
        kept = {
            (port.get("name"), port["port"]): port.get("nodePort")
            for port in old.get("ports") or ()
        }
        taken = self._taken(service)
        causes: list[Cause] = []
        ports = service["spec"].get("ports") or []
        for index, port in enumerate(ports):
            number = port.get("nodePort") or kept.get((port.get("name"), port["port"]))
            if number is None:
                continue
            why = self._why_not(number, taken, is_own=number in kept.values())
            if why:
                causes.append(value_invalid(f"spec.ports[{index}].nodePort", number, why))
            taken.add(number)
            port["nodePort"] = number
        for index, port in enumerate(ports):
            number = port.get("nodePort") or self._free_port(taken)
            if number is None:
                why = "failed to allocate a nodePort: range is full"
                causes.append(value_invalid(f"spec.ports[{index}].nodePort", 0, why))
            else:
                port["nodePort"] = number
                taken.add(number)
        if causes:
            raise invalid(SERVICES, service["metadata"]["name"], causes)

    def _why_not(self, port: object, taken: set[int], *, is_own: bool) -> str:
        if not isinstance(port, int) or port not in NODE_PORTS:
            return _OUTSIDE
        is_free = port not in taken and (
            not self._binds or is_own or self._can_bind(port, may_reuse=True)
        )
        return "" if is_free else _TAKEN

    def _taken(self, service: Json) -> set[int]:
        key = (service["metadata"].get("namespace"), service["metadata"]["name"])
        return {
            port
            for other in self._store.list(SERVICES)
            if (other["metadata"].get("namespace"), other["metadata"]["name"]) != key
            for port in node_ports(other)
        }

    def _free_port(self, taken: set[int]) -> int | None:
        for _ in range(_TRIES):
            port = self._random.choice(NODE_PORTS)
            if port not in taken and (not self._binds or self._can_bind(port, may_reuse=False)):
                return port
        return None

    def _can_bind(self, port: int, *, may_reuse: bool) -> bool:
        if port in self._held:
            return True
        probe = bind(self._node_ip, port, may_reuse=may_reuse)
        if probe is None:
            return False
        probe.close()
        return True

    def _hold(self, port: int) -> None:
        if self._binds and port not in self._held:
            held = bind(self._node_ip, port, may_reuse=True)
            if held is not None:
                self._held[port] = held

    def _follow(self, change: Change) -> None:
        if change.resource is not SERVICES:
            return
        now = set() if change.type is ChangeType.DELETED else set(node_ports(change.object))
        before = set(node_ports(change.previous)) if change.previous else set()
        for port in before - now:
            if (held := self._held.pop(port, None)) is not None:
                held.close()
        for port in now - before:
            self._hold(port)

    def _cluster_ip(self) -> str:
        taken = {service["spec"].get("clusterIP") for service in self._store.list(SERVICES)}
        while True:
            number = self._random.randrange(256, 65_000)
            address = f"10.96.{number // 256}.{number % 256}"
            if address not in taken:
                return address


def node_ports(service: Json) -> list[int]:
    """Return the node ports that a Service has."""
    ports = (service.get("spec") or {}).get("ports") or ()
    return [port["nodePort"] for port in ports if port.get("nodePort")]


def drop_node_ports(service: Json, before: Json | None) -> None:
    """Take out of a Service that became internal the node ports that it had before.

    Kubernetes drops those that the client left as they were (``pkg/registry/core/service``,
    dropTypeDependentFields) and refuses others.
    """
    had = node_ports(before or {})
    if service["spec"]["type"] not in OPEN_TYPES:
        for port in service["spec"].get("ports") or ():
            if port.get("nodePort") in had:
                del port["nodePort"]


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
