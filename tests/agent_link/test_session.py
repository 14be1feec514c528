from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import grpc
import grpc.aio
import pytest
from tests.support.patience import until

from fedagent.journal import open_journal
from fedagent.link.session import Session
from fedcore.errors import Unavailable
from fedcore.tasks import LoopHealth
from fedlink.stream import FrameStream, SessionEnded
from fedlink.timing import LinkTiming
from fedproto.agent.v1 import document_pb2, event_pb2, link_pb2, status_pb2


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self):
        return self.seconds


class Stream:
    """What grpc gives: frames to read, frames written, and its ways to fail."""

    def __init__(self, *frames, broken=None):
        self.to_read = asyncio.Queue()
        for frame in frames:
            self.to_read.put_nowait(frame)
        self.written = []
        self.wrote = asyncio.Event()
        self.broken = broken

    async def write(self, frame):
        if self.broken is not None:
            raise self.broken
        copy = link_pb2.AgentFrame()
        copy.CopyFrom(frame)
        self.written.append(copy)
        self.wrote.set()

    async def read(self):
        frame = await self.to_read.get()
        if isinstance(frame, Exception):
            raise frame
        return frame

    async def code(self):
        return grpc.StatusCode.UNAVAILABLE

    async def details(self):
        return "gone"

    def sent(self, body):
        return [frame for frame in self.written if frame.WhichOneof("body") == body]


def welcome(epoch=5, **fields):
    return link_pb2.HubFrame(
        epoch=epoch,
        welcome=link_pb2.Welcome(epoch=epoch, heartbeat_interval_ms=60_000, **fields),
    )


@pytest.fixture
async def journal(tmp_path):
    async with open_journal(tmp_path / "journal.sqlite", clock=Clock()) as journal:
        yield journal


def session(stream, journal, clock=None, trusted=None):
    clock = clock or Clock()

    async def commands(command):
        raise AssertionError(command)

    async def on_trust(version, roots_pem):
        trusted.append((version, roots_pem))

    timing = LinkTiming()
    return Session(
        stream=FrameStream(stream, link_pb2.HubFrame, clock=clock, timing=timing),
        timing=timing,
        journal=journal,
        loop_health=LoopHealth(clock),
        clock=clock,
        commands=commands,
        on_trust=on_trust,
    )


async def test_a_hub_that_is_gone_at_hello_is_absence_and_no_crash(journal):
    for broken in (
        asyncio.InvalidStateError("RPC already finished."),
        grpc.aio.UsageError("cannot write"),
    ):
        with pytest.raises(Unavailable):
            await session(Stream(broken=broken), journal).open(link_pb2.Hello())


async def test_a_stream_that_ends_at_hello_says_what_the_hub_said(journal):
    with pytest.raises(SessionEnded, match="UNAVAILABLE gone"):
        await session(Stream(grpc.aio.EOF), journal).open(link_pb2.Hello())


async def test_an_epoch_that_was_seen_before_is_refused(journal):
    await session(Stream(welcome(5)), journal).open(link_pb2.Hello())
    with pytest.raises(SessionEnded, match="epoch 5"):
        await session(Stream(welcome(5)), journal).open(link_pb2.Hello())
    assert await journal.max_epoch() == 5


async def test_events_are_sent_in_order_and_leave_the_disk_when_acknowledged(journal):
    await journal.spool.append([event_pb2.Event(kind=f"e{n}") for n in range(3)])
    stream = Stream(welcome())
    one = session(stream, journal)
    await one.open(link_pb2.Hello())
    running = asyncio.create_task(one.run())
    await until(lambda: stream.sent("events"))
    batch = stream.sent("events")[0]
    assert batch.epoch == 5
    assert [event.seq for event in batch.events.events] == [1, 2, 3]
    assert (await journal.spool.position()).depth == 3
    ack = event_pb2.EventAck(spool_id=batch.events.spool_id, acked_through=2)
    stream.to_read.put_nowait(link_pb2.HubFrame(epoch=5, event_ack=ack))
    await until(lambda: one.acked_through == 2)
    assert (await journal.spool.position()).depth == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_new_session_resumes_after_what_the_hub_has(journal):
    await journal.spool.append([event_pb2.Event(kind=f"e{n}") for n in range(3)])
    stream = Stream(welcome(resume_after_seq=2))
    one = session(stream, journal)
    await one.open(link_pb2.Hello())
    running = asyncio.create_task(one.run())
    await until(lambda: stream.sent("events"))
    assert [event.seq for event in stream.sent("events")[0].events.events] == [3]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_disk_that_was_set_back_begins_a_new_spool(journal):
    await journal.spool.append([event_pb2.Event(kind="e")])
    before = (await journal.spool.position()).spool_id
    with pytest.raises(SessionEnded, match="set back") as ended:
        await session(Stream(welcome(resume_after_seq=9)), journal).open(link_pb2.Hello())
    assert ended.value.retry_after_s == 0.0
    assert (await journal.spool.position()).spool_id != before


async def test_every_status_is_sent_again_in_a_new_session_and_once_in_it(journal):
    await journal.statuses.put(status_pb2.ResourceStatus(resource_id="r", message="a"))
    for epoch in (5, 6):
        stream = Stream(welcome(epoch))
        one = session(stream, journal)
        await one.open(link_pb2.Hello())
        running = asyncio.create_task(one.run())
        await until(lambda stream=stream: stream.sent("status"))
        await asyncio.sleep(0.02)
        assert len(stream.sent("status")) == 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_documents_are_on_disk_and_frames_of_another_epoch_are_ignored(journal):
    def documents(epoch, name):
        return link_pb2.HubFrame(
            epoch=epoch,
            documents=link_pb2.DesiredDocuments(
                documents=[
                    document_pb2.DesiredDocument(
                        resource_id=name,
                        generation=1,
                        digest="d",
                        endpoint=document_pb2.EndpointSpec(namespace="kube-fate"),
                    )
                ]
            ),
        )

    stream = Stream(welcome(), documents(4, "stale"), documents(5, "fresh"))
    one = session(stream, journal)
    await one.open(link_pb2.Hello())
    running = asyncio.create_task(one.run())
    await until(stream.to_read.empty)
    await asyncio.sleep(0.05)
    assert [ref.resource_id for ref in await journal.documents.refs()] == ["fresh"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("frame", "words", "wish"),
    [
        (
            link_pb2.HubFrame(
                epoch=5, go_away=link_pb2.GoAway(message="the hub stops", retry_after_ms=2_000)
            ),
            "the hub stops",
            2.0,
        ),
        (
            link_pb2.HubFrame(epoch=5, fenced=link_pb2.Fenced(reason="a newer session")),
            "a newer session",
            None,
        ),
    ],
)
async def test_the_hub_may_end_a_session_and_say_when_to_come_back(journal, frame, words, wish):
    one = session(Stream(welcome(), frame), journal)
    await one.open(link_pb2.Hello())
    with pytest.raises(SessionEnded, match=words) as ended:
        await one.run()
    assert ended.value.retry_after_s == wish


async def test_a_hub_that_falls_silent_is_left(journal):
    clock = Clock()
    stream = Stream(welcome())
    one = session(stream, journal, clock)
    await one.open(link_pb2.Hello())
    one.heartbeat_s = 0.001
    clock.seconds = 1.0
    with pytest.raises(Unavailable, match="silent"):
        await one.run()
