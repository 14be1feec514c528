from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from tests.planner.strategies import (
    EXCHANGE_ID,
    RELEASE,
    cluster_yaml,
    digests,
    exchange_report,
    leaving,
    party_report,
    party_resource,
    report,
    spec_of,
    stored,
    table,
    told,
    with_current,
    world,
)

from fedcore.words import Phase
from fedhub.planner.diff import readable
from fedhub.planner.plan import plan
from fedhub.planner.routes import Reason
from fedproto.agent.v1 import document_pb2 as pb

GOLDEN = Path(__file__).parent / "golden"
A, B = party_resource(9999), party_resource(10000)
TWO = [{"id": 9999}, {"id": 10000}]
REPORTS = [exchange_report(), party_report(9999, "10.0.0.9"), party_report(10000, "10.0.0.10")]


def ready(**more):
    return world(TWO, reports=REPORTS, **more)


@pytest.mark.parametrize("resource", [EXCHANGE_ID, A, B])
def test_the_documents_of_an_exchange_and_two_parties_are_these(resource):
    given = ready(charts=frozenset({RELEASE.cluster.chart.sha256}))
    text = readable(spec_of(plan(given), resource))
    golden = (GOLDEN / f"{resource}.yaml").read_text()
    assert yaml.safe_load(text) == yaml.safe_load(golden)
    assert text == golden


def test_a_new_federation_begins_with_its_exchange_alone():
    outcome = plan(world(TWO))
    assert list(digests(outcome)) == [EXCHANGE_ID]
    spec = spec_of(outcome, EXCHANGE_ID)
    assert table(spec, pb.TABLE_KIND_SNI) == {
        "sentinel.credit-risk.example.com": ("192.0.2.1", 443)
    }
    assert table(spec, pb.TABLE_KIND_NGINX) == {}
    assert {each.reason for each in outcome.waiting.values()} == {Reason.EXCHANGE_HAS_NO_ADDRESS}
    assert set(outcome.waiting) == {A, B}


def test_parties_go_on_once_the_exchange_has_addresses():
    outcome = plan(world(TWO, reports=[exchange_report()]))
    assert list(digests(outcome)) == [EXCHANGE_ID, A, B]
    assert outcome.waiting == {}
    assert {each.key: each.reason for each in outcome.unrouted} == {
        "9999": Reason.NO_ADDRESS,
        "10000": Reason.NO_ADDRESS,
    }


def test_a_deployed_party_keeps_its_document_while_the_exchange_has_no_address():
    lost = told(ready(), report(EXCHANGE_ID))
    outcome = plan(lost)
    assert list(digests(outcome)) == [EXCHANGE_ID]
    assert set(outcome.waiting) == {A, B}


def test_an_added_party_changes_its_own_document_and_the_exchange():
    before = digests(plan(ready()))
    third = party_report(10001, "10.0.0.11")
    after = digests(plan(world([*TWO, {"id": 10001}], reports=[*REPORTS, third])))
    changed = {each for each in after if after[each] != before.get(each)}
    assert changed == {EXCHANGE_ID, party_resource(10001)}


def test_a_changed_address_of_a_party_changes_the_exchange_alone():
    before = digests(plan(ready()))
    after = digests(plan(told(ready(), party_report(9999, "10.0.0.99"))))
    assert {each for each in after if after[each] != before[each]} == {EXCHANGE_ID}


def test_a_changed_address_of_the_exchange_changes_the_parties():
    before = digests(plan(ready()))
    after = digests(plan(told(ready(), exchange_report("10.0.0.2"))))
    assert {each for each in after if after[each] != before[each]} == {A, B}


def test_a_mere_phase_changes_nothing():
    before = digests(plan(ready()))
    after = plan(told(ready(), party_report(9999, "10.0.0.9", phase=Phase.DEGRADED)))
    assert digests(after) == before


def test_a_scope_gives_the_same_documents_as_planning_all():
    whole = digests(plan(ready()))
    for resource in (EXCHANGE_ID, A, B):
        part = plan(ready(), scope=frozenset({resource}))
        assert digests(part) == {resource: whole[resource]}
        assert part.routes == plan(ready()).routes


def test_a_leaving_party_leaves_the_tables_at_once():
    current = stored(plan(ready()).documents)
    outcome = plan(with_current(leaving(ready(), A), current))
    exchange = spec_of(outcome, EXCHANGE_ID)
    assert "9999.credit-risk.example.com" not in table(exchange, pb.TABLE_KIND_SNI)
    assert "9999" not in table(exchange, pb.TABLE_KIND_NGINX)
    (gone,) = [each for each in outcome.documents if each.resource_id == A]
    assert gone.absent
    assert gone.spec.SerializeToString(deterministic=True) == current[A].spec_bytes


