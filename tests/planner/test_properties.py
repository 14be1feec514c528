"""Properties that hold for any members, addresses and order of reports."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.strategies import (
    DOMAIN,
    EXCHANGE_ID,
    cluster_yaml,
    digests,
    exchange_report,
    leaving,
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
from fedhub.planner.impact import affected_by, may_affect
from fedhub.planner.plan import PlanInput, plan
from fedhub.planner.routes import is_tunnel_port
from fedproto.agent.v1 import document_pb2 as pb

IPS = st.sampled_from(
    [f"10.0.{a}.{b}" for a in range(4) for b in (1, 2)] + ["127.4.5.6", "::1", ""]
)
PORTS = st.sampled_from([443, 6650, 6651, 8443, 30000, 30109, 31234, 33000, 33001])
PARTY_IDS = st.integers(1, 999_999)
NAMES = st.sampled_from(["a.bank.example", "b.bank.example"])
FEW = settings(max_examples=60, deadline=None)


@st.composite
def parties(draw, least: int = 0):
    ids = draw(st.lists(PARTY_IDS, unique=True, min_size=least, max_size=7))
    found = []
    for party_id in ids:
        party = {"id": party_id, "expose": draw(st.sampled_from(["NodePort", "LoadBalancer"]))}
        if draw(st.integers(0, 4)) == 0:
            party["advertise"] = {"pulsar": f"p{party_id}.{draw(NAMES)}:30500"}
        found.append(party)
    return found


@st.composite
def party_reports(draw, ids):
    found = []
    for party_id in ids:
        if draw(st.integers(0, 4)) == 0:
            continue
        addresses = {
            role: (draw(IPS), draw(PORTS))
            for role in ("pulsar", "nginx")
            if draw(st.integers(0, 9)) > 0
        }
        found.append(
            report(party_resource(party_id), addresses, phase=draw(st.sampled_from(Phase)))
        )
    return found


@st.composite
def worlds(draw, *, has_exchange: bool = True) -> PlanInput:
    members = draw(parties())
    told_ = draw(party_reports([each["id"] for each in members]))
    names = draw(st.sets(NAMES))
    resolutions = {f"p{m['id']}.{name}": "198.51.100.7" for m in members for name in names}
    if has_exchange and draw(st.booleans()):
        told_.append(exchange_report("10.9.9.9", resolutions=resolutions))
    return world(members, exchange={} if has_exchange else None, reports=told_)


def routed(outcome) -> set[str]:
    return {each.key for each in outcome.routes.parties}


@FEW
@given(worlds(), st.randoms())
def test_the_order_of_members_does_not_matter_and_twice_gives_the_same_bytes(given_, rng):
    shuffled = list(given_.members)
    rng.shuffle(shuffled)
    first, second = plan(given_), plan(dataclasses.replace(given_, members=tuple(shuffled)))
    assert first == second
    assert [each.spec.SerializeToString() for each in first.documents] == [
        each.spec.SerializeToString() for each in second.documents
    ]


@FEW
@given(worlds())
def test_the_exchange_never_gets_a_table_that_its_proxies_cannot_bear(given_):
    spec = spec_of(plan(given_), EXCHANGE_ID)
    sni, nginx = table(spec, pb.TABLE_KIND_SNI), table(spec, pb.TABLE_KIND_NGINX)
    assert sni[f"sentinel.{DOMAIN}"] == ("192.0.2.1", 443)
    assert len({key.lower() for key in sni}) == len(sni)
    for host, port in sni.values():
        assert ipaddress.ip_address(host).version == 4
        assert is_tunnel_port(port)
    for host, _ in nginx.values():
        assert ipaddress.ip_address(host).version == 4
    assert len(set(nginx.values())) == len(nginx)
    assert len(set(sni.values())) == len(sni)


@FEW
@given(worlds())
def test_cluster_yaml_and_tables_say_the_same(given_):
    spec = spec_of(plan(given_), EXCHANGE_ID)
    values = cluster_yaml(spec)
    rows = values["trafficServer"]["route_table"]["sni"]
    assert {each["fqdn"]: each["tunnelRoute"] for each in rows} == {
        key: f"{host}:{port}" for key, (host, port) in table(spec, pb.TABLE_KIND_SNI).items()
    }
    routes = {
        key: (each["fateflow"][0]["host"], each["fateflow"][0]["http_port"])
        for key, each in values["nginx"]["route_table"].items()
    }
    assert routes == table(spec, pb.TABLE_KIND_NGINX)
    assert spec.cluster_json == json.dumps(values, sort_keys=True, separators=(",", ":"))


@FEW
@given(worlds())
def test_every_party_is_either_routed_or_named_with_its_reason(given_):
    outcome = plan(given_)
    everyone = {str(each.id) for each in given_.intent.parties}
    unrouted = {each.key for each in outcome.unrouted}
    assert routed(outcome) | unrouted == everyone
    assert not routed(outcome) & unrouted
    assert all(each.message for each in outcome.unrouted)


@FEW
@given(worlds())
def test_every_routed_party_is_reached_by_every_other_as_the_tables_are_written(given_):
    outcome = plan(given_)
    if outcome.routes.exchange is None:
        return
    relay = spec_of(outcome, EXCHANGE_ID)
    sni, nginx = table(relay, pb.TABLE_KIND_SNI), table(relay, pb.TABLE_KIND_NGINX)
    exchange = outcome.routes.exchange
    by_key = {each.key: each for each in outcome.routes.parties}
    for party in given_.intent.parties:
        spec = spec_of(outcome, party_resource(party.id))
        hop = table(spec, pb.TABLE_KIND_PULSAR)["default"]
        assert hop == (exchange.ats.ip, exchange.ats.port)
        assert table(spec, pb.TABLE_KIND_NGINX) == {
            "default": (exchange.nginx.ip, exchange.nginx.port)
        }
        domain = cluster_yaml(spec)["pulsar"]["exchange"]["domain"]
        for key, route in by_key.items():
            assert sni[f"{key}.{domain}"] == (route.pulsar.ip, route.pulsar.port)
            assert nginx[key] == (route.nginx.ip, route.nginx.port)


@FEW
@given(worlds(has_exchange=False))
def test_without_an_exchange_every_routed_party_is_in_the_tables_of_every_other(given_):
    outcome = plan(given_)
    keys = {str(each.id) for each in given_.intent.parties if not each.advertise.pulsar}
    for party in given_.intent.parties:
        spec = spec_of(outcome, party_resource(party.id))
        pulsar, nginx = table(spec, pb.TABLE_KIND_PULSAR), table(spec, pb.TABLE_KIND_NGINX)
        own = {str(party.id)}
        assert (routed(outcome) & keys) - own <= set(pulsar) - own <= routed(outcome)
        assert set(nginx) - {"default"} == set(pulsar) - own
        assert pulsar[str(party.id)] == ("pulsar", 6650)


@FEW
@given(worlds(), st.randoms())
def test_no_table_mentions_a_party_that_left(given_, rng):
    if not given_.intent.parties:
        return
    current = stored(plan(given_).documents)
    chosen = rng.choice(given_.intent.parties).id
    after = with_current(leaving(given_, party_resource(chosen)), current)
    spec = spec_of(plan(after), EXCHANGE_ID)
    assert str(chosen) not in table(spec, pb.TABLE_KIND_NGINX)
    assert f"{chosen}.{DOMAIN}" not in table(spec, pb.TABLE_KIND_SNI)


@FEW
@given(worlds(), PARTY_IDS)
def test_adding_a_party_changes_the_exchange_and_its_own_document_alone(given_, party_id):
    ids = {each.id for each in given_.intent.parties}
    if party_id in ids:
        return
    before = digests(plan(given_))
    payload = [each.model_dump(mode="json", exclude_none=True) for each in given_.intent.parties]
    reports = [each.report for each in given_.members if each.report]
    after = digests(plan(world([*payload, {"id": party_id}], reports=reports)))
    changed = {each for each in after if after[each] != before.get(each)}
    assert changed <= {EXCHANGE_ID, party_resource(party_id)}
    assert set(before) <= set(after)


@st.composite
def stages(draw) -> PlanInput:
    """A federation at any time of its life: some members leave, some documents are absent."""
    plan_input = draw(worlds(has_exchange=draw(st.booleans())))
    everyone = [member.participant.id for member in plan_input.members]
    if not everyone:
        return plan_input
    current = stored(plan(plan_input).documents)
    gone = draw(st.sets(st.sampled_from(everyone)))
    plan_input = with_current(leaving(plan_input, *gone), current)
    if draw(st.booleans()):
        current = stored(plan(plan_input).documents, current)
        plan_input = with_current(plan_input, current)
    reports = [
        dataclasses.replace(
            member.report,
            phase=draw(st.sampled_from([Phase.GONE, Phase.REMOVING])),
            observed_generation=draw(st.integers(1, 3)),
        )
        for member in plan_input.members
        if member.is_leaving and member.report is not None
    ]
    return told(plan_input, *reports)


@st.composite
def next_reports(draw, member):
    """What a member may report next: often its last report with another phase or generation."""
    if member.report is not None and draw(st.booleans()):
        return dataclasses.replace(
            member.report,
            phase=draw(st.sampled_from(Phase)),
            observed_generation=draw(st.integers(1, 3)),
        )
    if member.is_exchange:
        return exchange_report(draw(st.sampled_from(["10.9.9.9", "10.0.0.1"])))
    reports = draw(party_reports([member.participant.party_id]))
    return reports[0] if reports else report(member.participant.id)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_report_changes_the_documents_in_its_scope_and_no_other(data):
    plan_input = data.draw(stages())
    if not plan_input.members:
        return
    member = data.draw(st.sampled_from(plan_input.members))
    before, after = member.report, data.draw(next_reports(member))
    changed = told(plan_input, after)
    scope = affected_by(changed, member.participant.id, before, after)
    assert scope == affected_by(plan_input, member.participant.id, before, after)

    first, second = plan(plan_input), plan(changed)
    old, new = digests(first), digests(second)
    differing = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    differing |= {
        key
        for key in first.waiting.keys() | second.waiting.keys()
        if first.waiting.get(key) != second.waiting.get(key)
    }
    if not may_affect(member.participant, before, after):
        assert scope == frozenset()
    if scope is None:
        return
    assert differing <= scope
    part = plan(changed, scope=scope)
    assert digests(part) == {key: digest for key, digest in new.items() if key in scope}
    assert part.waiting == {key: why for key, why in second.waiting.items() if key in scope}
    is_phase_alone = before is not None and after == dataclasses.replace(
        before, phase=after.phase, observed_generation=after.observed_generation
    )
    if is_phase_alone:
        assert scope <= differing, "a phase names nobody whose document stays"


@settings(max_examples=25, deadline=None)
@given(parties(least=2), st.integers(0, 2**32))
def test_reports_in_any_order_end_in_the_same_documents_with_every_party_routed(members, seed):
    """Sites report when they please; each stored document gives its site addresses."""
    rng = random.Random(seed)
    members = [{"id": each["id"], "expose": each["expose"]} for each in members]
    given_ = world(members)
    current, generations = {}, 0
    for _ in range(200):
        outcome = plan(with_current(given_, current))
        current = stored(outcome.documents, current)
        silent = [
            each
            for each in given_.members
            if each.participant.id in current and (each.report is None or not each.report.addresses)
        ]
        if not silent:
            break
        generations += 1
        speaker = rng.choice(silent)
        given_ = told(given_, addresses_of(speaker.participant.party_id, speaker.participant.id))
    outcome = plan(given_)
    assert routed(outcome) == {str(each["id"]) for each in members}
    assert digests(outcome) == {key: each.digest for key, each in current.items()}
    assert current[EXCHANGE_ID].generation <= len(members) + 1
    assert all(current[party_resource(each["id"])].generation == 1 for each in members)
    assert generations == len(members) + 1


def addresses_of(party_id: int, resource: str):
    if resource == EXCHANGE_ID:
        return exchange_report()
    ip = f"10.{1 + party_id // 65536}.{party_id // 256 % 256}.{party_id % 256}"
    return report(resource, {"pulsar": (ip, 30109), "nginx": (ip, 30103)})


@FEW
@given(worlds(), st.data())
def test_what_is_taken_back_gets_the_document_that_it_had_and_nobody_wanted_stays_absent(
    given_, data
):
    everyone = [each.participant.id for each in given_.members]
    chosen = data.draw(st.sets(st.sampled_from(everyone)))
    if EXCHANGE_ID in chosen:
        # An exchange goes only with its parties.
        chosen = set(everyone)
    first = plan(given_)
    current = stored(first.documents)
    current = stored(plan(with_current(leaving(given_, *chosen), current)).documents, current)
    outcome = plan(with_current(given_, current))
    assert not [each for each in outcome.documents if each.absent]
    after = stored(outcome.documents, current)
    assert {key: each.digest for key, each in after.items()} == digests(first)
    assert not [each for each in after.values() if each.absent]


@FEW
@given(worlds(), st.data())
def test_a_party_that_comes_back_and_must_wait_is_not_removed_meanwhile(given_, data):
    parties_ = [each.participant.id for each in given_.members if not each.is_exchange]
    if not parties_:
        return
    chosen = data.draw(st.sampled_from(parties_))
    addressed = told(given_, exchange_report())
    current = stored(plan(addressed).documents)
    current = stored(plan(with_current(leaving(addressed, chosen), current)).documents, current)
    mute = told(given_, report(EXCHANGE_ID))
    outcome = plan(with_current(mute, current))
    after = stored(outcome.documents, current)
    assert chosen in outcome.waiting
    assert not after[chosen].absent
    assert after[chosen].generation == 3
