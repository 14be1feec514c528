"""The agent sessions of this process. SQL has the say (epochs); memory only speeds things up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog

from fedcore.clock import Clock
from fedcore.errors import NotFound, Unavailable
from fedhub.fleet.admission import CurrentSession
from fedhub.fleet.commands import PendingCommands
from fedhub.fleet.document_cursor import DocumentCursor
from fedhub.fleet.frame_stream import FrameStream, go_away
from fedhub.fleet.liveness import Liveness
from fedhub.fleet.rate_limit import RateLimiter
from fedhub.timing import HubTiming
from fedproto.agent.v1 import command_pb2, event_pb2, link_pb2

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class LiveAgentSession:
    """One agent's stream, and the five things that its parts look after.

    ``deferred`` are event batches that wait for the site's rate, unacknowledged; ``stalled_loops``
    are those that the site's findings name.
    """

    agent_id: str
    site_id: str
    site_name: str
    epoch: int
    session_id: str
    instance_id: str
    serial: str
    spool_id: str
    stream: FrameStream
    documents: DocumentCursor
    liveness: Liveness
    frame_rate: RateLimiter
    commands: PendingCommands = field(default_factory=PendingCommands)
    deferred: deque[event_pb2.EventBatch] = field(default_factory=deque)
    stalled_loops: frozenset[str] = frozenset()


class SessionRegistry:
    """The live sessions of this process, by agent and by site."""

    def __init__(self, clock: Clock, timing: HubTiming) -> None:
        self._clock = clock
        self._timing = timing
        self._by_agent: dict[str, LiveAgentSession] = {}
        self._by_site: dict[str, LiveAgentSession] = {}
        self.is_draining = False

    def __iter__(self) -> Iterator[LiveAgentSession]:
        return iter(tuple(self._by_agent.values()))

    def __len__(self) -> int:
        return len(self._by_agent)

    def current_session(self, agent_id: str) -> CurrentSession | None:
        """Return the present session of an agent, as admission looks at it."""
        session = self._by_agent.get(agent_id)
        if session is None:
            return None
        return CurrentSession(session.instance_id, session.liveness.silent_s)

    def of_site(self, site_id: str) -> LiveAgentSession | None:
        """Return the live session of a site, or None."""
        return self._by_site.get(site_id)

    def of_agent(self, agent_id: str) -> LiveAgentSession | None:
        """Return the live session of an agent, or None."""
        return self._by_agent.get(agent_id)

    def register(self, session: LiveAgentSession) -> None:
        """Make ``session`` the agent's; the older of two is told that it is fenced, and ended.

        The epoch decides, not the order of the calls: two Hellos may be stored at once.
        """
        other = self._by_agent.get(session.agent_id)
        if other is not None:
            older, newer = sorted((other, session), key=lambda live: live.epoch)
            fenced = link_pb2.Fenced(
                by_epoch=newer.epoch,
                by_instance_id=newer.instance_id,
                reason="a newer session of this agent",
            )
            older.stream.end(link_pb2.HubFrame(fenced=fenced))
            if older is session:
                return
        if self.is_draining:
            session.stream.end(go_away(link_pb2.GO_AWAY_REASON_DRAIN, "the hub stops"))
        self._by_agent[session.agent_id] = session
        self._by_site[session.site_id] = session

    def unregister(self, session: LiveAgentSession) -> bool:
        """Forget a session that ended; False when a newer one has taken its place."""
        session.commands.fail(Unavailable(f"site {session.site_name} went away"))
        if self._by_site.get(session.site_id) is session:
            del self._by_site[session.site_id]
        if self._by_agent.get(session.agent_id) is not session:
            return False
        del self._by_agent[session.agent_id]
        return True

    def end_silent(self) -> None:
        """End streams that were not heard for the lease: half open, or an agent that hangs."""
        for session in self:
            if session.liveness.silent_s > self._timing.lease_s:
                log.warning("session.silent", site=session.site_name)
                session.stream.end(
                    go_away(link_pb2.GO_AWAY_REASON_UNSPECIFIED, "nothing was heard")
                )

    def terminate(self, agent_id: str, reason: str) -> None:
        """End an agent's stream now: its site or its certificate is revoked."""
        session = self._by_agent.get(agent_id)
        if session is not None:
            session.stream.end(go_away(link_pb2.GO_AWAY_REASON_REVOKED, reason))

    def terminate_serial(self, serial: str) -> None:
        """End the stream that was opened with the certificate of this serial."""
        for session in self:
            if session.serial == serial:
                self.terminate(session.agent_id, "its certificate is revoked")

    def drain(self) -> None:
        """Ask every agent to go and come back elsewhere or later; nobody new is kept."""
        self.is_draining = True
        for session in self:
            session.stream.end(
                go_away(link_pb2.GO_AWAY_REASON_DRAIN, "the hub stops", self._timing.drain_retry_s)
            )

    async def command(
        self, site_id: str, command: command_pb2.Command
    ) -> command_pb2.CommandResult:
        """Send a command and wait for its result until its deadline."""
        session = self.of_site(site_id)
        if session is None:
            raise NotFound("the site's agent is not connected to this hub now; try again later")
        now = self._clock.now()
        left_s = (command.deadline_at.ToDatetime(now.tzinfo) - now).total_seconds()
        with session.commands.expect(command.command_id) as result:
            try:
                async with asyncio.timeout(max(0.0, left_s)):
                    await session.stream.send(link_pb2.HubFrame(command=command))
                    return await result
            except TimeoutError as error:
                raise Unavailable(f"site {session.site_name} did not answer in time") from error

    def complete(self, session: LiveAgentSession, result: command_pb2.CommandResult) -> None:
        """Hand on what a session's agent answered to a command."""
        session.commands.complete(result)