def test_an_absent_document_stays_as_it_is():
    current = stored(plan(ready()).documents)
    given = leaving(ready(), A)
    first = stored(plan(with_current(given, current)).documents, current)
    second = stored(plan(with_current(given, first)).documents, first)
    assert second == first


def test_a_party_that_was_never_deployed_leaves_without_a_document():
    outcome = plan(leaving(world(TWO), A))
    assert A not in digests(outcome)


def test_an_exchange_goes_after_the_last_cluster():
    current = stored(plan(ready()).documents)
    given = leaving(ready(), EXCHANGE_ID, A, B)
    first = plan(with_current(given, current))
    assert {each.resource_id: each.absent for each in first.documents} == {
        EXCHANGE_ID: False,
        A: True,
        B: True,
    }
    assert first.waiting[EXCHANGE_ID].reason is Reason.WAITS_FOR_CLUSTERS
    tables = spec_of(first, EXCHANGE_ID)
    assert list(table(tables, pb.TABLE_KIND_SNI)) == ["sentinel.credit-risk.example.com"]
    values = cluster_yaml(tables)
    assert values["nginx"]["route_table"] == {}
    assert [each["fqdn"] for each in values["trafficServer"]["route_table"]["sni"]] == [
        "sentinel.credit-risk.example.com"
    ]
    current = stored(first.documents, current)

    one_gone = told(given, party_report(9999, "10.0.0.9", phase=Phase.GONE, generation=2))
    still = plan(with_current(one_gone, current))
    assert digests(still) == digests(first)

    both = told(one_gone, party_report(10000, "10.0.0.10", phase=Phase.GONE, generation=2))
    last = plan(with_current(both, current))
    assert {each.resource_id for each in last.documents if each.absent} == {EXCHANGE_ID, A, B}
    assert last.waiting == {}


def test_a_gone_that_speaks_of_an_older_generation_does_not_count():
    current = stored(plan(ready()).documents)
    given = leaving(ready(), EXCHANGE_ID, A, B)
    current = stored(plan(with_current(given, current)).documents, current)
    stale = told(
        given,
        party_report(9999, "10.0.0.9", phase=Phase.GONE, generation=1),
        party_report(10000, "10.0.0.10", phase=Phase.GONE, generation=2),
    )
    outcome = plan(with_current(stale, current))
    assert not next(e for e in outcome.documents if e.resource_id == EXCHANGE_ID).absent


def test_while_its_exchange_leaves_a_staying_party_is_not_touched():
    current = stored(plan(ready()).documents)
    outcome = plan(with_current(leaving(ready(), EXCHANGE_ID, A), current))
    assert B not in digests(outcome)
    assert outcome.waiting[B].reason is Reason.EXCHANGE_LEAVES
    assert "10000" in table(spec_of(outcome, EXCHANGE_ID), pb.TABLE_KIND_NGINX)


def test_the_exchange_is_asked_to_resolve_what_parties_advertise():
    given = world(
        [{"id": 9999, "advertise": {"pulsar": "fate.bank.example:30109"}}], reports=REPORTS
    )
    spec = spec_of(plan(given), EXCHANGE_ID)
    assert list(spec.resolve_names) == ["fate.bank.example"]
    assert "9999" not in table(spec, pb.TABLE_KIND_NGINX)
    resolved = told(given, exchange_report(resolutions={"fate.bank.example": "198.51.100.4"}))
    sni = table(spec_of(plan(resolved), EXCHANGE_ID), pb.TABLE_KIND_SNI)
    assert sni["9999.credit-risk.example.com"] == ("198.51.100.4", 30109)


def test_a_party_starts_with_what_the_exchange_resolved_and_goes_on_with_its_own():
    advertise = {"ats": "x.hub.example:443", "nginx": "x.hub.example:9300"}
    given = world([{"id": 9999}], exchange={"advertise": advertise}, reports=[exchange_report()])
    outcome = plan(given)
    assert list(spec_of(outcome, EXCHANGE_ID).resolve_names) == ["x.hub.example"]
    assert outcome.waiting[A].reason is Reason.EXCHANGE_HAS_NO_ADDRESS

    public = told(given, exchange_report(resolutions={"x.hub.example": "203.0.113.1"}))
    spec = spec_of(plan(public), A)
    assert table(spec, pb.TABLE_KIND_PULSAR) == {"default": ("203.0.113.1", 443)}
    assert list(spec.resolve_names) == ["x.hub.example"]

    inside = told(public, report(A, resolutions={"x.hub.example": "10.9.9.9"}))
    spec = spec_of(plan(inside), A)
    assert table(spec, pb.TABLE_KIND_NGINX) == {"default": ("10.9.9.9", 9300)}


