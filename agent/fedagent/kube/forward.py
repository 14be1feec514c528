"""Reach a pod's port through the API server, by a listener on loopback.

The frames are carried here: ``kubernetes.aio`` 37 has no port-forward, and that of ``kubernetes``
blocks a thread for each connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple

import aiohttp
import structlog

from fedagent.kube.client import Json, Kube, reading
from fedagent.kube.errors import KubeError, NotFound, Unavailable
from fedagent.kube.kinds import PODS
from fedagent.kube.objects import list_all
from fedagent.kube.streams import CHANNELS

log = structlog.get_logger()

MAX_CONNECTIONS: Final = 32
_CHUNK_BYTES: Final = 32 * 1024
_DATA: Final = 0
_ERROR: Final = 1
_PORT_BYTES: Final = 2

PodChoice = Callable[[], Awaitable[str]]


class LocalAddress(NamedTuple):
    """Where the forwarded port can be reached."""

    host: str
    port: int


def pod_selector(kube: Kube, namespace: str, labels: Mapping[str, str]) -> PodChoice:
    """Return a function that names a ready pod with these labels; it raises NotFound."""

    async def choose() -> str:
        pods = await list_all(kube, PODS, namespace=namespace, labels=labels)
        ready = [pod for pod in pods if is_ready(pod)]
        if not ready:
            raise NotFound(f"no ready pod with {dict(labels)} in namespace {namespace}")
        newest = max(ready, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
        return str(newest["metadata"]["name"])

    return choose


def is_ready(pod: Json) -> bool:
    """Return whether a pod serves: its condition Ready is true and it is not being deleted."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return "deletionTimestamp" not in pod["metadata"] and any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in conditions
    )


@asynccontextmanager
async def port_forward(
    kube: Kube, namespace: str, pod: str | PodChoice, port: int
) -> AsyncIterator[LocalAddress]:
    """Listen on a free port of 127.0.0.1 and carry every connection to the pod's port.

    ``pod`` as a function is asked at each connection, so the listener outlives any pod. What goes
    wrong shows to the client as a closed connection, and in the log.
    """
    forwarder = _Forwarder(kube, namespace, pod, port)
    server = await asyncio.start_server(forwarder.accept, "127.0.0.1", 0, limit=_CHUNK_BYTES)
    try:
        host, local_port = server.sockets[0].getsockname()[:2]
        yield LocalAddress(host, local_port)
    finally:
        server.close()
        await forwarder.stop()
        await server.wait_closed()


class _Forwarder:
    """The connections of one listener."""

    def __init__(self, kube: Kube, namespace: str, pod: str | PodChoice, port: int) -> None:
        self._kube = kube
        self._namespace = namespace
        self._pod = pod
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            log.warning("forward.refused", namespace=self._namespace, limit=MAX_CONNECTIONS)
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer), name=f"forward.{self._namespace}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            socket = await self._open()
            async with socket, reading(f"port-forward to {self._namespace}"):
                await _carry(socket, reader, writer)
        except KubeError as error:
            log.warning("forward.failed", namespace=self._namespace, error=error.message)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        try:
            async with asyncio.timeout(self._kube.timing.forward_limit_s):
                pod = self._pod if isinstance(self._pod, str) else await self._pod()
                path = f"{PODS.path(namespace=self._namespace, name=pod)}/portforward"
                query = [("ports", str(self._port))]
                return await self._kube.websocket(path, query=query, protocols=(CHANNELS,))
        except TimeoutError as error:
            raise Unavailable("the API server opened no port-forward in time") from error


async def _carry(
    socket: aiohttp.ClientWebSocketResponse,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Copy both ways until either side ends: the protocol knows no half-closed connection."""
    up = asyncio.create_task(_upward(socket, reader), name="forward.up")
    down = asyncio.create_task(_downward(socket, writer), name="forward.down")
    try:
        done, _pending = await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _upward(socket: aiohttp.ClientWebSocketResponse, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        await socket.send_bytes(bytes((_DATA,)) + data)


async def _downward(socket: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
    greeted: set[int] = set()
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel not in greeted:
            # The first frame of each channel bears the port's number.
            greeted.add(channel)
            data = data[_PORT_BYTES:]
        if channel == _ERROR and data:
            raise Unavailable(data[:500].decode("utf-8", "replace"))
        if channel == _DATA and data:
            writer.write(data)
            await writer.drain()
