"""Whole federations through REST and the wire, at sites that do what they are told."""

from __future__ import annotations

import asyncio

from tests.support.hub import federation, party

from fedproto.agent.v1 import document_pb2


def ids(found):
    return {one["key"]: one["id"] for one in found["items"]}


async def participants(lab, name="credit-risk"):
    return await lab.rest.get(f"/api/v1/participants?federation={name}")


async def deploy(lab, *sites, parties=None):
    """Apply one party per site and wait for its end."""
    wanted = parties or [party(9999 + n, site) for n, site in enumerate(sites)]
    applied = await lab.rest.apply(federation(wanted))
    ended = await lab.rest.operation_ends(applied["operation"]["id"])
    assert ended["state"] == "Succeeded", ended
    return applied


def table(spec, kind):
    found = next(one for one in spec.tables if one.kind == kind)
    return {entry.key: (entry.host, entry.port) for entry in found.entries}


async def test_one_apply_ends_with_every_participant_ready_and_routed(lab):
    hq, alpha, beta = [await lab.good_site(name) for name in ("hq", "alpha", "beta")]
    await deploy(lab, "alpha", "beta")
    found = await participants(lab)
    assert {one["key"]: one["phase"] for one in found["items"]} == {
        "exchange": "Ready",
        "9999": "Ready",
        "10000": "Ready",
    }
    exchange = hq.spec(ids(found)["exchange"])
    nginx = table(exchange, document_pb2.TABLE_KIND_NGINX)
    assert nginx["9999"][0] == alpha.ip
    assert nginx["10000"][0] == beta.ip
    sni = table(exchange, document_pb2.TABLE_KIND_SNI)
    assert sni["9999.credit-risk.example.com"][0] == alpha.ip
    routes = await lab.rest.get("/api/v1/federations/credit-risk/routes")
    assert routes["unrouted"] == []
    assert all(row["deployed"] for row in routes["routes"])


async def test_ten_parties_at_once_all_end_in_the_tables_of_the_exchange(lab):
    hq = await lab.good_site("hq")
    names = [f"site-{n}" for n in range(10)]
    sites = await asyncio.gather(*(lab.good_site(name) for name in names))
    await deploy(lab, *names)
    exchange = hq.spec(ids(await participants(lab))["exchange"])
    nginx = table(exchange, document_pb2.TABLE_KIND_NGINX)
    assert {nginx[str(9999 + n)][0] for n in range(10)} == {site.ip for site in sites}


async def generations(lab):
    found = await participants(lab)
    return {one["key"]: one["generation"] for one in found["items"]}


async def test_a_third_party_changes_only_the_documents_that_must_change(lab):
    for name in ("hq", "alpha", "beta", "gamma"):
        await lab.good_site(name)
    await deploy(lab, "alpha", "beta")
    before = await generations(lab)
    wanted = federation([party(9999, "alpha"), party(10000, "beta"), party(10001, "gamma")])
    preview = await lab.rest.apply(wanted, "?dry_run=true")
    assert sorted((c["resource"], c["site"], c["change"]) for c in preview["changes"]) == [
        ("credit-risk/10001", "gamma", "created"),
        ("endpoint/gamma", "gamma", "created"),
    ]
    applied = await lab.rest.apply(wanted)
    assert [c["resource"] for c in applied["changes"]] == [
        c["resource"] for c in preview["changes"]
    ]
    await lab.rest.operation_ends(applied["operation"]["id"])
    after = await generations(lab)
    assert {key: after[key] - before.get(key, 0) for key in after} == {
        "exchange": 1,
        "9999": 0,
        "10000": 0,
        "10001": 1,
    }


async def test_a_preview_stores_nothing_at_all(lab):
    await lab.good_site("hq")
    await lab.good_site("alpha")
    before = await lab.rest.events()
    for query in ("?dry_run=true", "?dry_run=1"):
        preview = await lab.rest.apply(federation([party(9999, "alpha")]), query)
        assert preview["operation"] is None
        assert len(preview["changes"]) == 3
        assert [w["participant"] for w in preview["waiting"]] == ["credit-risk/9999"]
    assert (await lab.rest.get("/api/v1/federations"))["items"] == []
    assert (await lab.rest.get("/api/v1/endpoints"))["items"] == []
    assert (await lab.rest.get("/api/v1/operations"))["items"] == []
    assert await lab.rest.events() == before


