"""Frames on their way to one agent: a bounded queue, and the end of the stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

import structlog

from fedcore import limits
from fedproto.agent.v1 import link_pb2

log = structlog.get_logger()
_SEND_MARGIN_BYTES: Final = 64 * 1024


class FrameStream:
    """The hub's half of a stream. Whoever has a frame puts it in; the gRPC call takes it out."""

    def __init__(self, *, epoch: int, site_name: str, full_limit_s: float) -> None:
        self._epoch = epoch
        self._site_name = site_name
        self._full_limit_s = full_limit_s
        self._queue: asyncio.Queue[link_pb2.HubFrame] = asyncio.Queue(limits.DOWN_QUEUE_FRAMES)
        self._ended = asyncio.Event()
        self._wakeup = asyncio.Event()
        self._last_frame: link_pb2.HubFrame | None = None

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will be sent but the last frame."""
        return self._ended.is_set()

    @property
    def waiting_count(self) -> int:
        """How many frames wait to be read."""
        return self._queue.qsize()

    async def send(self, frame: link_pb2.HubFrame) -> None:
        """Queue a frame; a reader that takes none for too long ends its session.

        That loses nothing: whatever a frame says is in SQL, and comes again at the next Hello.
        """
        frame.epoch = self._epoch
        try:
            async with asyncio.timeout(self._full_limit_s):
                await self._queue.put(frame)
                self._wakeup.set()
        except TimeoutError:
            log.warning("session.slow", site=self._site_name)
            self.end(go_away(link_pb2.GO_AWAY_REASON_OVERLOAD, "the agent reads too slowly"))

    def offer(self, frame: link_pb2.HubFrame) -> bool:
        """Queue a frame that may get lost: not at all when the queue is full."""
        frame.epoch = self._epoch
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            return False
        self._wakeup.set()
        return True

    def end(self, last_frame: link_pb2.HubFrame | None = None) -> None:
        """End the stream; the first ``last_frame`` that is given still goes out."""
        if last_frame is not None and self._last_frame is None:
            last_frame.epoch = self._epoch
            self._last_frame = last_frame
        self._ended.set()
        self._wakeup.set()

    async def outgoing(self) -> AsyncIterator[link_pb2.HubFrame]:
        """Yield frames to send until the stream ends."""
        while not self._ended.is_set():
            if self._queue.empty():
                self._wakeup.clear()
                await self._wakeup.wait()
                continue
            yield self._queue.get_nowait()
        if self._last_frame is not None:
            yield self._last_frame


def go_away(
    reason: link_pb2.GoAwayReason.ValueType, message: str, retry_after_s: float = 0.0
) -> link_pb2.HubFrame:
    """Build a GoAway frame."""
    return link_pb2.HubFrame(
        go_away=link_pb2.GoAway(
            reason=reason, message=message, retry_after_ms=round(retry_after_s * 1000)
        )
    )


def document_frames(documents: link_pb2.DesiredDocuments) -> Iterator[link_pb2.HubFrame]:
    """Split documents into frames that fit the wire's message limit."""
    room = limits.MAX_MESSAGE_BYTES - _SEND_MARGIN_BYTES
    part = link_pb2.DesiredDocuments(forget=documents.forget)
    size = part.ByteSize()
    for document in documents.documents:
        if part.documents and size + document.ByteSize() > room:
            yield link_pb2.HubFrame(documents=part)
            part, size = link_pb2.DesiredDocuments(), 0
        part.documents.append(document)
        size += document.ByteSize()
    if part.documents or part.forget:
        yield link_pb2.HubFrame(documents=part)
