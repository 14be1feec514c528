"""Run a command in a container.

The frames are read here: ``kubernetes.aio.stream`` 37 puts both outputs into one text of any size
and drops the channel that carries the exit code, for 23 MB of memory and a second of imports.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from fedagent.kube.client import Kube, reading
from fedagent.kube.errors import KubeError, Unavailable
from fedagent.kube.kinds import PODS

CHANNELS: Final = "v4.channel.k8s.io"
"""Each frame begins with the number of its channel (Kubernetes, remotecommand)."""
STDOUT: Final = 1
STDERR: Final = 2
STATUS: Final = 3
OUTPUT_LIMIT_BYTES: Final = 256 * 1024

_ENDS: Final = frozenset(
    {
        aiohttp.WSMsgType.CLOSE,
        aiohttp.WSMsgType.CLOSING,
        aiohttp.WSMsgType.CLOSED,
        aiohttp.WSMsgType.ERROR,
    }
)


class ExecFailed(KubeError):
    """The command was never run: no such container, no such program, the pod is going."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command did. ``exit_code`` is None when the kubelet did not say.

    ``is_truncated``: the output went over the limit and the connection was cut there.
    """

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    is_truncated: bool = False


@dataclass(slots=True)
class _Output:
    limit_bytes: int
    channels: dict[int, bytearray] = field(default_factory=dict)

    def take(self, frame: bytes) -> bool:
        """Add one frame; False when the limit is passed."""
        if frame:
            self.channels.setdefault(frame[0], bytearray()).extend(frame[1:])
        return sum(map(len, self.channels.values())) <= self.limit_bytes

    def of(self, channel: int) -> bytes:
        return bytes(self.channels.get(channel, b""))


async def execute(
    kube: Kube,
    namespace: str,
    pod: str,
    command: Sequence[str],
    *,
    container: str | None = None,
    limit_s: float,
    limit_bytes: int = OUTPUT_LIMIT_BYTES,
) -> ExecResult:
    """Run ``command`` in a container, without a shell and without input, and wait for its end.

    Raises ExecFailed when it was not run, Unavailable when the connection broke or ``limit_s`` is
    over: the command may then be running still.
    """
    query = [("command", word) for word in command] + [("stdout", "true"), ("stderr", "true")]
    if container is not None:
        query.append(("container", container))
    path = f"{PODS.path(namespace=namespace, name=pod)}/exec"
    try:
        async with asyncio.timeout(limit_s):
            socket = await kube.websocket(path, query=query, protocols=(CHANNELS,))
            async with socket, reading(f"exec in {namespace}/{pod}"):
                return await _collect(socket, limit_bytes)
    except TimeoutError as error:
        raise Unavailable(
            f"{command[0]} in {namespace}/{pod}: not over in {limit_s:g} s"
        ) from error


async def _collect(socket: aiohttp.ClientWebSocketResponse, limit_bytes: int) -> ExecResult:
    output = _Output(limit_bytes)
    while (message := await socket.receive()).type not in _ENDS:
        if message.type is aiohttp.WSMsgType.BINARY and not output.take(message.data):
            return ExecResult(None, output.of(STDOUT), output.of(STDERR), is_truncated=True)
    status = output.of(STATUS)
    if not status and message.type is not aiohttp.WSMsgType.CLOSE:
        raise Unavailable("the connection of an exec broke")
    return ExecResult(exit_code_of(status), output.of(STDOUT), output.of(STDERR))


def exit_code_of(status: bytes) -> int | None:
    """Read the ``Status`` of the last channel; None when there is none.

    Raises ExecFailed for a failure that is no exit code.
    """
    if not status:
        return None
    try:
        parsed: Any = json.loads(status)
    except ValueError:
        raise ExecFailed(status[:500].decode("utf-8", "replace")) from None
    if parsed.get("status") == "Success":
        return 0
    for cause in (parsed.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode" and str(cause.get("message", "")).isdigit():
            return int(cause["message"])
    message = str(parsed.get("message") or "the command was not run")
    raise ExecFailed(message[:500], reason=str(parsed.get("reason") or ""))