async def test_the_same_intent_again_changes_nothing(lab):
    await lab.good_site("hq")
    await lab.good_site("alpha")
    await deploy(lab, "alpha")
    before = await lab.rest.events()
    again = await lab.rest.call(
        "PUT", "/api/v1/federations/credit-risk", body=federation([party(9999, "alpha")])
    )
    assert (again.status, again.body["operation"], again.body["changes"]) == (200, None, [])
    assert await lab.rest.events() == before


async def test_a_changed_address_follows_into_the_tables_by_itself(lab):
    hq = await lab.good_site("hq")
    alpha = await lab.good_site("alpha")
    await deploy(lab, "alpha")
    exchange_id = ids(await participants(lab))["exchange"]
    generation = hq.agent.held[exchange_id].generation
    await alpha.move("10.77.0.1")
    await hq.agent.live.document(exchange_id, generation + 1)
    nginx = table(hq.spec(exchange_id), document_pb2.TABLE_KIND_NGINX)
    assert nginx["9999"][0] == "10.77.0.1"


async def test_an_advertised_address_wins_over_the_reported_one(lab):
    hq = await lab.good_site("hq")
    await lab.good_site("alpha")
    await deploy(lab, "alpha")
    advertise = {"pulsar": "203.0.113.7:30109", "nginx": "203.0.113.7:30103"}
    applied = await lab.rest.apply(federation([party(9999, "alpha", advertise=advertise)]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    exchange_id = ids(await participants(lab))["exchange"]
    tables = hq.spec(exchange_id)
    nginx = table(tables, document_pb2.TABLE_KIND_NGINX)
    sni = table(tables, document_pb2.TABLE_KIND_SNI)
    assert nginx["9999"] == ("203.0.113.7", 30103)
    assert sni["9999.credit-risk.example.com"] == ("203.0.113.7", 30109)


async def test_a_removed_party_leaves_the_tables_the_site_and_the_lists(lab):
    hq, alpha, beta = [await lab.good_site(name) for name in ("hq", "alpha", "beta")]
    await deploy(lab, "alpha", "beta")
    found = ids(await participants(lab))
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    assert ("credit-risk/10000", "removed") in [
        (c["resource"], c["change"]) for c in applied["changes"]
    ]
    ended = await lab.rest.operation_ends(applied["operation"]["id"])
    assert ended["state"] == "Succeeded"
    assert set(ids(await participants(lab))) == {"exchange", "9999"}
    await beta.agent.live.holds(lambda held: found["10000"] not in held)
    nginx = table(hq.spec(found["exchange"]), document_pb2.TABLE_KIND_NGINX)
    assert "10000" not in nginx
    assert alpha.agent.held[found["9999"]].generation == 1
    assert "participant.forgotten" in await lab.rest.kinds("&federation=credit-risk")
    told = await lab.rest.events("&participant=credit-risk/10000")
    assert "participant.forgotten" in [event["kind"] for event in told]
    assert {event["resource"] for event in told} == {"credit-risk/10000"}
    assert (await lab.rest.call("GET", "/api/v1/events?participant=credit-risk/1")).status == 404


async def test_a_federation_goes_with_cascade_alone_and_the_exchange_goes_last(lab):
    hq, alpha = [await lab.good_site(name) for name in ("hq", "alpha")]
    await deploy(lab, "alpha")
    found = ids(await participants(lab))
    path = "/api/v1/federations/credit-risk"
    refused = await lab.rest.call("DELETE", path)
    assert (refused.status, refused.body["code"]) == (409, "conflict")
    assert "party 9999 at alpha" in refused.body["detail"]
    assert "exchange at hq" in refused.body["detail"]
    preview = await lab.rest.good("DELETE", path + "?cascade=true&dry_run=true")
    assert preview["operation"] is None
    await alpha.stop()
    removed = await lab.rest.good("DELETE", path + "?cascade=true")
    document = await alpha.agent.live.document(found["9999"], 2)
    assert document.absent
    await hq.agent.live.beat()
    assert not hq.agent.held[found["exchange"]].absent, "its last cluster is still there"
    again = await lab.rest.good("DELETE", path + "?cascade=true")
    assert again["operation"]["id"] == removed["operation"]["id"]
    await alpha.agent.live.report(alpha.status_of(document))
    ended = await lab.rest.operation_ends(removed["operation"]["id"])
    assert ended["state"] == "Succeeded"
    assert (await lab.rest.call("GET", path)).status == 404
    kinds = await lab.rest.kinds()
    assert kinds.count("participant.forgotten") == 2
    assert kinds[-3:] == ["operation.succeeded", "participant.forgotten", "federation.gone"]
    assert (await lab.rest.kinds("&federation=credit-risk"))[-1] == "federation.gone"


async def test_a_party_on_its_way_out_does_not_hold_up_the_removal_of_its_federation(lab):
    """The removal of the party was asked for before the removal of the federation."""
    hq, alpha = [await lab.good_site(name) for name in ("hq", "alpha")]
    await deploy(lab, "alpha")
    found = ids(await participants(lab))
    await alpha.stop()
    first = await lab.rest.apply(federation([]))
    await alpha.agent.live.document(found["9999"], 2)
    second = await lab.rest.good("DELETE", "/api/v1/federations/credit-risk?cascade=true")
    document = alpha.agent.held[found["9999"]]
    assert (document.generation, document.absent) == (2, True)
    await alpha.agent.live.report(alpha.status_of(document))
    ended = await lab.rest.operation_ends(second["operation"]["id"])
    assert ended["state"] == "Succeeded"
    assert (await lab.rest.operation_ends(first["operation"]["id"]))["state"] == "Superseded"
    await hq.agent.live.holds(lambda held: found["exchange"] not in held)


async def test_a_party_that_never_got_a_document_is_dropped_at_once(lab):
    await lab.connect("hq")
    await lab.connect("alpha")
    await lab.rest.apply(federation([party(9999, "alpha")]))
    applied = await lab.rest.apply(federation([]))
    assert set(ids(await participants(lab))) == {"exchange"}
    assert applied["operation"]["state"] in {"Running", "Succeeded"}


async def test_a_namespace_at_a_site_is_used_once(lab):
    await lab.good_site("hq")
    await lab.good_site("alpha")
    await deploy(lab, "alpha")
    other = federation([party(9999, "alpha")], name="other", exchange={"site": "alpha"})
    answer = await lab.rest.call("PUT", "/api/v1/federations/other", body=other)
    assert (answer.status, answer.body["code"]) == (409, "conflict")
    (fault,) = answer.body["errors"]
    assert fault["path"] == "parties.0.namespace"
    assert "credit-risk/9999 runs in namespace fate-9999 at site alpha" in fault["message"]


async def test_two_federations_at_one_site_are_told_to_name_another_exchange_namespace(lab):
    await lab.good_site("hq")
    await lab.rest.apply(federation([]))
    answer = await lab.rest.call(
        "PUT", "/api/v1/federations/other", body=federation([], name="other")
    )
    assert answer.status == 409
    (fault,) = answer.body["errors"]
    assert fault["path"] == "exchange.namespace"
    assert "credit-risk/exchange runs in namespace fate-exchange at site hq" in fault["message"]
    assert "set another `namespace`" in fault["message"]
    await lab.rest.good("DELETE", "/api/v1/federations/credit-risk?cascade=true")
    elsewhere = {"site": "hq", "namespace": "exchange-two"}
    await lab.rest.apply(federation([], name="other", exchange=elsewhere))


async def test_unknown_sites_and_keys_are_named_with_their_path(lab):
    wanted = federation([party(9999, "nowhere"), {"id": 0, "site": "hq", "colour": "red"}])
    answer = await lab.rest.call("PUT", "/api/v1/federations/credit-risk", body=wanted)
    assert (answer.status, answer.body["code"]) == (422, "invalid")
    assert {"parties.1.id", "parties.1.colour"} <= {f["path"] for f in answer.body["errors"]}
    assert (await lab.rest.get("/api/v1/federations"))["items"] == []


async def test_overlapping_domains_are_refused(lab):
    await lab.good_site("hq")
    await lab.rest.apply(federation([]))
    inner = federation([], name="inner", domain="inner.credit-risk.example.com")
    answer = await lab.rest.call("PUT", "/api/v1/federations/inner", body=inner)
    assert answer.status == 422
    assert answer.body["errors"][0]["path"] == "domain"


async def test_an_endpoint_is_removed_alone_and_comes_back_when_it_is_needed(lab):
    hq = await lab.good_site("hq")
    await lab.good_site("alpha")
    await deploy(lab, "alpha")
    refused = await lab.rest.call("DELETE", "/api/v1/endpoints/alpha")
    assert (refused.status, "9999" in refused.body["detail"]) == (409, True)
    removed = await lab.rest.good("DELETE", "/api/v1/federations/credit-risk?cascade=true")
    await lab.rest.operation_ends(removed["operation"]["id"])
    await hq.stop()
    await lab.rest.good("DELETE", "/api/v1/endpoints/hq")
    await hq.agent.live.holds(lambda held: any(one.absent for one in held.values()))
    await lab.rest.apply(federation([]))
    await hq.agent.live.holds(
        lambda held: len(held) == 2 and not any(one.absent for one in held.values())
    )
