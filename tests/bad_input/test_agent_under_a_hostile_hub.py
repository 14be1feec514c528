"""An agent and a hub that sends whatever it likes: no crash, a typed error, nothing kept of it.

150 frames; 5,000 with FED_TEST_FULL=1. Bytes that are no message never reach the agent: gRPC ends
the call with INTERNAL, which is absence to the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tracemalloc
from datetime import UTC, datetime, timedelta

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from tests.bad_input.messages import bent, examples, hostile, seeded
from tests.support.patience import time_limit

from fedagent.commands.routes import RouteCheck, answering
from fedagent.journal import open_journal
from fedagent.link.session import Session
from fedagent.link.validation import checked
from fedagent.reconcile.certificates import chain_error
from fedagent.wire.decode import decode_document
from fedcore import limits
from fedcore.clock import SystemClock
from fedcore.errors import FedError, Invalid
from fedcore.tasks import LoopHealth
from fedlink.identity import make_key
from fedlink.stream import FrameStream
from fedlink.timing import LinkTiming
from fedlink.trust import check_certificate, check_roots
from fedproto.agent.v1 import document_pb2, link_pb2

FRAMES = examples(150, 5_000)
BODIES = [field.name for field in link_pb2.HubFrame.DESCRIPTOR.fields if field.message_type]
IDS = ("r-1", "r-2", "fate-9999", "spool")


class Scripted:
    """The hub's end of a stream: frames to read, and what was written."""

    def __init__(self, *frames):
        self.to_read = list(frames)
        self.written = []

    async def write(self, frame):
        self.written.append(frame.SerializeToString())

    async def read(self):
        await asyncio.sleep(0)
        return self.to_read.pop(0) if self.to_read else grpc.aio.EOF

    async def code(self):
        return grpc.StatusCode.UNAVAILABLE

    async def details(self):
        return "the script ends"


@pytest.fixture
async def journal(tmp_path):
    async with open_journal(tmp_path / "journal.sqlite", clock=SystemClock()) as journal:
        yield journal


def session(stream, journal):
    async def probe(*_):
        return {}

    async def on_trust(_version, roots_pem):
        check_roots(roots_pem)

    clock = SystemClock()
    check = RouteCheck(journal, probe, lambda: b"", clock)
    timing = LinkTiming()
    return Session(
        stream=FrameStream(stream, link_pb2.HubFrame, clock=clock, timing=timing),
        timing=timing,
        journal=journal,
        loop_health=LoopHealth(clock),
        clock=clock,
        commands=answering(check),
        on_trust=on_trust,
    )


def welcome(epoch):
    return link_pb2.HubFrame(
        epoch=epoch, welcome=link_pb2.Welcome(epoch=epoch, heartbeat_interval_ms=60_000)
    )


def hostile_frame(number, epoch):
    rng = seeded("hub frame", number)
    body = BODIES[number % len(BODIES)]
    inner_class = type(getattr(link_pb2.HubFrame(), body))
    frame = link_pb2.HubFrame(epoch=epoch, **{body: hostile(inner_class, rng, ids=IDS)})
    if body == "documents":
        for document in frame.documents.documents:
            document.resource_id = rng.choice((document.resource_id, *IDS))
            document.generation = rng.choice((document.generation, 1, 2))
            document.digest = document.digest[:100]
    return frame


async def exchange(journal, epoch, *frames):
    """Open a session, hand it the frames, and return the typed error that ended it."""
    stream = Scripted(welcome(epoch), *frames)
    one = session(stream, journal)
    await one.open(link_pb2.Hello())
    with pytest.raises(FedError) as caught:
        async with time_limit():
            await one.run()
    return caught.value


async def test_no_frame_of_a_hub_ends_the_agent_or_spoils_its_journal(journal):
    refused = 0
    for number in range(FRAMES):
        epoch = await journal.max_epoch() + 1
        before = await journal.documents.refs()
        error = await exchange(journal, epoch, hostile_frame(number, epoch))
        assert 0 < len(error.message) < 20_000
        if isinstance(error, Invalid):
            refused += 1
            assert await journal.documents.refs() == before, "nothing of a refused frame is kept"
        for message in await journal.documents.all():
            try:
                decode_document(message)
            except Invalid:
                continue
    assert FRAMES / 20 < refused < FRAMES


async def test_no_welcome_ends_the_agent(journal):
    for number in range(FRAMES):
        frame = hostile_frame(number, 1)
        with pytest.raises(FedError):
            one = session(Scripted(frame), journal)
            await one.open(link_pb2.Hello())
            await one.run()


HUGE = 2**63


