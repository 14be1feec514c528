"""One site's agent puts another site's ids into every field of every message it may send.

The fields come from the descriptors: a field that is added later is tried without a change here.
"""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from sqlalchemy import select
from tests.support.hub import federation, party

from fedca.csr import make_csr_pem
from fedca.keys import make_private_key
from fedcore.errors import ErrorCode, FedError
from fedhub.store import agent_sessions, documents, sites
from fedhub.store.tables import StatusTable, table_of
from fedproto.agent.v1 import certificate_pb2, link_pb2, status_pb2

STATUS = table_of(StatusTable)
BODIES = [
    field.name for field in link_pb2.AgentFrame.DESCRIPTOR.fields if field.message_type is not None
]


def text_paths(descriptor, seen=()):
    """List the ways to every text field of a message, as tuples of fields."""
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (field,)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type not in seen:
            for path in text_paths(field.message_type, (*seen, descriptor)):
                yield (field, *path)


def put(message, path, text):
    """Set one text field, filling in what stands above it."""
    field, rest = path[0], path[1:]
    if not rest:
        if field.is_repeated:
            getattr(message, field.name).append(text)
        else:
            setattr(message, field.name, text)
        return
    inner = getattr(message, field.name)
    if field.message_type.GetOptions().map_entry:
        inner[text] = text
        return
    if field.is_repeated:
        put(inner[0] if inner else inner.add(), rest, text)
    else:
        inner.SetInParent()
        put(inner, rest, text)


def honest(agent, body):
    """Build a frame of which only one field will lie."""
    frame = link_pb2.AgentFrame(epoch=agent.live.epoch)
    if body == "status":
        frame.status.statuses.add(resource_id=own_resource(agent), phase=status_pb2.PHASE_DEPLOYING)
    elif body == "events":
        frame.events.spool_id = agent.spool_id
        frame.events.events.add(seq=agent.seq + 1, kind="test.event")
    elif body == "hello":
        frame.hello.CopyFrom(agent.hello())
    else:
        getattr(frame, body).SetInParent()
    return frame


def own_resource(agent):
    return next(key for key, one in agent.held.items() if one.HasField("participant"))


async def everything_about(lab, agent):
    """Read all that the hub keeps about a site."""
    told = (
        select(STATUS.c.resource_id, STATUS.c.phase, STATUS.c.status)
        .where(STATUS.c.site_id == agent.site_id)
        .order_by(STATUS.c.resource_id)
    )
    async with lab.hub.database.read() as db:
        session = await agent_sessions.get(db, agent.agent_id)
        site = await sites.get(db, agent.site_id)
        kept = await documents.of_site(db, agent.site_id)
        found = [
            # The exchange's tables follow from what any party says of its own address.
            *[one for one in kept if b"/exchange" not in one.spec_bytes],
            *(await db.execute(told)).all(),
            (session.epoch, session.instance_id, session.connected),
            (site.state, site.agent_id, site.cluster_uid, site.instance_id, site.findings),
        ]
    return [*found, *await lab.rest.events(f"&site={agent.name}")]


@pytest.fixture
async def pair(lab):
    """The victim runs the exchange, the attacker a party; both connected and at rest."""
    victim = await lab.good_site("hq")
    attacker = await lab.good_site("alpha")
    applied = await lab.rest.apply(
        federation([party(9999, "alpha"), party(10000, "hq", namespace="waits")])
    )
    await lab.rest.operation_ends(applied["operation"]["id"])
    for site in (victim, attacker):
        await site.stop()
    return victim.agent, attacker.agent


def ids_of(victim):
    return [
        victim.site_id,
        victim.agent_id,
        victim.spool_id,
        victim.instance_id,
        victim.cluster_uid,
        *victim.held,
    ]


@pytest.mark.parametrize("body", BODIES)
async def test_no_field_of_a_frame_reaches_another_site(lab, pair, body):
    victim, attacker = pair
    before = await everything_about(lab, victim)
    message = link_pb2.AgentFrame.DESCRIPTOR.fields_by_name[body].message_type
    paths = list(text_paths(message))
    for path in paths:
        for text in ids_of(victim):
            frame = honest(attacker, body)
            put(getattr(frame, body), path, text)
            await send_and_see(attacker, frame, must_end=path[-1].name == "resource_id")
    if not paths:
        await send_and_see(attacker, honest(attacker, body), must_end=False)
    assert await everything_about(lab, victim) == before
    await victim.live.beat()


async def send_and_see(attacker, frame, *, must_end):
    """Send a frame, and probe by a heartbeat (or the stream's end) that it was handled."""
    session = attacker.live
    names_resource = must_end and frame_names_resource_of_another(attacker, frame)
    await session.stream.write(frame)
    try:
        await session.beat(77)
        assert not names_resource, frame
    except (AssertionError, grpc.aio.UsageError, grpc.aio.AioRpcError):
        error = await session.end()
        if names_resource:
            assert error is not None, frame
            assert error.code is ErrorCode.DENIED, frame
    if session.ended.is_set():
        await attacker.connect()
    else:
        session.frames.clear()
        attacker.seq = max(
            [attacker.seq, *(event.seq for event in frame.events.events)],
        )


def frame_names_resource_of_another(attacker, frame):
    body = frame.WhichOneof("body")
    named = []
    if body == "status":
        named = [one.resource_id for one in frame.status.statuses]
    elif body == "events":
        named = [one.resource_id for one in frame.events.events]
    return any(one and one not in attacker.held and is_resource(one) for one in named)


def is_resource(text):
    """Resource ids are UUIDs; the other ids of a victim name nothing where a resource is wanted."""
    return text.count("-") == 4 and text in RESOURCES


RESOURCES: set[str] = set()


@pytest.fixture(autouse=True)
def resources(pair):
    RESOURCES.clear()
    RESOURCES.update(pair[0].held)


async def test_no_call_beside_the_session_reaches_another_site(lab, pair):
    victim, attacker = pair
    before = await everything_about(lab, victim)
    certificates = await lab.rest.get("/api/v1/certificates")
    for resource_id, document in victim.held.items():
        for name in [one.secret_name for one in document.participant.certificates] or ["any"]:
            with pytest.raises(FedError) as caught:
                await attacker.issue(resource_id, name)
            assert caught.value.code is ErrorCode.DENIED
    for text in ids_of(victim):
        request = certificate_pb2.IssueCertificateRequest(
            resource_id=text, secret_name=text, csr_pem=make_csr_pem(make_private_key())
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await attacker.stub.IssueCertificate(request)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert await everything_about(lab, victim) == before
    assert await lab.rest.get("/api/v1/certificates") == certificates


async def test_another_sites_resource_is_refused_with_the_same_words_as_one_that_is_not_there(pair):
    victim, attacker = pair
    words = set()
    for resource_id in (next(iter(victim.held)), "00000000-0000-7000-8000-000000000000"):
        with pytest.raises(FedError) as caught:
            await attacker.issue(resource_id, "pulsar-cert")
        words.add((caught.value.code, caught.value.message))
    assert len(words) == 1
