"""The simulated data plane: node ports behind which FATE's proxies and brokers really answer.

Listens on the node's address for each port of a NodePort or LoadBalancer Service that has a ready
pod of a workload known here; every other port refuses connections.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from fedsim.kube.cluster import Cluster, is_ready
from fedsim.kube.endpoints import target_port
from fedsim.kube.kinds import PODS, SERVICES
from fedsim.kube.processes import Processes
from fedsim.kube.services import NODE_PORTS, PortBook, bind
from fedsim.kube.store import Change, ChangeType, Json

log = structlog.get_logger(__name__)

_BACKLOG = 128
_OPEN_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class _Place:
    """An address and port to listen on, for a port of a Service."""

    host: str
    port: int
    namespace: str
    service: str
    target: int


@dataclass(frozen=True, slots=True)
class _Listener:
    """A listening socket, and the task that accepts its connections."""

    socket: socket.socket
    task: asyncio.Task[None]


class DataPlane:
    """Keeps listeners in step with Services and pods."""

    def __init__(self, cluster: Cluster, ports: PortBook) -> None:
        self._cluster = cluster
        self._ports = ports
        self._processes = Processes(cluster)
        self._news = asyncio.Event()
        self._listeners: dict[_Place, _Listener] = {}
        self._connections: dict[str, set[asyncio.Task[None]]] = {}
        cluster.reload = self._processes.reload

    def start(self) -> None:
        """Follow the store; `run` does the rest."""
        self._cluster.store.listen(self._follow)
        self._news.set()

    async def run(self) -> None:
        """Open and close listeners as Services and pods come and go, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._processes.sync()
                self._sync()
            except Exception:
                log.exception("dataplane.failed")
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Close every listener and connection."""
        tasks = [listener.task for listener in self._listeners.values()]
        for place in tuple(self._listeners):
            self._shut(place)
        for connections in self._connections.values():
            tasks.extend(connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._processes.close()

    def _follow(self, change: Change) -> None:
        if change.resource in {SERVICES, PODS}:
            self._news.set()
        if change.resource is PODS and change.type is ChangeType.DELETED:
            for task in self._connections.pop(change.object["metadata"]["uid"], ()):
                task.cancel()

    def _sync(self) -> None:
        wanted = set(self._wanted())
        for place in set(self._listeners) - wanted:
            self._shut(place)
        for place in wanted - set(self._listeners):
            self._open(place)

    def _wanted(self) -> Iterator[_Place]:
        for service in self._cluster.store.list(SERVICES):
            spec, metadata = service["spec"], service["metadata"]
            if spec["type"] not in {"NodePort", "LoadBalancer"} or not spec.get("selector"):
                continue
            pods = self._cluster.pods(metadata["namespace"], spec["selector"])
            pods = [pod for pod in pods if is_ready(pod)]
            for port in spec.get("ports") or ():
                target = target_port(port, pods)
                if not pods or target is None or not self._processes.role(pods[0], target):
                    continue
                for host, number in self._addresses(service, port):
                    yield _Place(host, number, metadata["namespace"], metadata["name"], target)

    def _addresses(self, service: Json, port: Json) -> Iterator[tuple[str, int]]:
        if port.get("nodePort"):
            yield self._cluster.settings.node_ip, port["nodePort"]
        balancer = (service.get("status") or {}).get("loadBalancer") or {}
        for ingress in balancer.get("ingress") or ():
            if ingress.get("ip"):
                yield ingress["ip"], port["port"]

    def _open(self, place: _Place) -> None:
        if place.host == self._cluster.settings.node_ip and place.port in NODE_PORTS:
            listening = self._ports.take(place.port)
        else:
            listening = bind(place.host, place.port, may_reuse=True)
        try:
            if listening is None:
                raise OSError("the port is taken")  # noqa: TRY301 - told as a failed listen is
            listening.listen(_BACKLOG)
        except OSError as error:
            if listening is not None:
                listening.close()
            log.info("port.unavailable", host=place.host, port=place.port, why=str(error))
            return
        task = asyncio.create_task(self._accept(place, listening))
        self._listeners[place] = _Listener(listening, task)

    def _shut(self, place: _Place) -> None:
        listener = self._listeners.pop(place)
        listener.task.cancel()
        listener.socket.close()
        if place.host == self._cluster.settings.node_ip and place.port in NODE_PORTS:
            self._ports.give_back(place.port)

    async def _accept(self, place: _Place, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listening)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pod = self._behind(place)
            if pod is None:
                client.close()
                continue
            tasks = self._connections.setdefault(pod["metadata"]["uid"], set())
            if len(tasks) >= _OPEN_LIMIT:
                client.close()
                continue
            task = asyncio.create_task(self._processes.serve(pod, place.target, client))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    def _behind(self, place: _Place) -> Json | None:
        service = self._cluster.store.get(SERVICES, place.namespace, place.service)
        if service is None:
            return None
        pods = self._cluster.pods(place.namespace, service["spec"].get("selector") or {})
        return next((pod for pod in pods if is_ready(pod)), None)