def test_a_federation_without_an_exchange_routes_from_party_to_party():
    given = world(TWO, exchange=None, reports=REPORTS)
    spec = spec_of(plan(given), A)
    assert list(spec.certificates) == []
    assert [(each.role, each.port_name) for each in spec.addresses] == [
        ("pulsar", "http-port"),
        ("nginx", "http"),
    ]
    assert table(spec, pb.TABLE_KIND_PULSAR) == {
        "9999": ("pulsar", 6650),
        "10000": ("10.0.0.10", 30109),
    }
    assert table(spec, pb.TABLE_KIND_NGINX) == {
        "default": ("192.0.2.1", 9300),
        "10000": ("10.0.0.10", 30103),
    }
    values = cluster_yaml(spec)
    assert "exchange" not in values["pulsar"]
    assert values["pulsar"]["route_table"]["9999"] == {
        "host": "pulsar",
        "port": 6650,
        "sslPort": 6651,
        "proxy": "",
    }


@pytest.mark.parametrize(
    ("expose", "nginx", "pulsar", "public", "service"),
    [
        ("NodePort", "NodePort", "NodePort", False, ("pulsar", "https-port")),
        ("LoadBalancer", "LoadBalancer", "ClusterIP", True, ("pulsar-public-tls", "tls-port")),
        ("ClusterIP", "ClusterIP", "ClusterIP", False, ("pulsar", "https-port")),
    ],
)
def test_a_party_is_exposed_as_its_intent_says(expose, nginx, pulsar, public, service):
    given = world([{"id": 9999, "expose": expose}], reports=REPORTS)
    spec = spec_of(plan(given), A)
    values = cluster_yaml(spec)
    assert values["nginx"]["type"] == nginx
    assert values["pulsar"]["type"] == pulsar
    assert values["pulsar"]["publicLB"] == {"enabled": public}
    found = {each.role: (each.service, each.port_name) for each in spec.addresses}
    assert found == {"pulsar": service, "nginx": ("nginx", "http")}


def test_an_overlay_is_laid_upon_the_defaults_and_below_what_is_computed():
    overlay = {
        "registry": "hub.bank.example/fate",
        "python": {"resources": {"requests": {"cpu": "2"}}},
        "nginx": {"httpNodePort": 30103},
    }
    given = world([{"id": 9999, "values": overlay}], reports=REPORTS)
    values = cluster_yaml(spec_of(plan(given), A))
    assert values["registry"] == "hub.bank.example/fate"
    assert values["python"]["resources"] == {"requests": {"cpu": "2"}}
    assert values["python"]["type"] == "ClusterIP"
    assert values["nginx"]["httpNodePort"] == 30103
    assert values["nginx"]["exchange"]["ip"] == "10.0.0.1"


def test_what_the_agent_adds_is_not_in_the_document():
    for each in plan(ready()).documents:
        assert not [key for key in cluster_yaml(each.spec) if key.startswith("lcm")]


def test_a_chart_that_the_hub_holds_is_fetched_from_it():
    charts = frozenset({RELEASE.exchange.chart.sha256})
    outcome = plan(ready(charts=charts))
    assert spec_of(outcome, EXCHANGE_ID).chart.from_hub
    assert not spec_of(outcome, A).chart.from_hub


def test_an_intent_whose_exchange_is_not_stored_yet_holds_its_parties():
    given = ready()
    without = dataclasses.replace(given, members=given.members[1:])
    outcome = plan(without)
    assert outcome.documents == ()
    assert {each.reason for each in outcome.waiting.values()} == {Reason.EXCHANGE_HAS_NO_ADDRESS}
    assert [each.key for each in outcome.routes.parties] == ["9999", "10000"]


def test_planning_a_party_out_of_scope_costs_it_nothing():
    given = world(TWO, exchange=None, reports=REPORTS)
    assert list(digests(plan(given, scope=frozenset({B})))) == [B]
    current = stored(plan(ready()).documents)
    all_leave = with_current(leaving(ready(), EXCHANGE_ID, A, B), current)
    part = plan(all_leave, scope=frozenset({A}))
    assert list(digests(part)) == [A]
    assert part.waiting == {}
