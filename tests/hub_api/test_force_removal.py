"""What stays at a site that never comes back is given up by a person, and said to be."""

from __future__ import annotations

from tests.support.hub import federation, party

from fedhub.services import liveness

ONE = "/api/v1/participants/credit-risk/9999"
FEDERATION = "/api/v1/federations/credit-risk"


async def deployed(lab):
    sites = [await lab.good_site(name) for name in ("hq", "alpha")]
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    return sites


async def lose(lab, clock, site):
    """Let a site go Offline."""
    await site.stop()
    await site.agent.close()
    await lab.rest.until(f"/api/v1/sites/{site.agent.name}", lambda s: s["state"] != "Online")
    clock.advance(60)
    for other in lab.agents:
        if other.session is not None:
            await other.live.beat()
    await liveness.flush_heartbeats(lab.hub)
    await liveness.mark_offline(lab.hub)


async def keys(lab):
    found = await lab.rest.get("/api/v1/participants?federation=credit-risk")
    return {row["key"] for row in found["items"]}


async def test_only_what_is_being_removed_at_a_lost_site_can_be_given_up(timed_lab):
    lab, _ = timed_lab
    _, alpha = await deployed(lab)
    plain = await lab.rest.call("DELETE", ONE)
    assert plain.status == 409
    assert "file" in plain.body["detail"]
    wanted = await lab.rest.call("DELETE", f"{ONE}?force=true")
    assert wanted.status == 409
    assert "not being removed" in wanted.body["detail"]
    await alpha.stop()
    await lab.rest.apply(federation([]))
    online = await lab.rest.call("DELETE", f"{ONE}?force=true")
    assert online.status == 409
    assert "alpha is Online" in online.body["detail"]
    assert (await lab.rest.call("DELETE", f"{ONE}0?force=true")).status == 404
    assert await keys(lab) == {"exchange", "9999"}


async def test_a_party_at_a_site_that_never_comes_back_is_given_up_and_named(timed_lab):
    lab, clock = timed_lab
    _, alpha = await deployed(lab)
    await lose(lab, clock, alpha)
    removal = await lab.rest.apply(federation([]))
    answer = await lab.rest.good("DELETE", f"{ONE}?force=true")
    (left,) = answer["items"]
    assert (left["participant"], left["site"], left["namespace"]) == (
        "credit-risk/9999",
        "alpha",
        "fate-9999",
    )
    assert "Namespace/fate-9999" in left["leftovers"]
    assert await keys(lab) == {"exchange"}
    ended = await lab.rest.operation_ends(removal["operation"]["id"])
    assert ended["state"] == "Succeeded"
    (event,) = await lab.rest.events("&kind=participant.force_removed")
    assert event["severity"] == "warning"
    assert "fate-9999" in event["message"]
    assert (await lab.rest.call("DELETE", f"{ONE}?force=true")).status == 404


async def test_a_federation_goes_when_its_last_participant_was_given_up(timed_lab):
    lab, clock = timed_lab
    hq, alpha = await deployed(lab)
    await lose(lab, clock, alpha)
    removal = await lab.rest.good("DELETE", f"{FEDERATION}?cascade=true")
    assert (await lab.rest.get(FEDERATION))["removing"] is True
    await lab.rest.good("DELETE", f"{ONE}?force=true")
    ended = await lab.rest.operation_ends(removal["operation"]["id"])
    assert ended["state"] == "Succeeded"
    assert (await lab.rest.call("GET", FEDERATION)).status == 404
    (gone,) = await lab.rest.events("&kind=federation.gone")
    assert "nothing of it is left" not in gone["message"]
    assert "fate-9999" in gone["message"]
    await hq.agent.live.holds(lambda held: len(held) == 1)


async def test_a_revoked_site_is_forgotten_after_what_it_ran_was_given_up(timed_lab):
    lab, _ = timed_lab
    _, alpha = await deployed(lab)
    await alpha.stop()
    await lab.rest.good("POST", "/api/v1/sites/alpha/revocation")
    await lab.rest.apply(federation([]))
    await lab.rest.good("DELETE", f"{ONE}?force=true")
    await lab.rest.good("DELETE", "/api/v1/sites/alpha")
    assert (await lab.rest.call("GET", "/api/v1/sites/alpha")).status == 404


async def test_a_site_that_comes_back_after_all_is_told_to_forget_what_was_given_up(timed_lab):
    lab, clock = timed_lab
    _, alpha = await deployed(lab)
    held = set(alpha.agent.held)
    await lose(lab, clock, alpha)
    await lab.rest.apply(federation([]))
    await lab.rest.good("DELETE", f"{ONE}?force=true")
    session = await alpha.agent.connect()
    await session.holds(lambda now: len(now) == len(held) - 1)
    forgotten = {one for f in session.frames for one in f.documents.forget}
    assert forgotten == held - set(alpha.agent.held)
