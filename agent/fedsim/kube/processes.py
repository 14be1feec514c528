"""The processes in FATE's pods that answer at node ports: proxies, routers, brokers, FATE-Flow."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator

import structlog
from aiohttp import web

from fedsim.kube.certificates import context_of
from fedsim.kube.cluster import Cluster, is_ready
from fedsim.kube.kinds import CONFIG_MAPS, PODS, SECRETS
from fedsim.kube.router import Router, RouterFacts, fate_flow_answer
from fedsim.kube.sni import ProxyFiles, SniProxy
from fedsim.kube.sockets import accept_stream
from fedsim.kube.store import Json

log = structlog.get_logger(__name__)

_HANDSHAKE_LIMIT_S = 10.0
_SHUTDOWN_S = 0.1
_ECHO_LIMIT_S = 3600.0
_CHUNK = 64 * 1024
_ROLES = {
    ("traffic-server", 443): "sni",
    ("pulsar", 6651): "broker",
    ("nginx", 9300): "router",
    ("python", 9380): "flow",
    ("fateflow", 9380): "flow",
}
_FLOW_WORKLOADS = frozenset({"python", "fateflow"})


class Processes:
    """Starts a process when its pod's containers run, and serves connections by it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._proxies: dict[tuple[str, int], SniProxy] = {}
        self._routers: dict[tuple[str, int], Router] = {}
        self._contexts: dict[tuple[bytes, bytes], ssl.SSLContext] = {}
        self._flows: dict[str, web.Server] = {}

    def role(self, pod: Json, target: int) -> str:
        """Return what answers at a pod's port, empty when nothing known here does."""
        labels = pod["metadata"].get("labels") or {}
        for name in (self._cluster.workload(pod), labels.get("fateMoudle", "")):
            if role := _ROLES.get((name, target)):
                return role
        return ""

    async def sync(self) -> None:
        """Start and end processes as pods come and go."""
        alive = set()
        for pod in self._cluster.store.list(PODS):
            if pod["status"].get("phase") != "Running" or not _is_started(pod):
                continue
            key = _process(pod)
            alive.add(key)
            workload = self._cluster.workload(pod)
            if workload == "traffic-server" and key not in self._proxies:
                self._proxies[key] = self._new_proxy(pod)
            elif workload == "nginx" and key not in self._routers:
                self._routers[key] = self._new_router(pod, key)
        for gone in set(self._proxies) - alive:
            del self._proxies[gone]
        for gone in set(self._routers) - alive:
            await self._routers.pop(gone).close()

    async def close(self) -> None:
        """End every process."""
        for router in self._routers.values():
            await router.close()
        for flow in self._flows.values():
            await flow.shutdown(_SHUTDOWN_S)

    def reload(self, pod: Json) -> None:
        """Tell a pod's proxy to read its tables again; Traffic Server takes its time."""
        key = _process(pod)
        if (proxy := self._proxies.get(key)) is not None:
            delays = self._cluster.settings.delays
            stamp = str(self._cluster.store.version)
            delay_s = self._cluster.clock.pick(delays.sni_reload_s, pod["metadata"]["name"], stamp)
            self._cluster.clock.call_later(delay_s, proxy.reload)
        if (router := self._routers.get(key)) is not None:
            router.reload()

    async def serve(self, pod: Json, target: int, client: socket.socket) -> None:
        """Serve one accepted connection; closes the socket, now or when its server is done."""
        is_handed_on = False
        try:
            match self.role(pod, target):
                case "sni" if (proxy := self._proxies.get(_process(pod))) is not None:
                    await proxy.serve(client)
                case "broker":
                    await self._echo(pod, client)
                case "router" if (router := self._routers.get(_process(pod))) is not None:
                    is_handed_on = True
                    await router.serve(client)
                case "flow":
                    is_handed_on = True
                    loop = asyncio.get_running_loop()
                    await loop.connect_accepted_socket(self._flow(_party(pod)), client)
                case _:
                    return
        except (OSError, TimeoutError):
            return  # the peer went away, or spoke something else
        except Exception:
            log.exception("connection.failed", pod=pod["metadata"]["name"], port=target)
        finally:
            if not is_handed_on:
                client.close()

    def _new_proxy(self, pod: Json) -> SniProxy:
        mounts, uid = self._cluster.mounts, pod["metadata"]["uid"]
        container = pod["spec"]["containers"][0]["name"]
        files = ProxyFiles(
            table=lambda: mounts.file(pod, CONFIG_MAPS, "traffic-server-sni", "sni.yaml"),
            certificate=mounts.file(pod, SECRETS, "traffic-server-cert", "proxy.cert.pem"),
            key=mounts.file(pod, SECRETS, "traffic-server-cert", "proxy.key.pem"),
        )
        return SniProxy(
            files,
            idle_s=self._cluster.settings.delays.tunnel_idle_s,
            write_log=lambda text: self._cluster.logs.write(uid, container, text),
        )

    def _new_router(self, pod: Json, key: tuple[str, int]) -> Router:
        namespace = pod["metadata"]["namespace"]
        labels = pod["metadata"].get("labels") or {}
        facts = RouterFacts(
            party=_party(pod),
            is_exchange=labels.get("cluster") == "fate-exchange"
            or any(self._ready(namespace, "traffic-server")),
            has_fate_flow=lambda: any(
                any(self._ready(namespace, workload)) for workload in _FLOW_WORKLOADS
            ),
            read_table=lambda: self._cluster.mounts.file(
                pod, CONFIG_MAPS, "nginx-config", "route_table.yaml"
            ),
        )
        router = Router(facts, self._cluster.settings.seed)
        self._poll_later(router, key)
        return router

    def _poll_later(self, router: Router, key: tuple[str, int]) -> None:
        def poll() -> None:
            if self._routers.get(key, router) is router:
                router.poll()
                self._poll_later(router, key)

        self._cluster.clock.call_later(self._cluster.settings.delays.nginx_poll_s, poll)

    def _ready(self, namespace: str, workload: str) -> Iterator[Json]:
        for pod in self._cluster.store.list(PODS, namespace):
            if is_ready(pod) and self._cluster.workload(pod) == workload:
                yield pod

    async def _echo(self, pod: Json, client: socket.socket) -> None:
        """Serve as a broker: TLS with the party's own certificate, and an echo."""
        context = self._broker_context(pod)
        if context is None:
            return
        async with asyncio.timeout(_HANDSHAKE_LIMIT_S):
            reader, writer = await accept_stream(client, context)
        try:
            async with asyncio.timeout(_ECHO_LIMIT_S):
                while data := await reader.read(_CHUNK):
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()

    def _broker_context(self, pod: Json) -> ssl.SSLContext | None:
        mounts = self._cluster.mounts
        certificate = mounts.file(pod, SECRETS, "pulsar-cert", "broker.cert.pem")
        key = mounts.file(pod, SECRETS, "pulsar-cert", "broker.key-pk8.pem")
        if certificate is None or key is None:
            return None
        if (certificate, key) not in self._contexts:
            try:
                context = context_of(certificate, key)
            except (ssl.SSLError, ValueError):
                log.info("broker.certificate.unusable", namespace=pod["metadata"]["namespace"])
                return None
            self._contexts[certificate, key] = context
        return self._contexts[certificate, key]

    def _flow(self, party: str) -> web.Server:
        flow = self._flows.get(party)
        if flow is None:

            async def answer(request: web.BaseRequest) -> web.StreamResponse:
                return fate_flow_answer(request, party)

            flow = self._flows[party] = web.Server(answer)
        return flow


def _process(pod: Json) -> tuple[str, int]:
    """Return what names a process: the pod, and how often it was restarted."""
    statuses = pod["status"].get("containerStatuses") or ()
    restarts = max((each.get("restartCount", 0) for each in statuses), default=0)
    return pod["metadata"]["uid"], restarts


def _is_started(pod: Json) -> bool:
    statuses = pod["status"].get("containerStatuses") or ()
    return all("running" in each["state"] for each in statuses)


def _party(pod: Json) -> str:
    labels = pod["metadata"].get("labels") or {}
    found = labels.get("partyId")
    return str(found) if found else str(pod["metadata"]["namespace"]).rpartition("-")[2]
