"""The processes in FATE's pods that answer at node ports: Traffic Server, and Pulsar's broker."""

from __future__ import annotations

import asyncio
import socket
import ssl

import structlog

from fedsim.kube.certificates import context_of
from fedsim.kube.cluster import Cluster
from fedsim.kube.kinds import CONFIG_MAPS, PODS, SECRETS
from fedsim.kube.store import Json
from fedsim.kube.traffic_server import ProxyFiles, TrafficServer, accept_stream

log = structlog.get_logger(__name__)

_HANDSHAKE_LIMIT_S = 10.0
_ECHO_LIMIT_S = 3600.0
_CHUNK = 64 * 1024
_TRAFFIC_SERVER = ("traffic-server", 443)
_BROKER = ("pulsar", 6651)


class Processes:
    """Starts a process when its pod's containers run, and serves connections by it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._proxies: dict[tuple[str, int], TrafficServer] = {}
        self._contexts: dict[tuple[bytes, bytes], ssl.SSLContext | None] = {}

    def answers(self, pod: Json, port: int) -> bool:
        """Return whether something simulated answers at a pod's port."""
        return (self._cluster.workload(pod), port) in {_TRAFFIC_SERVER, _BROKER}

    def sync(self) -> None:
        """Start and end processes as pods come and go."""
        alive = {
            _process(pod): pod
            for pod in self._cluster.store.list(PODS)
            if _is_started(pod) and self._cluster.workload(pod) == _TRAFFIC_SERVER[0]
        }
        for key in self._proxies.keys() - alive.keys():
            del self._proxies[key]
        for key in alive.keys() - self._proxies.keys():
            self._proxies[key] = self._new_proxy(alive[key])

    def reload(self, pod: Json) -> None:
        """Make a pod's Traffic Server read its table again, which takes it a while."""
        if (proxy := self._proxies.get(_process(pod))) is not None:
            delays = self._cluster.settings.delays
            stamp = str(self._cluster.store.version)
            delay_s = self._cluster.clock.pick(delays.sni_reload_s, pod["metadata"]["name"], stamp)
            self._cluster.clock.call_later(delay_s, proxy.reload)

    async def serve(self, pod: Json, port: int, client: socket.socket) -> None:
        """Serve one accepted connection, and close its socket."""
        proxy = self._proxies.get(_process(pod))
        try:
            if port == _BROKER[1]:
                await self._echo(pod, client)
            elif proxy is not None:
                await proxy.serve(client)
        except (OSError, TimeoutError):
            return  # the peer went away, or spoke something else
        except Exception:
            log.exception("connection.failed", pod=pod["metadata"]["name"], port=port)
        finally:
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


def _process(pod: Json) -> tuple[str, int]:
    """Return what identifies a process: the pod, and how often it was restarted."""
    statuses = pod["status"].get("containerStatuses") or ()
    restarts = max((status.get("restartCount", 0) for status in statuses), default=0)
    return pod["metadata"]["uid"], restarts


def _is_started(pod: Json) -> bool:
    statuses = pod["status"].get("containerStatuses") or ()
    return bool(statuses) and all("running" in status["state"] for status in statuses)
