"""One session with the hub: Hello, then frames both ways until something ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc.aio
import structlog

from fedagent.journal import Journal, SpoolPosition
from fedagent.link.validation import checked
from fedcore import limits
from fedcore.clock import Clock
from fedcore.errors import FedError
from fedcore.tasks import LoopHealth, await_with_heartbeat, sleep_with_heartbeat
from fedlink.stream import FrameStream, SessionEnded, cause_of_end
from fedlink.timing import LinkTiming
from fedproto.agent.v1 import command_pb2, link_pb2

log = structlog.get_logger()
Stream = FrameStream[link_pb2.AgentFrame, link_pb2.HubFrame]
Commands = Callable[[command_pb2.Command], Awaitable[command_pb2.CommandResult]]
_STATUS_LIMIT = 50
_RECEIVE, _STATUSES, _EVENTS, _HEARTBEATS = (
    "link.receive",
    "link.statuses",
    "link.events",
    "link.heartbeats",
)


@dataclass(slots=True)
class Session:
    """Drives one stream. ``hello`` makes the first frame; ``commands`` answers the hub's."""

    stream: Stream
    journal: Journal
    loop_health: LoopHealth
    clock: Clock
    timing: LinkTiming
    commands: Commands
    on_trust: Callable[[int, bytes], Awaitable[None]]
    epoch: int = 0
    sent_through: int = 0
    acked_through: int = 0
    heartbeat_s: float = 0.0
    max_unacked: int = limits.MAX_UNACKED_BATCHES
    unacked_batches: int = 0
    acked: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, hello: link_pb2.Hello) -> link_pb2.Welcome:
        """Introduce the agent; raise when the hub does not answer in time or refuses."""
        frame = checked(await self.stream.open(link_pb2.AgentFrame(hello=hello)))
        if frame.WhichOneof("body") != "welcome":
            raise SessionEnded(f"the hub answered Hello with {frame.WhichOneof('body')}")
        welcome = frame.welcome
        highest = await self.journal.max_epoch()
        if welcome.epoch <= highest:
            raise SessionEnded(
                f"the hub gave epoch {welcome.epoch}, but {highest} was seen already"
            )
        await self.journal.raise_epoch(welcome.epoch)
        self.epoch = welcome.epoch
        self.stream.note_heard()
        self.heartbeat_s = welcome.heartbeat_interval_ms / 1000 or self.timing.heartbeat_s
        self.max_unacked = welcome.limits.max_unacked_batches or self.max_unacked
        await self._resume(welcome, await self.journal.spool.position())
        return welcome

    async def _resume(self, welcome: link_pb2.Welcome, position: SpoolPosition) -> None:
        if welcome.resume_after_seq > position.last_seq:
            # The hub knows more than this disk: it was set back. Numbers must not be used twice.
            await self.journal.spool.restart()
            raise SessionEnded("the event spool was set back; a new one begins", retry_after_s=0.0)
        await self.journal.spool.ack(position.spool_id, welcome.resume_after_seq)
        self.sent_through = self.acked_through = welcome.resume_after_seq
        await self.journal.statuses.resend_all()
        self.journal.spool.changed.set()

    async def run(self) -> None:
        """Exchange frames until the stream ends; raises what ended it."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive(), name=_RECEIVE)
                group.create_task(self._send_statuses(), name=_STATUSES)
                group.create_task(self._send_events(), name=_EVENTS)
                group.create_task(self._send_heartbeats(), name=_HEARTBEATS)
        except* (FedError, grpc.aio.AioRpcError) as errors:
            raise cause_of_end(errors) from None
        finally:
            for name in (_RECEIVE, _STATUSES, _EVENTS, _HEARTBEATS):
                self.loop_health.records.pop(name, None)

    async def _read(self) -> link_pb2.HubFrame:
        return checked(await self.stream.read())

    async def _write(self, frame: link_pb2.AgentFrame) -> None:
        frame.epoch = self.epoch
        await self.stream.write(frame)

    async def _receive(self) -> None:
        while True:
            frame = await await_with_heartbeat(_RECEIVE, self._read(), loop_health=self.loop_health)
            if frame.epoch not in {0, self.epoch}:
                continue
            self.stream.note_heard()
            await self._handle(frame)

    async def _handle(self, frame: link_pb2.HubFrame) -> None:
        match frame.WhichOneof("body"):
            case "documents":
                await self._take_documents(frame.documents)
            case "event_ack":
                await self._take_ack(frame)
            case "heartbeat_ack":
                self.heartbeat_s = frame.heartbeat_ack.next_interval_ms / 1000 or self.heartbeat_s
            case "command":
                await self._answer(frame.command)
            case "trust":
                await self.on_trust(frame.trust.version, frame.trust.roots_pem)
            case "go_away":
                raise SessionEnded(
                    f"the hub asks to go: {frame.go_away.message}",
                    retry_after_s=frame.go_away.retry_after_ms / 1000,
                )
            case "fenced":
                raise SessionEnded(f"another session took over: {frame.fenced.reason}")
            case other:
                log.info("link.frame_ignored", body=other)

    async def _take_documents(self, documents: link_pb2.DesiredDocuments) -> None:
        changed = await self.journal.documents.put(documents.documents)
        forgotten = await self.journal.documents.forget(documents.forget)
        log.info("link.documents", changed=len(changed), forgotten=len(forgotten))

    async def _take_ack(self, frame: link_pb2.HubFrame) -> None:
        ack = frame.event_ack
        await self.journal.spool.ack(ack.spool_id, ack.acked_through)
        self.acked_through = max(self.acked_through, ack.acked_through)
        self.unacked_batches = max(0, self.unacked_batches - 1)
        self.acked.set()

    async def _answer(self, command: command_pb2.Command) -> None:
        result = await self.commands(command)
        await self._write(link_pb2.AgentFrame(command_result=result))

    async def _send_statuses(self) -> None:
        changed = self.journal.statuses.changed
        while True:
            changed.clear()
            pending = await self.journal.statuses.unsent(_STATUS_LIMIT)
            if not pending:
                await sleep_with_heartbeat(
                    _STATUSES, self.timing.outbox_poll_s, loop_health=self.loop_health, wake=changed
                )
                changed.set()
                continue
            for item in pending:
                self.loop_health.heartbeat(_STATUSES)
                report = link_pb2.StatusReport(statuses=[item.status])
                await self._write(link_pb2.AgentFrame(status=report))
            await self.journal.statuses.mark_sent(pending)

    async def _send_events(self) -> None:
        changed = self.journal.spool.changed
        while True:
            self.loop_health.heartbeat(_EVENTS)
            changed.clear()
            self.acked.clear()
            batch = None
            if self.unacked_batches < self.max_unacked:
                batch = await self.journal.spool.batch(self.sent_through)
            if batch is None:
                await self._wait_for_events(changed)
                continue
            await self._write(link_pb2.AgentFrame(events=batch))
            self.sent_through = batch.events[-1].seq
            self.unacked_batches += 1

    async def _wait_for_events(self, changed: asyncio.Event) -> None:
        waits = {
            asyncio.create_task(changed.wait()),
            asyncio.create_task(self.acked.wait()),
        }
        try:
            first = asyncio.wait(
                waits, timeout=self.timing.outbox_poll_s, return_when=asyncio.FIRST_COMPLETED
            )
            await await_with_heartbeat(_EVENTS, first, loop_health=self.loop_health)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _send_heartbeats(self) -> None:
        sequence = 0
        while True:
            await sleep_with_heartbeat(_HEARTBEATS, self.heartbeat_s, loop_health=self.loop_health)
            self.stream.check_heard(self.heartbeat_s)
            sequence += 1
            await self._write(link_pb2.AgentFrame(heartbeat=await self._heartbeat(sequence)))

    async def _heartbeat(self, sequence: int) -> link_pb2.Heartbeat:
        stalled = {record.name for record in self.loop_health.stalled()}
        position = await self.journal.spool.position()
        heartbeat = link_pb2.Heartbeat(sequence=sequence, spool_depth=position.depth)
        heartbeat.sent_at.FromDatetime(self.clock.now())
        for record in self.loop_health.records.values():
            health = heartbeat.loops.add(name=record.name, stalled=record.name in stalled)
            health.last_success_at.FromDatetime(record.last_success_at)
        return heartbeat
