"""Commands and ports over WebSocket, in the channel protocols of Kubernetes.

Each binary frame begins with its channel: for commands 0 to 3 are stdin, stdout, stderr and the
outcome; for ports 2i carries the data of the i-th port asked for and 2i+1 its error.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from fedsim.kube.settings import Forward
from fedsim.kube.store import Json, dump

EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
FORWARD_PROTOCOL = "v4.channel.k8s.io"
_STDOUT, _STDERR, _OUTCOME = 1, 2, 3
_FRAME_LIMIT = 1024 * 1024
_EXEC_LIMIT_S = 60.0
_DIAL_LIMIT_S = 10.0
_CHUNK = 32 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program wrote, and its exit code."""

    code: int = 0
    stdout: bytes = b""
    stderr: bytes = b""

    def to_status(self) -> Json:
        """Return the ``Status`` of the outcome channel."""
        if self.code == 0:
            return {"metadata": {}, "status": "Success"}
        return {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: exit status {self.code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(self.code)}]},
        }


async def run_exec(
    request: web.Request, program: Callable[[], Awaitable[Outcome]]
) -> web.StreamResponse:
    """Run a program for a client; its input is read and thrown away."""
    socket = web.WebSocketResponse(protocols=EXEC_PROTOCOLS, max_msg_size=_FRAME_LIMIT)
    await socket.prepare(request)
    await socket.send_bytes(bytes([_STDOUT]))
    async with asyncio.timeout(_EXEC_LIMIT_S):
        outcome = await program()
        for channel, output in ((_STDOUT, outcome.stdout), (_STDERR, outcome.stderr)):
            for start in range(0, len(output), _CHUNK):
                await socket.send_bytes(bytes([channel]) + output[start : start + _CHUNK])
        await socket.send_bytes(bytes([_OUTCOME]) + dump(outcome.to_status()))
        await socket.close()
    return socket


async def run_forward(
    request: web.Request, pod: Json, ports: list[int], forwards: list[Forward]
) -> web.StreamResponse:
    """Carry bytes between a client and where the pod's ports really land."""
    socket = web.WebSocketResponse(protocols=(FORWARD_PROTOCOL,), max_msg_size=_FRAME_LIMIT)
    await socket.prepare(request)
    writers: dict[int, asyncio.StreamWriter] = {}
    try:
        for index, port in enumerate(ports):
            for channel in (2 * index, 2 * index + 1):
                await socket.send_bytes(bytes([channel]) + struct.pack("<H", port))
        async with asyncio.TaskGroup() as group:
            pumps = []
            for index, port in enumerate(ports):
                opened = await _dial(socket, pod, index, port, forwards)
                if opened is not None:
                    writers[2 * index] = opened[1]
                    pumps.append(group.create_task(_pump(socket, 2 * index, opened[0])))
            await _receive(socket, writers)
            for pump in pumps:
                pump.cancel()
    finally:
        for writer in writers.values():
            writer.close()
    await socket.close()
    return socket


async def _dial(
    socket: web.WebSocketResponse, pod: Json, index: int, port: int, forwards: list[Forward]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    metadata = pod["metadata"]
    for forward in forwards:
        is_meant = (
            forward.namespace == metadata["namespace"]
            and metadata["name"].startswith(forward.pod_prefix)
            and forward.port == port
        )
        if is_meant:
            try:
                async with asyncio.timeout(_DIAL_LIMIT_S):
                    return await asyncio.open_connection(forward.host, forward.target_port)
            except OSError:
                break
    text = (
        f"error forwarding port {port} to pod {metadata['uid']}, uid : failed to connect to "
        f"localhost:{port} inside namespace: connect: connection refused"
    )
    await socket.send_bytes(bytes([2 * index + 1]) + text.encode())
    return None


async def _pump(socket: web.WebSocketResponse, channel: int, reader: asyncio.StreamReader) -> None:
    """Carry what the target says, until it closes; then the whole stream ends."""
    try:
        while data := await reader.read(_CHUNK):
            await socket.send_bytes(bytes([channel]) + data)
    except OSError:
        pass  # the target broke off: to the client the same as an end
    await socket.close()


async def _receive(socket: web.WebSocketResponse, writers: dict[int, asyncio.StreamWriter]) -> None:
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        writer = writers.get(message.data[0])
        if writer is not None and len(message.data) > 1:
            writer.write(message.data[1:])
            try:
                async with asyncio.timeout(_DIAL_LIMIT_S):
                    await writer.drain()
            except OSError:
                return
