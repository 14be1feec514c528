"""Every message of the wire, from bytes to the values that hub and agent work with.

No input of these does anything but pass or be refused by a typed error, and memory stays flat.
Counts: 60 examples of each message, 3,000 with FED_TEST_FULL=1.
"""

from __future__ import annotations

import gc
import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError
from tests.bad_input.messages import (
    examples,
    hostile,
    known_files,
    message_classes,
    raw_bytes,
    seeded,
)
from tests.bad_input.session import SESSION

import fedproto
from fedagent.domain.policy import check_document, parse_policy
from fedagent.wire.decode import decode_document
from fedcore.errors import FedError
from fedcore.terminal_text import is_safe
from fedhub.fleet.admission import check_hello
from fedhub.fleet.ingest import _event, _stored, clean
from fedhub.planner.plan import report_of
from fedproto.agent.v1 import document_pb2, event_pb2, link_pb2, status_pb2

CLASSES = message_classes()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXAMPLES = examples(60, 3_000)
MAX_REFUSAL = 20_000
"""A refusal quotes what it refuses, but not all of it."""
POLICY = parse_policy(
    {"namespaces": ["fate-*"], "registries": ["registry.example.com"], "charts": [{"name": "fate"}]}
)


def test_no_file_of_the_wire_is_left_out():
    folder = Path(fedproto.__file__).parent
    files = {str(path.relative_to(folder.parent)) for path in folder.rglob("*.proto")}
    assert known_files() == files


def decoded(message_class, data):
    try:
        return message_class.FromString(data)
    except DecodeError:
        return None


@pytest.mark.parametrize("message_class", CLASSES, ids=lambda one: one.DESCRIPTOR.name)
def test_bytes_are_a_message_or_a_decode_error(message_class):
    for number in range(EXAMPLES):
        rng = seeded(message_class.DESCRIPTOR.name, number)
        message = decoded(message_class, raw_bytes(message_class, rng))
        if message is not None:
            again = message_class.FromString(message.SerializeToString())
            assert again.SerializeToString(deterministic=True) == message.SerializeToString(
                deterministic=True
            )


def mostly_honest(message, rng):
    """Make a document that a site would take, but for a few hostile fields."""
    cluster = {"name": "n", "namespace": "fate-1", "chartName": "fate", "chartVersion": "v1"}
    honest = document_pb2.DesiredDocument(
        resource_id="r",
        generation=1,
        participant=document_pb2.ParticipantSpec(
            kind=document_pb2.PARTICIPANT_KIND_CLUSTER,
            namespace="fate-1",
            release_name="n",
            chart=document_pb2.ChartRef(name="fate", version="v1"),
            cluster_json=json.dumps(cluster | {"registry": "registry.example.com"}),
        ),
    )
    fields = [field.name for field, _ in message.participant.ListFields()]
    for name in rng.sample(fields, min(len(fields), rng.randint(0, 2))):
        honest.participant.ClearField(name)
        part = document_pb2.ParticipantSpec()
        part.CopyFrom(message.participant)
        for other in fields:
            if other != name:
                part.ClearField(other)
        honest.participant.MergeFrom(part)
    return honest


def read_by_agent(message):
    document = decode_document(message)
    check_document(POLICY, document)


def read_status(message):
    stored = _stored("s", message, NOW)
    report_of(stored)
    # What is stored is read again by every list; nothing in it may raise then.
    again = status_pb2.ResourceStatus.FromString(stored.status.SerializeToString())
    for step in again.steps:
        step.started_at.ToDatetime(UTC)
    again.job.started_at.ToDatetime(UTC)
    for probe in again.probes:
        probe.at.ToDatetime(UTC)
    for certificate in again.certificates:
        certificate.not_after.ToDatetime(UTC)
    stored.reason.encode()
    stored.message.encode()


def read_event(message):
    event = _event(SESSION, "spool", message, None, NOW)
    assert len(event.kind) <= 100
    assert is_safe(event.message)


def refusal_of(read, message):
    try:
        read(message)
    except FedError as error:
        return error.message
    return None


READERS = {
    "agent: document": (document_pb2.DesiredDocument, read_by_agent),
    "hub: status": (status_pb2.ResourceStatus, read_status),
    "hub: event": (event_pb2.Event, read_event),
    "hub: hello": (link_pb2.Hello, check_hello),
    "hub: inventory": (link_pb2.Inventory, clean),
    "hub: heartbeat": (link_pb2.Heartbeat, clean),
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_takes_a_message_or_refuses_it_by_a_typed_error(name):
    message_class, read = READERS[name]
    taken = 0
    for number in range(EXAMPLES * 3):
        rng = seeded(name, number)
        message = hostile(message_class, rng)
        if message_class is document_pb2.DesiredDocument and number % 2:
            message = mostly_honest(message, rng)
        if number % 3 == 0:
            message = decoded(message_class, raw_bytes(message_class, rng)) or message
        refusal = refusal_of(read, message)
        taken += refusal is None
        assert refusal is None or 0 < len(refusal) < MAX_REFUSAL
    assert taken or name == "hub: hello"


def test_memory_stays_flat_however_much_is_decoded():
    """500 hostile messages (40,000 in full) leave less than a megabyte behind."""

    def turn(numbers):
        for number in numbers:
            rng = seeded("memory", number)
            message_class, read = list(READERS.values())[number % len(READERS)]
            refusal_of(
                read, decoded(message_class, raw_bytes(message_class, rng)) or message_class()
            )

    count = examples(500, 40_000)
    turn(range(100))
    tracemalloc.start()
    try:
        turn(range(100, 300))
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        turn(range(300, count))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 1_000_000
