"""A hub and an agent with a good certificate that sends whatever it likes.

Each input is refused by a typed error that ends its own stream or call, or taken as what it is.
Whatever it was: nothing of another site changes, every list can still be read, an honest agent
beside it is not disturbed, and memory stays flat. 80 inputs; 5,000 with FED_TEST_FULL=1.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

import grpc
import grpc.aio
import pytest
from structlog.testing import capture_logs
from tests.bad_input.dump import table_dump
from tests.bad_input.messages import examples, hostile, raw_bytes, seeded
from tests.support.fakeagent import HUB_NAME
from tests.support.hub import federation, party
from tests.support.patience import patient, time_limit

from fedagent.wire.decode import decode_document
from fedcore.errors import ErrorCode
from fedproto.agent.v1 import (
    certificate_pb2,
    command_pb2,
    enrolment_pb2,
    event_pb2,
    link_pb2,
    status_pb2,
)
from fedproto.transport import ERROR_CODE_KEY, channel_options

SERVICE = "/fedproto.agent.v1.AgentLink"
FRAMES = examples(80, 5_000)
CALLS = examples(60, 2_000)
CODES = {code.value for code in ErrorCode} - {ErrorCode.INTERNAL.value}
LISTS = (
    "/api/v1/sites",
    "/api/v1/federations",
    "/api/v1/participants",
    "/api/v1/endpoints",
    "/api/v1/events?limit=1000",
    "/api/v1/operations",
    "/api/v1/certificates",
    "/api/v1/federations/credit-risk",
    "/api/v1/federations/credit-risk/routes",
    "/api/v1/participants/credit-risk/9999",
    "/api/v1/participants/credit-risk/exchange",
    "/api/v1/sites/alpha",
)


@pytest.fixture
async def pair(lab):
    """An honest site with the exchange, and the attacker's with a party; both at rest."""
    honest = await lab.good_site("hq")
    attacker = await lab.good_site("alpha")
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    await attacker.stop()
    return honest, attacker.agent


class Raw:
    """One stream that sends any bytes as its frames."""

    def __init__(self, agent):
        call = agent.stub  # opens the channel
        del call
        self.stream = agent.channel.stream_stream(
            f"{SERVICE}/Session",
            request_serializer=lambda data: data,
            response_deserializer=link_pb2.HubFrame.FromString,
        )()
        self.epoch = 0

    async def open(self, agent):
        await self.stream.write(link_pb2.AgentFrame(hello=agent.hello()).SerializeToString())
        async with time_limit():
            frame = await self.stream.read()
        assert frame is not grpc.aio.EOF, await self.stream.details()
        self.epoch = frame.welcome.epoch
        return self

    async def send(self, data):
        """Send and probe by a heartbeat that it was handled; return the refusal, or None."""
        beat = link_pb2.AgentFrame(epoch=self.epoch, heartbeat=link_pb2.Heartbeat(sequence=777))
        try:
            async with time_limit():
                await self.stream.write(data)
                await self.stream.write(beat.SerializeToString())
                while (frame := await self.stream.read()) is not grpc.aio.EOF:
                    if frame.heartbeat_ack.sequence == 777:
                        return None
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            pass
        async with time_limit():
            code, details = await self.stream.code(), await self.stream.details()
            trailing = await self.stream.trailing_metadata()
        return code, details, dict(trailing or ()).get(ERROR_CODE_KEY)


def assert_typed(refusal, what):
    """Accept an error of the catalogue, the end that Goodbye asks for, and gRPC's own limit."""
    if refusal is None or refusal[0] is grpc.StatusCode.OK:
        return
    code, details, stated = refusal
    if stated is None:
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED, (refusal, what)
        assert "larger than max" in details, (refusal, what)
    else:
        assert stated in CODES, (refusal, what)
    assert len(details) < 1_000, (refusal, what)


def frame_bytes(agent, epoch, rng, ids):
    frame = hostile(link_pb2.AgentFrame, rng, ids=ids)
    body = rng.choice([one.name for one in frame.DESCRIPTOR.fields if one.message_type])
    inner = hostile(type(getattr(frame, body)), rng, ids=ids)
    frame = link_pb2.AgentFrame(epoch=epoch, **{body: inner})
    if body == "events" and rng.random() < 0.7:
        frame.events.spool_id = agent.spool_id
        for number, event in enumerate(frame.events.events):
            event.seq = agent.seq + 1 + number
    if body == "status" and rng.random() < 0.7:
        for status in frame.status.statuses:
            status.resource_id = rng.choice(list(agent.held))
            status.observed_generation = 1
            status.phase = rng.randint(1, 13)
    return frame.SerializeToString()


async def all_lists(lab):
    for path in LISTS:
        await lab.rest.get(path)


async def test_no_frame_harms_anyone_but_its_sender(lab, pair):
    honest, attacker = pair
    ids = [*attacker.held, *honest.agent.held, attacker.site_id, honest.agent.site_id, "9999"]
    session = None
    outcomes = {"taken": 0, "refused": 0}
    with capture_logs() as lines:
        for number in range(FRAMES):
            rng = seeded("frame", number)
            if session is None:
                await attacker.close()
                session = await Raw(attacker).open(attacker)
            data = frame_bytes(attacker, session.epoch, rng, ids)
            if number % 4 == 0:
                data = raw_bytes(link_pb2.AgentFrame, rng, ids=ids)
            before = await table_dump(lab, leave=("events",)) if number % 25 == 0 else None
            refusal = await session.send(data)
            assert_typed(refusal, number)
            outcomes["taken" if refusal is None else "refused"] += 1
            if refusal is not None:
                session = None
                assert before is None or await table_dump(lab, leave=("events",)) == before, number
            else:
                attacker.seq = await acked(lab, attacker)
    assert not [one for one in lines if one["event"] in {"rpc.failed", "loop.failed"}]
    assert min(outcomes.values()) > FRAMES / 20, outcomes
    await all_lists(lab)
    await honest.agent.live.beat(5)
    for document in honest.agent.held.values():
        decode_document(document)
    assert [one["state"] for one in (await lab.rest.get("/api/v1/sites"))["items"]][1] == "Online"