@pytest.mark.parametrize(
    "frame",
    [
        link_pb2.HubFrame(epoch=HUGE),
        link_pb2.HubFrame(welcome=link_pb2.Welcome(epoch=HUGE)),
        link_pb2.HubFrame(welcome=link_pb2.Welcome(epoch=1, resume_after_seq=HUGE)),
        link_pb2.HubFrame(event_ack={"acked_through": HUGE}),
        link_pb2.HubFrame(documents={"documents": [{"resource_id": "r", "generation": HUGE}]}),
        link_pb2.HubFrame(documents={"documents": [{"resource_id": "", "generation": 1}]}),
        link_pb2.HubFrame(documents={"documents": [{"resource_id": "x" * 65}]}),
        link_pb2.HubFrame(documents={"documents": [{"resource_id": "r", "digest": "x" * 129}]}),
        link_pb2.HubFrame(documents={"forget": ["a\nb"]}),
        link_pb2.HubFrame(command={"command_id": ""}),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_field(frame):
    with pytest.raises(Invalid) as caught:
        checked(frame)
    (fault,) = caught.value.errors
    assert fault.path.split(".")[0] in {frame.WhichOneof("body"), "epoch"}


def test_no_hub_can_send_an_agent_to_sleep():
    forever = 2**32 - 1
    frame = checked(link_pb2.HubFrame(welcome={"epoch": 1, "heartbeat_interval_ms": forever}))
    assert frame.welcome.heartbeat_interval_ms == limits.HEARTBEAT_MAX_INTERVAL_S * 1000
    frame = checked(link_pb2.HubFrame(heartbeat_ack={"next_interval_ms": 1}))
    assert frame.heartbeat_ack.next_interval_ms == 50
    frame = checked(link_pb2.HubFrame(go_away={"retry_after_ms": forever}))
    assert frame.go_away.retry_after_ms == 600_000


def certificate(key, issuer_key=None, names=("hub.federation.internal",)):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
        .sign(issuer_key or key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


KEY_PEM = make_key()
KEY = serialization.load_pem_private_key(KEY_PEM, None)
GOOD = certificate(KEY)


def test_an_answer_that_fits_passes():
    check_certificate(KEY_PEM, GOOD, GOOD)


@pytest.mark.parametrize(
    ("chain", "roots"),
    [
        (b"", GOOD),
        (b"\xff\xfe", GOOD),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", GOOD),
        (certificate(ec.generate_private_key(ec.SECP256R1())), GOOD),
        (GOOD, b""),
        (GOOD, b"\xff"),
        (GOOD, GOOD + b"\xff"),
        (GOOD, GOOD * 200),
    ],
)
def test_an_answer_that_would_lock_the_agent_out_is_refused(chain, roots):
    with pytest.raises(Invalid):
        check_certificate(KEY_PEM, chain, roots)


def test_no_bent_certificate_does_more_than_be_refused():
    """For the agent's own, and for those that it keeps in Secrets."""
    der = x509.load_pem_x509_certificate(GOOD).public_bytes(serialization.Encoding.DER)
    for number in range(examples(300, 20_000)):
        rng = seeded("certificate", number)
        try:
            pem = x509.load_der_x509_certificate(bent(der, rng)).public_bytes(
                serialization.Encoding.PEM
            )
        except ValueError:
            pem = bent(GOOD, rng)
        for chain, roots in ((pem, GOOD), (GOOD, pem), (pem + GOOD, GOOD)):
            with contextlib.suppress(Invalid):
                check_certificate(KEY_PEM, chain, roots)
            fault = chain_error(chain, roots, KEY.public_key(), ("hub.federation.internal",))
            assert isinstance(fault, str)


def test_a_key_of_an_odd_kind_is_refused():
    odd = ed25519.Ed25519PrivateKey.generate()
    assert chain_error(certificate(odd, KEY), GOOD, KEY.public_key(), ("x",))
    with pytest.raises(Invalid):
        check_certificate(KEY_PEM, certificate(odd, KEY), GOOD)


async def test_memory_stays_flat_under_frames_that_are_refused(journal):
    """80 frames (5,000 in full) leave less than a megabyte behind."""
    document = document_pb2.DesiredDocument(resource_id="x" * 65)
    document.participant.cluster_json = "x" * 100_000
    frame = link_pb2.HubFrame(documents={"documents": [document]})

    async def turn(count):
        for _ in range(count):
            epoch = await journal.max_epoch() + 1
            frame.epoch = epoch
            assert isinstance(await exchange(journal, epoch, frame), Invalid)

    await turn(20)
    tracemalloc.start()
    try:
        await turn(20)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await turn(examples(80, 5_000))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 1_000_000
