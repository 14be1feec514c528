"""Commands and ports over WebSocket, in the channel protocols of Kubernetes.

Each binary frame begins with its channel: for commands 0 to 3 are stdin, stdout, stderr and the
outcome; for a port 0 carries its data and 1 its error.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from fedsim.kube.settings import Forward
from fedsim.kube.store import Json, dump

EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
FORWARD_PROTOCOL = "v4.channel.k8s.io"
_STDOUT, _STDERR, _OUTCOME = 1, 2, 3
_DATA, _ERROR = 0, 1
_FRAME_LIMIT = 1024 * 1024
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


async def run_exec(request: web.Request, outcome: Outcome) -> web.StreamResponse:
    """Send a client what its command wrote and how it ended."""
    socket = web.WebSocketResponse(protocols=EXEC_PROTOCOLS, max_msg_size=_FRAME_LIMIT)
    await socket.prepare(request)
    for channel, output in ((_STDOUT, outcome.stdout), (_STDERR, outcome.stderr)):
        for start in range(0, len(output), _CHUNK):
            await socket.send_bytes(bytes([channel]) + output[start : start + _CHUNK])
    await socket.send_bytes(bytes([_OUTCOME]) + dump(outcome.to_status()))
    await socket.close()
    return socket


async def run_forward(
    request: web.Request, pod: Json, port: int, forwards: list[Forward]
) -> web.StreamResponse:
    """Carry bytes between a client and where the pod's port really lands."""
    socket = web.WebSocketResponse(protocols=(FORWARD_PROTOCOL,), max_msg_size=_FRAME_LIMIT)
    await socket.prepare(request)
    for channel in (_DATA, _ERROR):
        await socket.send_bytes(bytes([channel]) + struct.pack("<H", port))
    streams = await _dial(pod, port, forwards)
    if streams is None:
        text = (
            f"error forwarding port {port} to pod {pod['metadata']['uid']}, uid : failed to "
            f"connect to localhost:{port} inside namespace: connect: connection refused"
        )
        await socket.send_bytes(bytes([_ERROR]) + text.encode())
    else:
        reader, writer = streams
        pump = asyncio.create_task(_pump(socket, reader))
        try:
            await _receive(socket, writer)
        finally:
            pump.cancel()
            writer.close()
    await socket.close()
    return socket


async def _dial(
    pod: Json, port: int, forwards: list[Forward]
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
                return None
    return None


async def _pump(socket: web.WebSocketResponse, reader: asyncio.StreamReader) -> None:
    """Carry what the target sends, until it closes; then the whole stream ends."""
    try:
        while data := await reader.read(_CHUNK):
            await socket.send_bytes(bytes([_DATA]) + data)
    except OSError:
        pass  # the target broke off: to the client the same as an end
    await socket.close()


async def _receive(socket: web.WebSocketResponse, writer: asyncio.StreamWriter) -> None:
    async for message in socket:
        if message.type is WSMsgType.BINARY and message.data[:1] == bytes([_DATA]):
            writer.write(message.data[1:])
            try:
                async with asyncio.timeout(_DIAL_LIMIT_S):
                    await writer.drain()
            except OSError:
                return