async def acked(lab, agent):
    rows = await lab.rest.events(f"&site={agent.name}")
    return max([agent.seq, *(one["seq"] or 0 for one in rows if "seq" in one)])


REQUESTS = {
    "RenewCertificate": certificate_pb2.RenewCertificateRequest,
    "IssueCertificate": certificate_pb2.IssueCertificateRequest,
    "FetchBlob": link_pb2.FetchBlobRequest,
}


async def call_raw(channel, path, data, *, streams=False):
    kind = channel.unary_stream if streams else channel.unary_unary
    call = kind(path, request_serializer=lambda data: data, response_deserializer=lambda data: data)
    answer = call(data, timeout=patient())
    try:
        if streams:
            while await answer.read() is not grpc.aio.EOF:
                pass
        else:
            await answer
    except grpc.aio.AioRpcError as error:
        trailing = dict(error.trailing_metadata() or ())
        return error.code(), error.details(), trailing.get(ERROR_CODE_KEY)
    return None


@pytest.mark.parametrize("method", REQUESTS)
async def test_no_call_beside_the_session_does_more_than_refuse(lab, pair, method):
    _, attacker = pair
    before = await table_dump(lab, leave=("events",))
    with capture_logs() as lines:
        for number in range(CALLS):
            rng = seeded(method, number)
            ids = [*attacker.held, "pulsar-cert", "0" * 64]
            data = raw_bytes(REQUESTS[method], rng, ids=ids)
            if number % 2:
                data = hostile(REQUESTS[method], rng, ids=ids).SerializeToString()
            refusal = await call_raw(
                attacker.channel, f"{SERVICE}/{method}", data, streams=method == "FetchBlob"
            )
            assert refusal is not None, number
            assert_typed(refusal, number)
    assert not [one for one in lines if one["event"] == "rpc.failed"]
    assert await table_dump(lab, leave=("events",)) == before


@pytest.mark.parametrize("method", ["Enrol", "GetTrust"])
async def test_no_stranger_at_the_enrolment_port_does_more_than_be_refused(lab, method):
    await lab.rest.invite("alpha")
    before = await table_dump(lab, leave=("events",))
    credentials = grpc.ssl_channel_credentials(lab.place.ca_pem)
    message = {"Enrol": enrolment_pb2.EnrolRequest, "GetTrust": enrolment_pb2.GetTrustRequest}
    async with grpc.aio.secure_channel(
        lab.place.enrol_address, credentials, options=channel_options(HUB_NAME)
    ) as channel:
        with capture_logs() as lines:
            for number in range(CALLS):
                rng = seeded(method, number)
                data = raw_bytes(message[method], rng)
                if number % 2:
                    data = hostile(message[method], rng).SerializeToString()
                path = f"/fedproto.agent.v1.Enrolment/{method}"
                refusal = await call_raw(channel, path, data)
                assert refusal is not None or method == "GetTrust"
                assert_typed(refusal, number)
    assert not [one for one in lines if one["event"] == "rpc.failed"]
    assert await table_dump(lab, leave=("events",)) == before


async def test_memory_stays_flat_under_frames_that_are_refused(lab, pair):
    """24 refused frames (3,000 in full) leave less than two megabytes behind."""
    _, attacker = pair
    await attacker.close()

    async def turn(numbers):
        for number in numbers:
            session = await Raw(attacker).open(attacker)
            data = link_pb2.AgentFrame(
                epoch=session.epoch,
                events=event_pb2.EventBatch(
                    spool_id=attacker.spool_id,
                    events=[event_pb2.Event(seq=9, message="x" * 1_000)] * 20,
                ),
            )
            if number % 2:
                status = status_pb2.ResourceStatus(phase=99, message="x" * 20_000)
                status.resource_id = next(iter(attacker.held))
                data = link_pb2.AgentFrame(epoch=session.epoch)
                data.status.statuses.append(status)
            assert await session.send(data.SerializeToString()) is not None

    count = examples(24, 3_000)
    await turn(range(6))
    tracemalloc.start()
    try:
        await turn(range(6))
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await turn(range(count))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 2_000_000


async def test_no_answer_of_an_agent_to_a_command_breaks_the_call_that_asked(lab):
    await lab.good_site("alpha")
    hq = await lab.good_site("hq")
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    session = hq.agent.live
    for number in range(CALLS):
        rng = seeded("result", number)
        asked = asyncio.create_task(
            lab.rest.call("POST", "/api/v1/participants/credit-risk/exchange/probes")
        )
        command = (await session.frame(lambda frame: frame.HasField("command"))).command
        session.frames.clear()
        result = hostile(command_pb2.CommandResult, rng)
        result.command_id = command.command_id
        if number % 2:
            result.error_code = rng.choice([*ErrorCode, "none"])
        await session.send(command_result=result)
        answer = await asked
        assert answer.status in {200, 404, 409, 503, 504}, (number, answer)
        assert len(str(answer.body.get("detail", ""))) <= 5_000
