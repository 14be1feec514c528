"""The simulated data plane: node ports behind which Traffic Server and brokers really answer.

Listens on the node's address for each port of a NodePort or LoadBalancer Service that has a ready
pod of a simulated workload; every other port refuses connections.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from fedsim.kube.cluster import Cluster, is_ready
from fedsim.kube.kinds import PODS, SERVICES
from fedsim.kube.ports import NODE_PORTS, OPEN_TYPES, PortAllocator, bind
from fedsim.kube.processes import Processes
from fedsim.kube.store import Change, ChangeType, Json

log = structlog.get_logger(__name__)

_BACKLOG = 128
_OPEN_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class _Endpoint:
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

    def __init__(self, cluster: Cluster, ports: PortAllocator) -> None:
        self._cluster = cluster
        self._ports = ports
        self._processes = Processes(cluster)
        self._wakeup = asyncio.Event()
        self._listeners: dict[_Endpoint, _Listener] = {}
        self._connections: dict[str, set[asyncio.Task[None]]] = {}
        cluster.reload = self._processes.reload

    def start(self) -> None:
        """Follow the store; `run` does the rest."""
        self._cluster.store.listen(self._follow)
        self._wakeup.set()

    async def run(self) -> None:
        """Open and close listeners as Services and pods come and go, for ever."""
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            try:
                self._processes.sync()
                self._sync()
            except Exception:
                log.exception("dataplane.failed")
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Close every listener and connection."""
        tasks = [listener.task for listener in self._listeners.values()]
        for endpoint in tuple(self._listeners):
            self._shut(endpoint)
        for connections in self._connections.values():
            tasks.extend(connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _follow(self, change: Change) -> None:
        if change.resource in {SERVICES, PODS}:
            self._wakeup.set()
        if change.resource is PODS and change.type is ChangeType.DELETED:
            for task in self._connections.pop(change.object["metadata"]["uid"], ()):
                task.cancel()

    def _sync(self) -> None:
        endpoints = set(self._endpoints())
        for endpoint in self._listeners.keys() - endpoints:
            self._shut(endpoint)
        for endpoint in endpoints - self._listeners.keys():
            self._open(endpoint)

    def _endpoints(self) -> Iterator[_Endpoint]:
        for service in self._cluster.store.list(SERVICES):
            spec, metadata = service["spec"], service["metadata"]
            if spec["type"] not in OPEN_TYPES or not spec.get("selector"):
                continue
            pods = self._cluster.pods(metadata["namespace"], spec["selector"])
            pods = [pod for pod in pods if is_ready(pod)]
            for port in spec.get("ports") or ():
                target = port["targetPort"]
                if not pods or not self._processes.answers(pods[0], target):
                    continue
                for host, number in self._addresses(service, port):
                    yield _Endpoint(host, number, metadata["namespace"], metadata["name"], target)

    def _addresses(self, service: Json, port: Json) -> Iterator[tuple[str, int]]:
        if port.get("nodePort"):
            yield self._cluster.settings.node_ip, port["nodePort"]
        balancer = (service.get("status") or {}).get("loadBalancer") or {}
        for ingress in balancer.get("ingress") or ():
            if ingress.get("ip"):
                yield ingress["ip"], port["port"]

    def _open(self, endpoint: _Endpoint) -> None:
        if self._is_node_port(endpoint):
            listening = self._ports.take(endpoint.port)
        else:
            listening = bind(endpoint.host, endpoint.port, may_reuse=True)
        if listening is None:
            log.info("port.unavailable", host=endpoint.host, port=endpoint.port)
            return
        try:
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            log.info("port.unavailable", host=endpoint.host, port=endpoint.port, why=str(error))
            return
        task = asyncio.create_task(self._accept(endpoint, listening))
        self._listeners[endpoint] = _Listener(listening, task)

    def _is_node_port(self, endpoint: _Endpoint) -> bool:
        return endpoint.host == self._cluster.settings.node_ip and endpoint.port in NODE_PORTS

    def _shut(self, endpoint: _Endpoint) -> None:
        listener = self._listeners.pop(endpoint)
        listener.task.cancel()
        listener.socket.close()
        if self._is_node_port(endpoint):
            self._ports.give_back(endpoint.port)

    async def _accept(self, endpoint: _Endpoint, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listening)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pod = self._behind(endpoint)
            if pod is None:
                client.close()
                continue
            tasks = self._connections.setdefault(pod["metadata"]["uid"], set())
            if len(tasks) >= _OPEN_LIMIT:
                client.close()
                continue
            task = asyncio.create_task(self._processes.serve(pod, endpoint.target, client))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    def _behind(self, endpoint: _Endpoint) -> Json | None:
        service = self._cluster.store.get(SERVICES, endpoint.namespace, endpoint.service)
        if service is None:
            return None
        pods = self._cluster.pods(endpoint.namespace, service["spec"].get("selector") or {})
        return next((pod for pod in pods if is_ready(pod)), None)
