"""Live sessions of this process. Ownership is in SQL (epochs); memory only speeds things up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import structlog

from fedcore import limits
from fedcore.clock import Clock
from fedcore.errors import NotFound, Unavailable
from fedhub.fleet.admission import CurrentSession
from fedhub.fleet.rate_limit import EventRateLimiter
from fedproto.agent.v1 import command_pb2, event_pb2, link_pb2

log = structlog.get_logger()
_SEND_MARGIN_BYTES: Final = 64 * 1024
ALARM_PAUSE_S: Final = 600.0
MAX_NOTED: Final = 1_000


class Loop(StrEnum):
    """The two loops that serve a session in the hub, as findings name them."""

    READ = "hub.read"
    DOCUMENTS = "hub.documents"


@dataclass(slots=True)
class LiveSession:
    """One agent's stream.

    ``sent`` maps resource ids to the generation that the agent has, ``claimed`` to the digests of
    those that it had at Hello. ``stale``: it may lack a document. ``news``: there is something to
    send, or the session ended. ``heard_pending``: it was heard since that was last written to the
    store. ``beat_at``: when the last heartbeat came; ``busy``: since when a loop has been at one
    piece of work (both by the monotonic clock). ``parked``: event batches that wait for the site's
    quota, unacknowledged.
    """

    agent_id: str
    site_id: str
    site_name: str
    epoch: int
    session_id: str
    instance_id: str
    serial: str
    heard_at: float
    beat_at: float = 0.0
    sent: dict[str, int] = field(default_factory=dict)
    reported_digests: dict[str, str] = field(default_factory=dict)
    stale: asyncio.Event = field(default_factory=asyncio.Event)
    spool_id: str = ""
    deferred: deque[event_pb2.EventBatch] = field(default_factory=deque)
    stalled_loops: frozenset[str] = frozenset()
    busy: dict[Loop, float] = field(default_factory=dict)
    heard_pending: bool = False
    queue: asyncio.Queue[link_pb2.HubFrame] = field(
        default_factory=lambda: asyncio.Queue(limits.DOWN_QUEUE_FRAMES)
    )
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    last_frame: link_pb2.HubFrame | None = None
    tokens: float = limits.FRAMES_BURST
    tokens_at: float = 0.0
    commands: dict[str, asyncio.Future[command_pb2.CommandResult]] = field(default_factory=dict)

    async def send(self, frame: link_pb2.HubFrame) -> None:
        """Queue a frame; a reader that takes none for 10 s ends its session (state is in SQL)."""
        frame.epoch = self.epoch
        try:
            async with asyncio.timeout(limits.DOWN_QUEUE_FULL_S):
                await self.queue.put(frame)
                self.news.set()
        except TimeoutError:
            log.warning("session.slow", site=self.site_name)
            self.end(go_away(link_pb2.GO_AWAY_REASON_OVERLOAD, "the agent reads too slowly"))

    def offer(self, frame: link_pb2.HubFrame) -> bool:
        """Queue a frame that may get lost: not at all when the queue is full."""
        frame.epoch = self.epoch
        try:
            self.queue.put_nowait(frame)
        except asyncio.QueueFull:
            return False
        self.news.set()
        return True

    def end(self, last_frame: link_pb2.HubFrame | None = None) -> None:
        """End the stream; ``last_frame`` still goes out."""
        if last_frame is not None and self.last_frame is None:
            last_frame.epoch = self.epoch
            self.last_frame = last_frame
        self.ended.set()
        self.news.set()

    async def outgoing(self) -> AsyncIterator[link_pb2.HubFrame]:
        """Yield frames to send until the session ends."""
        while not self.ended.is_set():
            if self.queue.empty():
                self.news.clear()
                await self.news.wait()
                continue
            yield self.queue.get_nowait()
        if self.last_frame is not None:
            yield self.last_frame

    async def take_turn(self, clock: Clock, cost: float = 1.0) -> None:
        """Hold an agent to its frame rate by reading no faster: back-pressure, not loss.

        ``cost`` is charged at once; a frame worth more than is left makes the next one wait.
        """
        now = clock.monotonic()
        self.tokens = min(
            float(limits.FRAMES_BURST),
            self.tokens + (now - self.tokens_at) * limits.FRAMES_PER_S,
        )
        self.tokens_at = now
        if self.tokens < 1.0:
            await asyncio.sleep((1.0 - self.tokens) / limits.FRAMES_PER_S)
        self.tokens -= cost


class SessionRegistry:
    """The live sessions of this process, by agent."""

    def __init__(self, clock: Clock, *, heartbeat_interval_s: float) -> None:
        self._clock = clock
        self._sessions: dict[str, LiveSession] = {}
        self._by_site: dict[str, LiveSession] = {}
        self._noted: dict[tuple[str, ...], float] = {}
        self.quota = EventRateLimiter(clock)
        self.heartbeat_interval_s = heartbeat_interval_s
        self.is_draining = False

    def __iter__(self) -> Iterator[LiveSession]:
        return iter(tuple(self._sessions.values()))

    def __len__(self) -> int:
        return len(self._sessions)

    @contextmanager
    def at_work(self, session: LiveSession, loop: Loop) -> Iterator[None]:
        """Note, while in the block, since when a session's loop has been at one piece of work."""
        session.busy[loop] = self._clock.monotonic()
        try:
            yield
        finally:
            session.busy.pop(loop, None)

    def current_session(self, agent_id: str) -> CurrentSession | None:
        """Return the present session of an agent, as admission sees it."""
        session = self._sessions.get(agent_id)
        if session is None:
            return None
        silent_s = self._clock.monotonic() - session.heard_at
        return CurrentSession(session.instance_id, silent_s, self.heartbeat_interval_s)

    def of_site(self, site_id: str) -> LiveSession | None:
        """Return the live session of a site, or None."""
        return self._by_site.get(site_id)

    def of_agent(self, agent_id: str) -> LiveSession | None:
        """Return the live session of an agent, or None."""
        return self._sessions.get(agent_id)

    def register(self, session: LiveSession) -> None:
        """Make ``session`` the agent's; the older of two is told that it is fenced, and ended.

        The epoch decides, not the order of the calls: two Hellos may be stored at once.
        """
        other = self._sessions.get(session.agent_id)
        if other is not None:
            older, newer = sorted((other, session), key=lambda one: one.epoch)
            fenced = link_pb2.Fenced(
                by_epoch=newer.epoch,
                by_instance_id=newer.instance_id,
                reason="a newer session of this agent",
            )
            older.end(link_pb2.HubFrame(fenced=fenced))
            if older is session:
                return
        if self.is_draining:
            session.end(go_away(link_pb2.GO_AWAY_REASON_DRAIN, "the hub stops"))
        session.tokens_at = self._clock.monotonic()
        self._sessions[session.agent_id] = session
        self._by_site[session.site_id] = session

    def unregister(self, session: LiveSession) -> bool:
        """Forget a session that ended; False when a newer one has taken its place."""
        for future in session.commands.values():
            if not future.done():
                future.set_exception(Unavailable(f"site {session.site_name} went away"))
        if self._by_site.get(session.site_id) is session:
            del self._by_site[session.site_id]
        if self._sessions.get(session.agent_id) is not session:
            return False
        del self._sessions[session.agent_id]
        return True

    def end_silent(self, limit_s: float) -> None:
        """End streams that were not heard for ``limit_s``: half open, or an agent that hangs."""
        now = self._clock.monotonic()
        for session in self:
            if now - session.heard_at > limit_s:
                log.warning("session.silent", site=session.site_name)
                session.end(go_away(link_pb2.GO_AWAY_REASON_UNSPECIFIED, "nothing was heard"))

    def is_news(self, *what: str) -> bool:
        """Tell whether something deserves an alarm again: not twice within ten minutes."""
        now = self._clock.monotonic()
        self._noted = {k: at for k, at in self._noted.items() if now - at < ALARM_PAUSE_S}
        if what in self._noted or len(self._noted) >= MAX_NOTED:
            return False
        self._noted[what] = now
        return True

    def cut(self, agent_id: str, reason: str) -> None:
        """End an agent's stream now (revoked)."""
        session = self._sessions.get(agent_id)
        if session is not None:
            session.end(go_away(link_pb2.GO_AWAY_REASON_REVOKED, reason))

    def cut_serial(self, serial: str) -> None:
        """End the stream that was opened with the certificate of this serial."""
        for session in self:
            if session.serial == serial:
                self.cut(session.agent_id, "its certificate is revoked")

    def drain(self, retry_after_ms: int) -> None:
        """Ask every agent to go and come back elsewhere or later; nobody new is kept."""
        self.is_draining = True
        for session in self:
            session.end(go_away(link_pb2.GO_AWAY_REASON_DRAIN, "the hub stops", retry_after_ms))

    async def command(
        self, site_id: str, command: command_pb2.Command
    ) -> command_pb2.CommandResult:
        """Send a command and wait for its result until its deadline."""
        session = self.of_site(site_id)
        if session is None:
            raise NotFound("the site's agent is not connected to this hub now; try again later")
        future: asyncio.Future[command_pb2.CommandResult] = (
            asyncio.get_running_loop().create_future()
        )
        session.commands[command.command_id] = future
        left_s = (
            command.deadline_at.ToDatetime(self._clock.now().tzinfo) - self._clock.now()
        ).total_seconds()
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                await session.send(link_pb2.HubFrame(command=command))
                return await future
        except TimeoutError as error:
            raise Unavailable(f"site {session.site_name} did not answer in time") from error
        finally:
            session.commands.pop(command.command_id, None)


def go_away(
    reason: link_pb2.GoAwayReason.ValueType, message: str, retry_after_ms: int = 0
) -> link_pb2.HubFrame:
    """Build a GoAway frame."""
    return link_pb2.HubFrame(
        go_away=link_pb2.GoAway(reason=reason, message=message, retry_after_ms=retry_after_ms)
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
