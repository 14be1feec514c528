"""The processes in FATE's pods that answer at node ports: proxies, brokers, FATE-Flow."""

from __future__ import annotations

import asyncio
import socket
import ssl

import structlog
from aiohttp import web

from fedsim.kube.certificates import context_of
from fedsim.kube.cluster import Cluster, is_ready
from fedsim.kube.kinds import CONFIG_MAPS, PODS, SECRETS
from fedsim.kube.nginx import Nginx, NginxFacts, fate_flow_answer
from fedsim.kube.sockets import accept_stream
from fedsim.kube.store import Json
from fedsim.kube.traffic_server import ProxyFiles, TrafficServer

log = structlog.get_logger(__name__)

_HANDSHAKE_LIMIT_S = 10.0
_ECHO_LIMIT_S = 3600.0
_CHUNK = 64 * 1024
_PORTS = {
    ("traffic-server", 443): "traffic-server",
    ("pulsar", 6651): "broker",
    ("nginx", 9300): "nginx",
    ("python", 9380): "fate-flow",
}


class Processes:
    """Starts a process when its pod's containers run, and serves connections by it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._proxies: dict[tuple[str, int], TrafficServer] = {}
        self._nginxes: dict[tuple[str, int], Nginx] = {}
        self._contexts: dict[tuple[bytes, bytes], ssl.SSLContext | None] = {}

    def role(self, pod: Json, port: int) -> str:
        """Return what answers at a pod's port, empty when nothing simulated does."""
        return _PORTS.get((self._cluster.workload(pod), port), "")

    async def sync(self) -> None:
        """Start and end processes as pods come and go."""
        alive = set()
        for pod in self._cluster.store.list(PODS):
            if not _is_started(pod):
                continue
            key = _process(pod)
            alive.add(key)
            workload = self._cluster.workload(pod)
            if workload == "traffic-server" and key not in self._proxies:
                self._proxies[key] = self._new_proxy(pod)
            elif workload == "nginx" and key not in self._nginxes:
                self._nginxes[key] = self._new_nginx(pod, key)
        for key in self._proxies.keys() - alive:
            del self._proxies[key]
        for key in self._nginxes.keys() - alive:
            await self._nginxes.pop(key).close()

    async def close(self) -> None:
        """End every process."""
        for nginx in self._nginxes.values():
            await nginx.close()

    def reload(self, pod: Json) -> None:
        """Have a pod's proxy read its tables again; Traffic Server takes its time."""
        key = _process(pod)
        if (proxy := self._proxies.get(key)) is not None:
            delays = self._cluster.settings.delays
            stamp = str(self._cluster.store.version)
            delay_s = self._cluster.clock.pick(delays.sni_reload_s, pod["metadata"]["name"], stamp)
            self._cluster.clock.call_later(delay_s, proxy.reload)
        if (nginx := self._nginxes.get(key)) is not None:
            nginx.reload()

    async def serve(self, pod: Json, port: int, client: socket.socket) -> None:
        """Serve one accepted connection; closes the socket, now or when its server is done."""
        role, is_handed_on = self.role(pod, port), False
        proxy, nginx = self._proxies.get(_process(pod)), self._nginxes.get(_process(pod))
        try:
            if role == "traffic-server" and proxy is not None:
                await proxy.serve(client)
            elif role == "broker":
                await self._echo(pod, client)
            elif role == "nginx" and nginx is not None:
                is_handed_on = True
                await nginx.serve(client)
            elif role == "fate-flow":
                is_handed_on = True
                await _serve_fate_flow(_party(pod), client)
        except (OSError, TimeoutError):
            return  # the peer went away, or spoke something else
        except Exception:
            log.exception("connection.failed", pod=pod["metadata"]["name"], port=port)
        finally:
            if not is_handed_on:
                client.close()

    def _new_proxy(self, pod: Json) -> TrafficServer:
        mounts, uid = self._cluster.mounts, pod["metadata"]["uid"]
        container = pod["spec"]["containers"][0]["name"]
        files = ProxyFiles(
            table=lambda: mounts.file(pod, CONFIG_MAPS, "traffic-server-sni", "sni.yaml"),
            certificate=mounts.file(pod, SECRETS, "traffic-server-cert", "proxy.cert.pem"),
            key=mounts.file(pod, SECRETS, "traffic-server-cert", "proxy.key.pem"),
        )
        return TrafficServer(
            files,
            idle_s=self._cluster.settings.delays.tunnel_idle_s,
            write_log=lambda text: self._cluster.logs.write(uid, container, text),
        )

    def _new_nginx(self, pod: Json, key: tuple[str, int]) -> Nginx:
        namespace, mounts = pod["metadata"]["namespace"], self._cluster.mounts
        labels = pod["metadata"].get("labels") or {}
        facts = NginxFacts(
            party=_party(pod),
            is_exchange=labels.get("cluster") == "fate-exchange",
            has_fate_flow=lambda: any(
                is_ready(other) and self._cluster.workload(other) == "python"
                for other in self._cluster.store.list(PODS, namespace)
            ),
            read_table=lambda: mounts.file(pod, CONFIG_MAPS, "nginx-config", "route_table.yaml"),
        )
        nginx = Nginx(facts, self._cluster.settings.seed)
        self._poll_later(nginx, key)
        return nginx

    def _poll_later(self, nginx: Nginx, key: tuple[str, int]) -> None:
        def poll() -> None:
            if self._nginxes.get(key, nginx) is nginx:
                nginx.poll()
                self._poll_later(nginx, key)

        self._cluster.clock.call_later(self._cluster.settings.delays.nginx_poll_s, poll)

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
            self._contexts[certificate, key] = context_of(certificate, key)
        return self._contexts[certificate, key]


async def _serve_fate_flow(party: str, client: socket.socket) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return fate_flow_answer(request, party)

    await asyncio.get_running_loop().connect_accepted_socket(web.Server(answer), client)


def _process(pod: Json) -> tuple[str, int]:
    """Return what names a process: the pod, and how often it was restarted."""
    statuses = pod["status"].get("containerStatuses") or ()
    restarts = max((status.get("restartCount", 0) for status in statuses), default=0)
    return pod["metadata"]["uid"], restarts


def _is_started(pod: Json) -> bool:
    statuses = pod["status"].get("containerStatuses") or ()
    return bool(statuses) and all("running" in status["state"] for status in statuses)


def _party(pod: Json) -> str:
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get("partyId") or pod["metadata"]["namespace"].rpartition("-")[2])
