from __future__ import annotations

from tests.planner.strategies import (
    EXCHANGE_ID,
    exchange_report,
    leaving,
    party_report,
    party_resource,
    report,
    stored,
    told,
    with_current,
    world,
)

from fedcore.words import Phase
from fedhub.planner.impact import affected_by
from fedhub.planner.plan import plan

A, B = party_resource(9999), party_resource(10000)
TWO = [{"id": 9999}, {"id": 10000}]
READY = [exchange_report(), party_report(9999, "10.0.0.9"), party_report(10000, "10.0.0.10")]


def test_a_phase_touches_nothing():
    before, after = READY[1], party_report(9999, "10.0.0.9", phase=Phase.DEGRADED)
    assert affected_by(world(TWO, reports=READY), A, before, after) == frozenset()


def test_the_address_of_a_party_touches_the_exchange():
    after = party_report(9999, "10.0.0.99")
    assert affected_by(world(TWO, reports=READY), A, READY[1], after) == {EXCHANGE_ID}
    assert affected_by(world(TWO, reports=READY), A, None, after) == {EXCHANGE_ID}


def test_an_address_that_the_operator_overrules_touches_nothing():
    advertise = {"pulsar": "203.0.113.7:30109", "nginx": "203.0.113.7:30103"}
    plan_input = world([{"id": 9999, "advertise": advertise}], reports=READY)
    after = party_report(9999, "10.0.0.99")
    assert affected_by(plan_input, A, READY[1], after) == frozenset()


def test_the_address_of_the_exchange_touches_all():
    plan_input = world(TWO, reports=READY)
    assert affected_by(plan_input, EXCHANGE_ID, READY[0], exchange_report("10.0.0.2")) is None


def test_what_the_exchange_resolves_for_parties_touches_the_exchange():
    after = exchange_report(resolutions={"fate.bank.example": "198.51.100.4"})
    assert affected_by(world(TWO, reports=READY), EXCHANGE_ID, READY[0], after) == {EXCHANGE_ID}


def test_what_the_exchange_resolves_for_itself_touches_all():
    plan_input = world(TWO, exchange={"advertise": {"ats": "x.hub.example:443"}}, reports=READY)
    after = exchange_report(resolutions={"x.hub.example": "198.51.100.4"})
    assert affected_by(plan_input, EXCHANGE_ID, READY[0], after) is None


def test_what_a_party_resolves_touches_itself():
    after = party_report(9999, "10.0.0.9", resolutions={"x.hub.example": "10.1.1.1"})
    assert affected_by(world(TWO, reports=READY), A, READY[1], after) == {A}


def test_without_an_exchange_an_address_touches_all():
    plan_input = world(TWO, exchange=None, reports=READY)
    assert affected_by(plan_input, A, READY[1], party_report(9999, "10.0.0.99")) is None


def test_the_last_leaving_cluster_that_is_gone_touches_its_leaving_exchange():
    plan_input = world(TWO, reports=READY)
    current = stored(plan(plan_input).documents)
    all_leave = with_current(leaving(plan_input, EXCHANGE_ID, A, B), current)
    current = stored(plan(all_leave).documents, current)
    all_leave = with_current(all_leave, current)
    gone = party_report(9999, "10.0.0.9", phase=Phase.GONE, generation=2)
    assert affected_by(all_leave, A, READY[1], gone) == frozenset(), "the other one remains"

    other_gone = party_report(10000, "10.0.0.10", phase=Phase.GONE, generation=2)
    last = told(all_leave, other_gone)
    assert affected_by(last, A, READY[1], gone) == {EXCHANGE_ID}
    assert affected_by(told(last, gone), A, READY[1], gone) == {EXCHANGE_ID}
    assert affected_by(last, A, gone, gone) == frozenset()
    stale = party_report(9999, "10.0.0.9", phase=Phase.GONE, generation=1)
    assert affected_by(last, A, READY[1], stale) == frozenset(), "an earlier removal's"
    assert affected_by(last, A, stale, gone) == {EXCHANGE_ID}

    one_leaves = with_current(leaving(plan_input, A), current)
    assert affected_by(one_leaves, A, READY[1], gone) == frozenset(), "the exchange stays"


def test_a_report_on_somebody_else_touches_nothing():
    assert affected_by(world(TWO), "unknown", None, report("unknown")) == frozenset()
