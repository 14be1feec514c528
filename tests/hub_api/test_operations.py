from __future__ import annotations

import pytest
from tests.support.hub import federation, party

from fedcore.words import Phase
from fedhub.services import liveness
from fedproto.agent.v1 import status_pb2


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
    assert (ended["state"], ended["message"]) == (
        "Failed",
        f"credit-risk/9999 at alpha is {Phase(status_word(phase))}: ImagePullFailed: no such image",
    )


def status_word(phase):
    return status_pb2.Phase.Name(phase).removeprefix("PHASE_").capitalize()


async def failed(lab, *, reason="actions.install"):
    """Apply two parties that both are refused: the operation fails by the first."""
    await lab.good_site("hq")
    sites = [await lab.good_site(name) for name in ("alpha", "beta")]
    for site in sites:
        await site.stop()
    applied = await lab.rest.apply(federation([party(9999, "alpha"), party(10000, "beta")]))
    operation_id = applied["operation"]["id"]
    for site in sites:
        await site.agent.live.holds(lambda held: len(held) == 2)
        for document in site.agent.held.values():
            if document.HasField("endpoint"):
                await site.agent.live.report(site.status_of(document))
    return (operation_id, *sites)


def refused(site):
    status = site.status_of(own(site), reason="actions.install", message="the policy denies it")
    status.phase = status_pb2.PHASE_REFUSED
    return status


async def test_a_failed_operation_goes_on_when_the_participant_needs_no_person_any_more(lab):
    operation_id, alpha, beta = await failed(lab)
    await beta.agent.live.report(beta.status_of(own(beta)))
    await alpha.agent.live.report(refused(alpha))
    assert (await lab.rest.operation_ends(operation_id))["state"] == "Failed"
    working = alpha.status_of(own(alpha))
    working.phase = status_pb2.PHASE_DEPLOYING
    await alpha.agent.live.report(working)
    found = await lab.rest.until(
        f"/api/v1/operations/{operation_id}", lambda one: one["operation"]["state"] == "Running"
    )
    assert (found["operation"]["ended_at"], found["operation"]["message"]) == (None, "")
    await alpha.agent.live.report(alpha.status_of(own(alpha)))
    ended = await lab.rest.operation_ends(operation_id)
    assert ended["state"] == "Succeeded"
    told = [e for e in await lab.rest.events() if e["operation_id"] == operation_id]
    assert [e["kind"] for e in told if e["kind"].startswith("operation.")] == [
        "operation.started",
        "operation.failed",
        "operation.reopened",
        "operation.succeeded",
    ]


async def test_it_stays_failed_while_another_participant_needs_a_person(lab):
    operation_id, alpha, beta = await failed(lab)
    await alpha.agent.live.report(refused(alpha))
    await lab.rest.operation_ends(operation_id)
    await beta.agent.live.report(refused(beta))
    await alpha.agent.live.report(alpha.status_of(own(alpha)))
    await alpha.agent.live.beat()
    assert await state(lab, operation_id) == "Failed"
    await beta.agent.live.report(beta.status_of(own(beta)))
    assert (
        await lab.rest.until(
            f"/api/v1/operations/{operation_id}",
            lambda one: one["operation"]["state"] == "Succeeded",
        )
    )["operation"]["message"] == ""


async def test_a_removal_that_is_allowed_after_all_ends_its_failed_operation_well(lab):
    await lab.good_site("hq")
    alpha = await lab.good_site("alpha")
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    await alpha.stop()
    removed = await lab.rest.good("DELETE", "/api/v1/federations/credit-risk?cascade=true")
    document = await alpha.agent.live.document(own(alpha).resource_id, 2)
    await alpha.agent.live.report(refused(alpha))
    ended = await lab.rest.operation_ends(removed["operation"]["id"])
    assert ended["state"] == "Failed"
    assert "credit-risk/9999 at alpha is Refused" in ended["message"]
    await alpha.agent.live.report(alpha.status_of(document))
    await lab.rest.until(
        f"/api/v1/operations/{removed['operation']['id']}",
        lambda one: one["operation"]["state"] == "Succeeded",
    )
    assert (await lab.rest.call("GET", "/api/v1/federations/credit-risk")).status == 404


async def test_an_operation_that_a_newer_one_followed_stays_failed(lab):
    operation_id, alpha, _ = await failed(lab)
    await alpha.agent.live.report(refused(alpha))
    await lab.rest.operation_ends(operation_id)
    values = {"python": {"resources": {"requests": {"cpu": "2"}}}}
    await lab.rest.apply(federation([party(9999, "alpha", values=values), party(10000, "beta")]))
    await alpha.agent.live.document(own(alpha).resource_id, 2)
    await alpha.agent.live.report(alpha.status_of(own(alpha)))
    await alpha.agent.live.beat()
    assert await state(lab, operation_id) == "Failed"


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


async def test_losing_sight_of_a_site_stalls_it_and_seeing_it_again_lets_it_run(timed_lab):
    lab, clock = timed_lab
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
    await liveness.flush_heartbeats(lab.hub)
    await liveness.mark_offline(lab.hub)
    await liveness.refresh_operations(lab.hub)
    shown = (await lab.rest.get(f"/api/v1/operations/{operation_id}"))["operation"]
    assert (shown["state"], shown["message"]) == ("Stalled", "waiting for site alpha")
    participant = await lab.rest.get("/api/v1/participants/credit-risk/9999")
    assert participant["participant"]["phase"] == "Unknown"
    await alpha.agent.connect()
    await liveness.refresh_operations(lab.hub)
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


async def test_an_operation_names_its_participants_when_they_are_gone(lab):
    for name in ("hq", "alpha"):
        await lab.good_site(name)
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    removed = await lab.rest.good("DELETE", "/api/v1/federations/credit-risk?cascade=true")
    await lab.rest.operation_ends(removed["operation"]["id"])
    for one in (applied, removed):
        found = await lab.rest.get(f"/api/v1/operations/{one['operation']['id']}")
        names = {target["name"] for target in found["progress"]}
        assert {"credit-risk/exchange", "credit-risk/9999"} <= names
        assert {target["name"] for target in found["operation"]["targets"]} == names
