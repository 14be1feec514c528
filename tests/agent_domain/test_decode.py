"""Documents as they come from the wire."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedagent.domain.document import (
    EndpointDocument,
    ParticipantDocument,
    RouteEntry,
    digest_of_entries,
)
from fedagent.wire.decode import DocumentDecoder, decode_document, decode_participant
from fedcore.errors import Invalid
from fedcore.words import EndpointMode, RepairPolicy
from fedproto.agent.v1 import document_pb2

CONTROLS = ("\n", "\r", "\t", "\x00", "\x1f", "\x7f", "\x85", "\x9f", "\u2028", "\u2029")


def participant(**changes: object) -> document_pb2.DesiredDocument:
    cluster = {"name": "n", "namespace": "ns", "chartName": "fate", "chartVersion": "v1"}
    spec = document_pb2.ParticipantSpec(
        kind=document_pb2.PARTICIPANT_KIND_CLUSTER,
        namespace="ns",
        release_name="n",
        chart=document_pb2.ChartRef(name="fate", version="v1"),
        cluster_json=json.dumps(cluster),
    )
    for name, value in changes.items():
        setattr(spec, name, value)
    return document_pb2.DesiredDocument(resource_id="r", generation=1, participant=spec)


def test_a_participant_is_read() -> None:
    document = decode_document(participant(repair=document_pb2.REPAIR_POLICY_REPORT))
    assert isinstance(document, ParticipantDocument)
    assert document.repair is RepairPolicy.REPORT
    assert document.cluster["chartName"] == "fate"


def test_an_endpoint_without_a_mode_is_auto() -> None:
    spec = document_pb2.EndpointSpec(namespace="kube-fate")
    document = decode_document(document_pb2.DesiredDocument(endpoint=spec))
    assert isinstance(document, EndpointDocument)
    assert document.mode is EndpointMode.AUTO


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"namespace": "Not A Name"}, "participant.namespace"),
        ({"release_name": ""}, "participant.release_name"),
        ({"kind": 99}, "participant.kind"),
        ({"cluster_json": "{"}, "participant.cluster_json"),
        ({"cluster_json": "[]"}, "participant.cluster_json"),
        ({"cluster_json": "[" * 100_000}, "participant.cluster_json"),
        ({"cluster_json": '{"name": "x"}'}, "participant.cluster_json.name"),
    ],
)
def test_what_cannot_be_used_is_named_by_its_path(changes: dict[str, object], path: str) -> None:
    with pytest.raises(Invalid) as caught:
        decode_document(participant(**changes))
    assert path in {fault.path for fault in caught.value.errors}


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize(
    "more",
    [
        lambda text: {"registry": text},
        lambda text: {text: "x"},
        lambda text: {"spark": {"worker": [{"env": [text]}]}},
        lambda text: {"spark": [{"worker": {text: 1}}]},
    ],
)
def test_a_line_break_or_control_character_in_the_cluster_is_refused(
    control: str, more: Callable[[str], dict[str, object]]
) -> None:
    cluster = {"name": "n", "namespace": "ns", "chartName": "fate", "chartVersion": "v1"}
    text = json.dumps(cluster | more(f"a{control}image: evil/x"))
    with pytest.raises(Invalid, match="control character") as caught:
        decode_document(participant(cluster_json=text))
    assert not any(char in caught.value.message for char in CONTROLS)


def test_text_of_people_in_the_cluster_is_read() -> None:
    cluster = {"name": "n", "namespace": "ns", "chartName": "fate", "chartVersion": "v1"}
    text = json.dumps(cluster | {"note": "Zürich, 日本 — “ok”"})
    assert decode_document(participant(cluster_json=text)).namespace == "ns"


def test_the_agents_own_digest_changes_with_any_word_whatever_the_hub_says() -> None:
    one, same = participant(), participant()
    other = participant(federation_name="another")
    assert one.digest == other.digest
    assert decode_document(one).body_sha256 == decode_document(same).body_sha256
    assert decode_document(one).body_sha256 != decode_document(other).body_sha256


def test_a_document_of_a_newer_hub_says_so() -> None:
    with pytest.raises(Invalid, match="body"):
        decode_document(document_pb2.DesiredDocument(resource_id="r"))


def test_a_document_that_came_before_is_not_decoded_again() -> None:
    calls: list[str] = []

    def decode(message: document_pb2.DesiredDocument) -> ParticipantDocument:
        calls.append(message.digest)
        return decode_participant(message)

    decoder = DocumentDecoder(decode)
    first = decoder.decode(participant())
    assert decoder.decode(participant()) is first
    newer = participant(federation_name="another")
    newer.digest = "another"
    assert decoder.decode(newer).federation_name == "another"
    assert calls == ["", "another"]


def test_a_document_that_cannot_be_used_is_refused_each_time() -> None:
    decoder = DocumentDecoder(decode_participant)
    for _ in range(2):
        with pytest.raises(Invalid):
            decoder.decode(participant(namespace="Not A Name"))


def test_a_resource_keeps_its_kind() -> None:
    spec = document_pb2.EndpointSpec(namespace="kube-fate")
    with pytest.raises(Invalid, match="keeps its kind"):
        decode_participant(document_pb2.DesiredDocument(endpoint=spec))


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    message = document_pb2.DesiredDocument()
    try:
        message.ParseFromString(data)
    except Exception:  # noqa: BLE001 - protobuf's own errors are not what is tested
        return
    try:
        decode_document(message)
    except Invalid:
        return


@given(
    st.lists(st.tuples(st.text("ab.", max_size=4), st.text("12.", max_size=4), st.integers(0, 9)))
)
def test_a_tables_digest_does_not_depend_on_the_order(rows: list[tuple[str, str, int]]) -> None:
    entries = [RouteEntry(*row) for row in rows]
    assert digest_of_entries(entries) == digest_of_entries(reversed(entries))
