from __future__ import annotations

import pytest
from tests.support.hub import ManualClock, federation, party, running_test_hub

from fedhub.services import presence
from fedproto.agent.v1 import status_pb2


@pytest.fixture
async def slow_lab(tmp_path, hub_template):
    clock = ManualClock()
    async with running_test_hub(tmp_path, template=hub_template, clock=clock) as under_test:
        yield under_test, clock


async def state(lab, operation_id):
    found = await lab.rest.get(f"/api/v1/operations/{operation_id}")
    return found["operation"]["state"]


def own(site):
    return next(d for d in site.agent.held.values() if d.HasField("participant"))


async def test_an_operation_runs_until_every_resource_is_where_it_shall_be(lab):
    await lab.good_site("hq")
    alpha = await lab.good_site("alpha")
    await alpha.stop()
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    operation_id = applied["operation"]["id"]
    await alpha.agent.live.holds(lambda held: len(held) == 2)
    document = own(alpha)
    status = alpha.status_of(document, phase=status_pb2.PHASE_DEPLOYING)
    status.steps.add(name="install", state=status_pb2.STEP_STATE_RUNNING)
    await alpha.agent.live.report(status)
    progress = await lab.rest.until(
        f"/api/v1/operations/{operation_id}",
        lambda one: any(t["phase"] == "Deploying" for t in one["progress"]),
    )
    assert progress["operation"]["state"] == "Running"
    target = next(t for t in progress["progress"] if t["name"] == "credit-risk/9999")
    assert [(s["name"], s["state"]) for s in target["steps"]] == [("install", "Running")]
    for one in list(alpha.agent.held.values()):
        await alpha.agent.live.report(alpha.status_of(one))
    ended = await lab.rest.operation_ends(operation_id)
    assert (ended["state"], all(t["done"] for t in ended["targets"])) == ("Succeeded", True)
    assert ended["ended_at"] is not None


@pytest.mark.parametrize("phase", [status_pb2.PHASE_FAILED, status_pb2.PHASE_REFUSED])
async def test_a_failure_that_needs_a_person_ends_it_with_the_cause(lab, phase):
    await lab.good_site("hq")
    alpha = await lab.good_site("alpha")
    await alpha.stop()
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    await alpha.agent.live.holds(lambda held: len(held) == 2)
    status = alpha.status_of(own(alpha), reason="ImagePullFailed", message="no such image")
    status.phase = phase
    await alpha.agent.live.report(status)
    ended = await lab.rest.operation_ends(applied["operation"]["id"])
    assert (ended["state"], ended["message"]) == ("Failed", "ImagePullFailed: no such image")


async def test_a_newer_change_of_the_same_party_supersedes_it(lab):
    await lab.good_site("hq")
    alpha = await lab.good_site("alpha")
    await alpha.stop()
    first = await lab.rest.apply(federation([party(9999, "alpha")]))
    await alpha.agent.live.holds(lambda held: len(held) == 2)
    values = {"python": {"resources": {"requests": {"cpu": "2"}}}}
    second = await lab.rest.apply(federation([party(9999, "alpha", values=values)]))
    ended = await lab.rest.operation_ends(first["operation"]["id"])
    assert ended["state"] == "Superseded"
    assert second["operation"]["id"] in ended["message"]
    assert await state(lab, second["operation"]["id"]) == "Running"


async def test_a_report_of_an_older_generation_moves_nothing(lab):
    await lab.good_site("hq")
    alpha = await lab.good_site("alpha")
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    await alpha.stop()
    old = own(alpha)
    values = {"python": {"resources": {"requests": {"cpu": "2"}}}}
    applied = await lab.rest.apply(federation([party(9999, "alpha", values=values)]))
    await alpha.agent.live.document(old.resource_id, 2)
    await alpha.agent.live.report(alpha.status_of(old))
    await alpha.agent.live.beat()
    assert await state(lab, applied["operation"]["id"]) == "Running"
    shown = await lab.rest.get("/api/v1/participants/credit-risk/9999")
    assert shown["participant"]["phase"] == "Reconfiguring"


async def test_losing_sight_of_a_site_stalls_it_and_seeing_it_again_lets_it_run(slow_lab):
    lab, clock = slow_lab
    await lab.good_site("hq")
    alpha = await lab.good_site("alpha")
    await alpha.stop()
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    operation_id = applied["operation"]["id"]
    await alpha.agent.live.holds(lambda held: len(held) == 2)
    await alpha.agent.close()
    await lab.rest.until("/api/v1/sites/alpha", lambda one: one["state"] == "Disconnected")
    clock.advance(60)
    await lab.agents[0].live.beat()
    await presence.flush_heartbeats(lab.hub)
    await presence.mark_offline(lab.hub)
    await presence.refresh_operations(lab.hub)
    shown = (await lab.rest.get(f"/api/v1/operations/{operation_id}"))["operation"]
    assert (shown["state"], shown["message"]) == ("Stalled", "waiting for site alpha")
    participant = await lab.rest.get("/api/v1/participants/credit-risk/9999")
    assert participant["participant"]["phase"] == "Unknown"
    await alpha.agent.connect()
    await presence.refresh_operations(lab.hub)
    assert await state(lab, operation_id) == "Running"
    for one in list(alpha.agent.held.values()):
        await alpha.agent.live.report(alpha.status_of(one))
    assert (await lab.rest.operation_ends(operation_id))["state"] == "Succeeded"


async def test_operations_are_listed_by_federation_and_state(lab):
    await lab.good_site("hq")
    applied = await lab.rest.apply(federation([]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    path = "/api/v1/operations?federation=credit-risk&state="
    assert len((await lab.rest.get(path + "Succeeded"))["items"]) == 1
    assert (await lab.rest.get(path + "Failed"))["items"] == []
    assert (await lab.rest.call("GET", "/api/v1/operations/nothing")).status == 404
