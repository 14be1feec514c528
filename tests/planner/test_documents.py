from __future__ import annotations

import dataclasses

import pytest
from tests.planner.strategies import (
    EXCHANGE_ID,
    NOW,
    exchange_report,
    party_report,
    party_resource,
    stored,
    told,
    world,
)

from fedcore.errors import Invalid
from fedcore.words import Phase
from fedhub.domain.models import Endpoint, ResourceKind, StoredStatus
from fedhub.planner.diff import Change, diff_documents
from fedhub.planner.documents import digest_of, removal_document, stored_spec
from fedhub.planner.endpoint import endpoint_document
from fedhub.planner.plan import plan, report_of
from fedhub.planner.routes import Address
from fedproto.agent.v1 import document_pb2 as pb
from fedproto.agent.v1 import status_pb2

READY = world([{"id": 9999}], reports=[exchange_report(), party_report(9999, "10.0.0.9")])


def document(given, resource=EXCHANGE_ID):
    return next(each for each in plan(given).documents if each.resource_id == resource)


def test_a_digest_tells_body_kind_and_absence_apart():
    spec = pb.ParticipantSpec(namespace="a")
    assert digest_of(spec, absent=False) == digest_of(spec, absent=False)
    others = {
        digest_of(spec, absent=True),
        digest_of(pb.ParticipantSpec(namespace="b"), absent=False),
        digest_of(pb.EndpointSpec(), absent=False),
        digest_of(pb.ParticipantSpec(), absent=False),
    }
    assert len(others) == 4
    assert digest_of(spec, absent=False) not in others


def test_a_diff_shows_the_lines_that_change():
    before = stored(plan(READY).documents)[EXCHANGE_ID]
    found = diff_documents(before, document(told(READY, party_report(9999, "10.0.0.99"))))
    assert found.change is Change.CHANGED
    assert found.site_id == "site-id-hq"
    assert any(line.startswith("-") and "10.0.0.9:30109" in line for line in found.lines)
    assert any(line.startswith("+") and "10.0.0.99:30109" in line for line in found.lines)


def test_a_diff_of_the_same_document_is_empty():
    before = stored(plan(READY).documents)[EXCHANGE_ID]
    found = diff_documents(before, document(READY))
    assert (found.change, found.lines) == (Change.UNCHANGED, ())


def test_a_new_document_is_created_and_an_absent_one_removed():
    new = document(READY)
    created = diff_documents(None, new)
    assert created.change is Change.CREATED
    assert all(line.startswith(("+", "---", "@@")) for line in created.lines)
    before = stored([new])[EXCHANGE_ID]
    gone = dataclasses.replace(new, absent=True, digest=digest_of(new.spec, absent=True))
    removed = diff_documents(before, gone)
    assert removed.change is Change.REMOVED
    assert len(removed.lines) == len(created.lines)
    again = diff_documents(stored([gone])[EXCHANGE_ID], new)
    assert again.change is Change.TAKEN_BACK
    assert again.lines == (), "what may still be there is what was there before"


def test_a_diff_hides_passwords_but_not_that_they_change():
    def given(password):
        values = {"mysql": {"password": password}}
        return world([{"id": 9999, "values": values}], reports=[exchange_report()])

    resource = party_resource(9999)
    before = stored(plan(given("first-secret")).documents)[resource]
    found = diff_documents(before, document(given("second-secret"), resource))
    assert found.change is Change.CHANGED
    assert "secret" not in "".join(found.lines)
    assert found.lines
    shown = diff_documents(None, document(given("first-secret"), resource))
    assert "first-secret" not in "".join(shown.lines)


@pytest.mark.parametrize(
    ("mode", "number"),
    [
        ("auto", pb.ENDPOINT_MODE_AUTO),
        ("install", pb.ENDPOINT_MODE_INSTALL),
        ("adopt", pb.ENDPOINT_MODE_ADOPT),
    ],
)
def test_an_endpoint_has_a_document(mode, number):
    endpoint = Endpoint("e-1", "s-1", "alpha-kubefate", mode, NOW)
    found = endpoint_document(endpoint, "v1.4.4")
    assert (found.kind, found.absent) == (ResourceKind.ENDPOINT, False)
    assert isinstance(found.spec, pb.EndpointSpec)
    assert (found.spec.mode, found.spec.minimum_version) == (number, "v1.4.4")
    kept = stored([found])["e-1"]
    assert stored_spec(kept) == found.spec
    gone = removal_document(kept)
    assert gone.absent
    assert gone.spec == found.spec
    assert gone.digest != found.digest


def test_an_endpoint_of_an_unknown_mode_is_refused():
    with pytest.raises(Invalid, match="auto, install, adopt"):
        endpoint_document(Endpoint("e-1", "s-1", "x", "magic", NOW), "v1.4.4")


def test_a_report_is_what_planning_needs_of_a_status():
    status = status_pb2.ResourceStatus(
        addresses=[
            status_pb2.AddressStatus(role="pulsar", host="lb.example", ip="10.0.0.9", port=6651),
            status_pb2.AddressStatus(role="nginx", ip="10.0.0.9", port=9300),
        ],
        resolutions=[
            status_pb2.Resolution(name="a.example", ip="10.0.0.1"),
            status_pb2.Resolution(name="b.example"),
        ],
    )
    found = report_of(StoredStatus("p", "s", 3, "d", Phase.READY, "", "", NOW, NOW, status))
    assert found.addresses == {
        "pulsar": Address("lb.example", "10.0.0.9", 6651),
        "nginx": Address("10.0.0.9", "10.0.0.9", 9300),
    }
    assert found.resolutions == {"a.example": "10.0.0.1"}
    assert (found.phase, found.observed_generation, found.digest) == (Phase.READY, 3, "d")
