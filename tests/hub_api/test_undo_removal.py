"""A removal that is taken back: the desired state is what the last apply says."""

from __future__ import annotations

from tests.support.hub import federation, party

from fedproto.agent.v1 import document_pb2, status_pb2

FEDERATION = "/api/v1/federations/credit-risk"
BOTH = [party(9999, "alpha"), party(10000, "beta")]


async def rows(lab):
    found = await lab.rest.get("/api/v1/participants?federation=credit-risk")
    return {one["key"]: one for one in found["items"]}


async def deployed(lab):
    """Make an exchange at hq and parties at alpha and beta; alpha then answers by hand."""
    sites = [await lab.good_site(name) for name in ("hq", "alpha", "beta")]
    applied = await lab.rest.apply(federation(BOTH))
    ended = await lab.rest.operation_ends(applied["operation"]["id"])
    assert ended["state"] == "Succeeded"
    await sites[1].stop()
    return (*sites, await rows(lab))


def sni(site, resource_id):
    tables = site.spec(resource_id).tables
    found = next(one for one in tables if one.kind == document_pb2.TABLE_KIND_SNI)
    return {entry.key.partition(".")[0] for entry in found.entries}


async def test_a_party_that_is_put_back_stays_what_it_was(lab):
    hq, alpha, _, before = await deployed(lab)
    party_id, exchange_id = before["9999"]["id"], before["exchange"]["id"]
    removal = await lab.rest.apply(federation(BOTH[1:]))
    gone = await alpha.agent.live.document(party_id, 2)
    refused = alpha.status_of(gone, phase=status_pb2.PHASE_REFUSED, reason="actions.remove")
    addresses = alpha.statuses[party_id].addresses
    refused.addresses.extend(addresses)
    await alpha.agent.live.report(refused)
    await lab.rest.operation_ends(removal["operation"]["id"])
    await hq.agent.live.document(exchange_id, before["exchange"]["generation"] + 1)
    assert "9999" not in sni(hq, exchange_id)

    preview = await lab.rest.apply(federation(BOTH), "?dry_run=true")
    assert preview["restored"] == ["credit-risk/9999"]
    assert ("credit-risk/9999", "taken back") in [
        (c["resource"], c["change"]) for c in preview["changes"]
    ]
    assert (await rows(lab))["9999"]["removing"] is True
    applied = await lab.rest.apply(federation(BOTH))
    assert applied["restored"] == ["credit-risk/9999"]
    back = await alpha.agent.live.document(party_id, 3)
    assert not back.absent
    shown = (await rows(lab))["9999"]
    assert (shown["id"], shown["removing"], shown["phase"]) == (party_id, False, "Reconfiguring")
    await alpha.agent.live.report(alpha.status_of(back))
    ended = await lab.rest.operation_ends(applied["operation"]["id"])
    assert ended["state"] == "Succeeded"
    await hq.agent.live.document(exchange_id, before["exchange"]["generation"] + 2)
    assert "9999" in sni(hq, exchange_id)
    told = await lab.rest.events("&participant=credit-risk/9999")
    assert "participant.restored" in [event["kind"] for event in told]


async def test_taking_back_supersedes_the_removal_and_a_late_gone_forgets_nothing(lab):
    _, alpha, _, before = await deployed(lab)
    party_id = before["9999"]["id"]
    removal = await lab.rest.apply(federation(BOTH[1:]))
    gone = await alpha.agent.live.document(party_id, 2)
    applied = await lab.rest.apply(federation(BOTH))
    assert (await lab.rest.operation_ends(removal["operation"]["id"]))["state"] == "Superseded"
    back = await alpha.agent.live.document(party_id, 3)
    await alpha.agent.live.report(alpha.status_of(gone))
    await alpha.agent.live.beat()
    assert gone.absent
    shown = (await rows(lab))["9999"]
    assert (shown["id"], shown["phase"], shown["reason"]) == (
        party_id,
        "Reconfiguring",
        "TakenBack",
    )
    await alpha.agent.live.report(alpha.status_of(back))
    ended = await lab.rest.operation_ends(applied["operation"]["id"])
    assert ended["state"] == "Succeeded"
    assert (await rows(lab))["9999"]["phase"] == "Ready"


async def test_a_federation_that_is_being_removed_is_taken_back_with_the_files_parties(lab):
    hq, alpha, beta, before = await deployed(lab)
    removal = await lab.rest.good("DELETE", f"{FEDERATION}?cascade=true")
    await alpha.agent.live.document(before["9999"]["id"], 2)
    await beta.agent.live.holds(lambda held: before["10000"]["id"] not in held)
    posted = await lab.rest.call("POST", "/api/v1/federations", body=federation(BOTH[:1]))
    assert posted.status == 409
    applied = await lab.rest.apply(federation(BOTH[:1]))
    assert applied["federation"]["removing"] is False
    assert set(applied["restored"]) == {"credit-risk/exchange", "credit-risk/9999"}
    assert (await lab.rest.operation_ends(removal["operation"]["id"]))["state"] == "Superseded"
    back = await alpha.agent.live.document(before["9999"]["id"], 3)
    assert not back.absent
    await alpha.agent.live.report(alpha.status_of(back))
    ended = await lab.rest.operation_ends(applied["operation"]["id"])
    assert ended["state"] == "Succeeded"
    after = await rows(lab)
    assert {key: (row["id"], row["phase"]) for key, row in after.items()} == {
        key: (before[key]["id"], "Ready") for key in ("exchange", "9999")
    }
    assert sni(hq, before["exchange"]["id"]) == {"9999", "sentinel"}
    assert "federation.restored" in await lab.rest.kinds("&federation=credit-risk")


async def test_what_the_file_leaves_out_goes_on_leaving_when_a_federation_is_taken_back(lab):
    _, alpha, _, before = await deployed(lab)
    await lab.rest.good("DELETE", f"{FEDERATION}?cascade=true")
    gone = await alpha.agent.live.document(before["9999"]["id"], 2)
    applied = await lab.rest.apply(federation(BOTH[1:]))
    ended = await lab.rest.operation_ends(applied["operation"]["id"])
    assert ended["state"] == "Succeeded"
    assert (await rows(lab))["9999"]["removing"] is True
    await alpha.agent.live.report(alpha.status_of(gone))
    await lab.rest.until(
        "/api/v1/participants?federation=credit-risk",
        lambda found: {row["key"] for row in found["items"]} == {"exchange", "10000"},
    )
    assert (await lab.rest.get(FEDERATION))["removing"] is False


async def test_a_party_that_goes_from_one_namespace_may_come_into_another(lab):
    _, alpha, _, before = await deployed(lab)
    await lab.rest.apply(federation(BOTH[1:]))
    await alpha.agent.live.document(before["9999"]["id"], 2)
    elsewhere = party(9999, "alpha", namespace="other")
    applied = await lab.rest.apply(federation([elsewhere, BOTH[1]]))
    assert applied["restored"] == []
    found = (await lab.rest.get("/api/v1/participants?site=alpha"))["items"]
    assert {(row["namespace"], row["removing"]) for row in found} == {
        ("fate-9999", True),
        ("other", False),
    }


async def test_parties_do_not_come_back_without_their_exchange(lab):
    await deployed(lab)
    await lab.rest.good("DELETE", f"{FEDERATION}?cascade=true")
    bare = federation(BOTH) | {"exchange": None}
    answer = await lab.rest.call("PUT", FEDERATION, body=bare)
    assert answer.status == 409
    assert answer.body["errors"][0]["path"] == "exchange"
    assert (await lab.rest.get(FEDERATION))["removing"] is True
