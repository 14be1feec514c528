"""The frames of one session: read and written with time limits, and typed errors for all that ends.

The frames are the program's own messages. The order of writes is that of the calls of ``write``.
"""

from __future__ import annotations

import asyncio
from typing import Generic, Protocol, TypeVar

import grpc
import grpc.aio

from fedcore.clock import Clock
from fedcore.errors import FedError, Unavailable
from fedcore.exceptions import leaves
from fedlink.timing import LinkTiming
from fedproto.transport import error_from_rpc

UpT_contra = TypeVar("UpT_contra", contravariant=True)
DownT = TypeVar("DownT")


class SessionEnded(FedError):
    """The session is over; ``retry_after_s`` is the hub's wish, None leaves it to the dialler."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RawStream(Protocol[UpT_contra]):
    """The part of grpc.aio's bidirectional call that is used."""

    async def read(self) -> object:
        """Return the next frame, or ``grpc.aio.EOF``."""

    async def write(self, request: UpT_contra, /) -> None:
        """Send a frame."""

    async def code(self) -> grpc.StatusCode:
        """Return how the call ended."""

    async def details(self) -> str:
        """Return what the peer said about its end."""


class FrameStream(Generic[UpT_contra, DownT]):
    """One session's frames. ``down`` is the class of the frames that the hub sends."""

    def __init__(
        self, raw: RawStream[UpT_contra], down: type[DownT], *, clock: Clock, timing: LinkTiming
    ) -> None:
        self._raw = raw
        self._down = down
        self._clock = clock
        self._timing = timing
        self._lock = asyncio.Lock()
        self._heard_at = clock.monotonic()

    async def open(self, hello: UpT_contra) -> DownT:
        """Send the first frame and return the hub's answer; raises Unavailable for none in time."""
        try:
            async with asyncio.timeout(self._timing.hello_limit_s):
                await self._put(hello)
                return await self.read()
        except TimeoutError as error:
            raise Unavailable("the hub did not answer Hello in time") from error

    async def read(self) -> DownT:
        """Return the next frame, however long it takes; raises SessionEnded with the hub's word."""
        try:
            frame = await self._raw.read()
            if not isinstance(frame, self._down):
                code, details = await self._raw.code(), await self._raw.details()
                raise SessionEnded(f"the hub closed the stream: {code.name} {details}")
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        return frame

    async def write(self, frame: UpT_contra) -> None:
        """Send one frame; raises Unavailable when the hub takes none in time."""
        async with self._lock:
            try:
                async with asyncio.timeout(self._timing.call_limit_s):
                    await self._put(frame)
            except TimeoutError as error:
                raise Unavailable("the hub takes no frames") from error

    def note_heard(self) -> None:
        """Note that the hub lives: a frame of this session has come."""
        self._heard_at = self._clock.monotonic()

    def check_heard(self, heartbeat_s: float) -> None:
        """Raise Unavailable when the hub has been silent for too many heartbeat intervals."""
        silent_s = self._clock.monotonic() - self._heard_at
        if silent_s > self._timing.silence_intervals * heartbeat_s:
            raise Unavailable(f"the hub has been silent for {silent_s:.0f} s")

    async def _put(self, frame: UpT_contra) -> None:
        """Write one frame; a stream that is over, or never was, is the hub's absence."""
        try:
            await self._raw.write(frame)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        except (asyncio.InvalidStateError, grpc.aio.UsageError) as error:
            raise Unavailable("the stream is closed") from error


def cause_of_end(errors: BaseExceptionGroup[Exception]) -> FedError:
    """Return what ended a session; a goodbye of the hub says more than a write that failed."""
    causes = tuple(leaves(errors))
    for error in causes:
        if isinstance(error, SessionEnded):
            return error
    for error in causes:
        if isinstance(error, FedError):
            return error
        if isinstance(error, grpc.aio.AioRpcError):
            return error_from_rpc(error)
    return Unavailable("the session ended")
