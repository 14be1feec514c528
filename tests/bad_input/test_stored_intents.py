"""A rule that became stricter after an intent was stored: nothing breaks, and people are told."""

from __future__ import annotations

import copy

import pytest
from tests.support.hub import federation, party

from fedhub.services.intents import read_intent
from fedhub.store import federations

OLD, NEW = "old-rules", "new-rules"
LOCALHOST = "localhost:30109"


@pytest.fixture
async def two(lab):
    """Deploy two federations at the same sites; today's rules refuse a host of the first."""
    sites = [await lab.good_site(name) for name in ("hq", "alpha")]
    for name in (OLD, NEW):
        applied = await lab.rest.apply(intent(name))
        await lab.rest.operation_ends(applied["operation"]["id"])
    await spoil(lab, "parties.0.advertise.pulsar", LOCALHOST)
    return sites


def intent(name, **more):
    return federation(
        [party(9999, "alpha", namespace=f"{name}-9999", **more)],
        name=name,
        exchange={"site": "hq", "expose": "NodePort", "namespace": f"{name}-exchange"},
    )


async def spoil(lab, path, value):
    """Put a value into the stored intent that no caller could put there any more."""
    async with lab.hub.database.begin() as db:
        found = await federations.by_name(db, OLD)
        written = copy.deepcopy(found.intent)
        *owners, last = path.split(".")
        owner = written
        for step in owners:
            owner = owner[int(step)] if isinstance(owner, list) else owner[step]
        owner[last] = value
        await federations.update(db, found.id, intent=written)


async def party_document(lab, site, name):
    found = await lab.rest.get(f"/api/v1/participants/{name}/9999")
    return site.agent.held[found["participant"]["id"]]


async def test_both_are_listed_and_the_fault_is_named_with_the_cure(lab, two):
    listed = (await lab.rest.get("/api/v1/federations"))["items"]
    by_name = {one["name"]: one for one in listed}
    assert (by_name[NEW]["errors"], by_name[NEW]["unplannable"]) == ([], False)
    (fault,) = by_name[OLD]["errors"]
    assert fault["path"] == "parties.0.advertise.pulsar"
    assert "write an address that all reach" in fault["message"]
    assert by_name[OLD]["unplannable"]
    assert (await lab.rest.get(f"/api/v1/federations/{OLD}"))["errors"] == [fault]
    assert len((await lab.rest.get("/api/v1/participants"))["items"]) == 4


async def test_reports_of_both_are_taken_and_only_the_good_one_is_planned(lab, two):
    hq, alpha = two
    await alpha.move("10.9.9.9")
    exchange = await lab.rest.get(f"/api/v1/participants/{NEW}/exchange")
    resource_id = exchange["participant"]["id"]
    await hq.agent.live.holds(lambda held: "10.9.9.9" in str(held[resource_id]), "the new address")
    await alpha.agent.live.beat(7)
    events = await lab.rest.events("&kind=federation.unplannable")
    assert [(one["severity"], OLD in one["message"]) for one in events] == [("error", True)]
    assert "apply a corrected file" in events[0]["message"]
    shown = await lab.rest.get(f"/api/v1/participants/{OLD}/9999")
    assert shown["addresses"][0]["ip"] == "10.9.9.9", "what the site says is stored all the same"
    held = await party_document(lab, alpha, OLD)
    assert held.generation == 1, "its document stays as it is"


async def test_its_routes_are_still_shown(lab, two):
    found = await lab.rest.get(f"/api/v1/federations/{OLD}/routes")
    assert found["routes"]
    assert "apply a corrected file" in found["unrouted"][0]["reason"]


async def test_a_corrected_file_mends_it(lab, two):
    applied = await lab.rest.apply(intent(OLD, advertise={"pulsar": "203.0.113.7:30109"}))
    await lab.rest.operation_ends(applied["operation"]["id"])
    found = await lab.rest.get(f"/api/v1/federations/{OLD}")
    assert (found["errors"], found["unplannable"]) == ([], False)


async def test_the_other_one_can_be_changed_and_a_third_applied(lab, two):
    for name in (NEW, "third"):
        applied = await lab.rest.apply(
            intent(name, advertise={"pulsar": f"203.0.113.{len(name)}:30109"})
        )
        await lab.rest.operation_ends(applied["operation"]["id"])


@pytest.mark.parametrize(
    ("path", "value"),
    [("domain", "x" * 60 + ".example.com"), ("parties.0.id", 10**7), ("exchange.expose", "Hole")],
)
async def test_it_can_be_removed_whatever_is_wrong_with_it(lab, two, path, value):
    await spoil(lab, path, value)
    answer = await lab.rest.good("DELETE", f"/api/v1/federations/{OLD}?cascade=true")
    await lab.rest.operation_ends(answer["operation"]["id"])
    listed = (await lab.rest.get("/api/v1/federations"))["items"]
    assert [one["name"] for one in listed] == [NEW]


async def test_what_can_still_be_planned_is_only_marked(lab, two):
    """A namespace that is refused today breaks nothing: its documents go on following reports."""
    _, alpha = two
    await spoil(lab, "parties.0.advertise.pulsar", None)
    await spoil(lab, "parties.0.values", {"python": {"logLevel": '"INFO'}})
    found = await lab.rest.get(f"/api/v1/federations/{OLD}")
    assert found["errors"][0]["path"] == "parties.0.values.python.logLevel"
    assert not found["unplannable"]
    await alpha.move("10.9.9.9")
    await alpha.agent.live.beat(7)
    assert await lab.rest.events("&kind=federation.unplannable") == []


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"parties": None},
        {"parties": [None, 5, {}, {"id": "x", "site": "alpha"}, {"id": 1, "site": "alpha"}]},
        {"exchange": {"site": 5}},
        {"exchange": {"site": "hq", "advertise": "text"}, "parties": "text"},
        {"name": 5, "domain": None, "unknown": {"deep": []}},
    ],
)
def test_no_stored_value_is_unreadable(written):
    stored = read_intent(written)
    assert stored.is_unplannable
    assert stored.errors
    assert stored.unplannable_reason("f")
    for one in stored.intent.parties:
        assert one.effective_namespace
