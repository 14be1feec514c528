from __future__ import annotations

import asyncio
import io
import json
import re
import ssl

import pytest
from tests.support.hub import federation, party, running_test_hub
from tests.support.patience import time_limit
from tests.support.restclient import rest_of

from fedcore.errors import Unavailable
from fedhub.api.app import ROUTES
from fedhub.domain.access import Permission
from fedhub.services.tokens import hash_token
from fedhub.store import tokens
from fedhub.timing import HubTiming


def address(path):
    return re.sub(r"\{\w+\}", "x", path)


@pytest.mark.parametrize("token", [None, "flm_api_wrong", "x", "flm_api_\u00ff"])
async def test_every_route_asks_for_the_token(lab, token):
    for route in ROUTES:
        answer = await lab.rest.call(route.method, address(route.path), token=token)
        assert (answer.status, answer.body["code"]) == (401, "unauthenticated"), route.path
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "labels", [{"k": "\ud800"}, {"k" * 400: "v"}, {"k": "a b"}, {"k": "\0"}, {"": "v"}]
)
async def test_a_label_that_kubernetes_would_not_take_is_refused_and_stores_nothing(lab, labels):
    body = {"name": "big", "labels": labels}
    assert (await lab.rest.call("POST", "/api/v1/sites", body=body)).status == 422
    assert (await lab.rest.get("/api/v1/sites"))["items"] == []


async def test_every_answer_bears_the_headers_that_keep_it_out_of_caches_and_guesses(lab):
    for path in ("/api/v1/sites", "/livez", "/metrics", "/nowhere", "/api/v1/openapi.json"):
        answer = await lab.rest.call("GET", path)
        assert answer.headers["Cache-Control"] == "no-store", path
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert "X-Request-ID" in answer.headers, path


async def test_probes_and_figures_need_no_token(lab):
    await lab.connect("alpha")
    assert (await lab.rest.call("GET", "/livez", token=None)).status == 200
    assert (await lab.rest.call("GET", "/readyz", token=None)).status == 200
    figures = (await lab.rest.call("GET", "/metrics", token=None)).body.decode()
    assert "fedhub_sessions 1.0" in figures
    for loop in ("documents", "heartbeats", "sweep", "idempotency", "certificates", "trust"):
        assert f'fedhub_loop_age_seconds{{loop="{loop}"}}' in figures


async def test_a_stalled_loop_makes_the_hub_unready_but_not_dead(lab):
    board_beats(lab)
    answer = await lab.rest.call("GET", "/readyz", token=None)
    assert (answer.status, answer.body["code"]) == (503, "unavailable")
    assert "loop stuck" in answer.body["detail"]
    assert (await lab.rest.call("GET", "/livez", token=None)).status == 200


def board_beats(lab):
    """Let a loop look as if it had last turned long ago."""
    loop_health = lab.running.loop_health
    loop_health.heartbeat("stuck", 1.0)
    record = loop_health.records["stuck"]
    record.last_success_at = record.last_success_at.replace(year=2000)


async def test_a_lost_database_is_503_on_every_call_that_needs_it_and_liveness_stays(
    lab, monkeypatch
):
    def gone(*_args, **_more):
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(type(lab.hub.database), "_transaction", gone)
    for path in ("/api/v1/sites", "/readyz"):
        answer = await lab.rest.call("GET", path)
        assert (answer.status, answer.body["retryable"]) == (503, True)
    assert (await lab.rest.call("GET", "/livez")).status == 200


async def test_a_change_based_on_an_older_state_is_refused(lab):
    for name in ("hq", "alpha"):
        await lab.good_site(name)
    path = "/api/v1/federations/credit-risk"
    created = await lab.rest.call("PUT", path, body=federation([]))
    assert created.headers["Etag"] == '"1"'
    changed = federation([party(9999, "alpha")])
    first = await lab.rest.call("PUT", path, body=changed, headers={"If-Match": '"1"'})
    assert (first.status, first.headers["Etag"]) == (202, '"2"')
    for match in ('"1"', "1", 'W/"3"'):
        late = await lab.rest.call("PUT", path, body=federation([]), headers={"If-Match": match})
        assert (late.status, late.body["code"]) == (412, "precondition_failed")
    huge = await lab.rest.call("PUT", path, body=changed, headers={"If-Match": "9" * 6_000})
    assert huge.status == 422
    senseless = await lab.rest.call("PUT", path, body=changed, headers={"If-Match": "abc"})
    assert senseless.status == 422
    new = federation([], name="new", exchange={"site": "alpha"})
    late = await lab.rest.call(
        "PUT", "/api/v1/federations/new", body=new, headers={"If-Match": '"1"'}
    )
    assert late.status == 412
    assert (await lab.rest.call("GET", path)).headers["Etag"] == '"2"'


async def test_a_request_sent_twice_with_one_key_is_carried_out_once(lab):
    await lab.good_site("hq")
    path = "/api/v1/federations"
    sent = {"body": federation([]), "headers": {"Idempotency-Key": "k-1"}}
    answers = await asyncio.gather(*(lab.rest.call("POST", path, **sent) for _ in range(5)))
    assert {(one.status, one.body["operation"]["id"]) for one in answers} == {
        (202, answers[0].body["operation"]["id"])
    }
    assert sum("Idempotency-Replayed" in one.headers for one in answers) == 4
    assert {one.headers["Location"] for one in answers} == {answers[0].headers["Location"]}
    other = await lab.rest.call(
        "POST", path, body=federation([], name="other"), headers={"Idempotency-Key": "k-1"}
    )
    assert (other.status, other.body["code"]) == (409, "conflict")
    assert len((await lab.rest.get(path))["items"]) == 1


async def test_a_refused_request_is_not_remembered(lab):
    sent = {"body": federation([]), "headers": {"Idempotency-Key": "k-1"}}
    assert (await lab.rest.call("POST", "/api/v1/federations", **sent)).status == 422
    await lab.good_site("hq")
    assert (await lab.rest.call("POST", "/api/v1/federations", **sent)).status == 202


async def test_a_key_that_is_no_key_is_refused(lab):
    for key in ("with blank", "x" * 201):
        answer = await lab.rest.call(
            "POST", "/api/v1/federations", body={}, headers={"Idempotency-Key": key}
        )
        assert answer.status == 422


async def follow(lab, query, count):
    """Read lines of the stream until ``count`` events came."""
    found = []
    url = f"{lab.place.url}/api/v1/events?follow=true&{query}"
    headers = {"Authorization": f"Bearer {lab.place.token}"}
    async with time_limit(), lab.rest.session.get(url, headers=headers) as response:
        assert response.headers["Content-Type"].startswith("application/x-ndjson")
        async for line in response.content:
            if line.strip():
                found.append(json.loads(line))
            if len(found) == count:
                return found
    return found


async def test_events_are_followed_as_they_happen_from_where_the_reader_was(lab):
    await lab.connect("alpha")
    reader = asyncio.create_task(follow(lab, "site=alpha", 5))
    await lab.agents[0].tell(2)
    found = await reader
    assert [e["kind"] for e in found] == [
        "site.invited",
        "site.enrolled",
        "site.online",
        "participant.step",
        "participant.step",
    ]
    again = await follow(lab, f"after={found[2]['id']}&site=alpha", 2)
    assert again == found[3:]


async def test_a_follower_does_not_hold_up_the_end_of_the_hub(tmp_path, hub_template):
    async with running_test_hub(tmp_path, template=hub_template) as lab:
        await lab.rest.invite("alpha")
        reader, writer = await connection(lab)
        writer.write(
            b"GET /api/v1/events?follow=true HTTP/1.1\r\nHost: x\r\n"
            b"Authorization: Bearer " + lab.place.token.encode() + b"\r\n\r\n"
        )
        await reader.readuntil(b"site.invited")
    assert (await reader.read()).endswith(b"0\r\n\r\n"), "what a drain cuts has no end"
    writer.close()


async def connection(lab):
    host, port = lab.place.url.removeprefix("https://").split(":")
    context = ssl.create_default_context(cadata=lab.place.ca_pem.decode())
    return await asyncio.open_connection(host, int(port), ssl=context)


@pytest.mark.parametrize("said", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_client_that_is_silent_or_drips_its_head_is_cut_off(tmp_path, hub_template, said):
    timing = HubTiming(http_silence_limit_s=0.3)
    async with running_test_hub(tmp_path, template=hub_template, timing=timing) as lab:
        reader, writer = await connection(lab)
        writer.write(said)
        async with time_limit():
            assert await reader.read() == b""
        writer.close()
    assert HubTiming().http_silence_limit_s <= 20


async def test_a_body_that_does_not_come_is_answered_408(tmp_path, hub_template):
    timing = HubTiming(body_pause_limit_s=0.2)
    async with running_test_hub(tmp_path, template=hub_template, timing=timing) as lab:
        reader, writer = await connection(lab)
        writer.write(
            b"POST /api/v1/sites HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\nAuthorization: Bearer "
            + lab.place.token.encode()
            + b"\r\n\r\n{"
        )
        async with time_limit():
            head = await reader.readline()
        assert b"408" in head
        writer.close()


async def test_a_body_that_is_too_large_is_refused(lab):
    answer = await lab.rest.call(
        "PUT",
        "/api/v1/federations/x",
        data=io.BytesIO(b"[" * 2_000_000),
        headers={"Content-Type": "application/json"},
    )
    assert (answer.status, answer.body["code"]) == (413, "too_large")


async def test_a_token_with_less_may_do_less_and_its_name_stands_in_the_refusal(lab):
    async with lab.hub.database.begin() as db:
        await tokens.add(
            db,
            token_id="token-of-reader",
            name="reader",
            token_sha256=hash_token("flm_api_reader"),
            permissions=frozenset({Permission.READ}),
        )
    assert (await lab.rest.call("GET", "/api/v1/sites", token="flm_api_reader")).status == 200
    answer = await lab.rest.call(
        "POST", "/api/v1/sites", body={"name": "a"}, token="flm_api_reader"
    )
    assert (answer.status, answer.body["code"]) == (403, "denied")
    assert "reader may not" in answer.body["detail"]


async def test_the_administrators_token_is_private_hashed_and_survives_a_restart(
    tmp_path, hub_template
):
    async with running_test_hub(tmp_path, template=hub_template) as lab:
        token = lab.place.token
        file = lab.running.token_file
        assert file.stat().st_mode & 0o777 == 0o600
    stored = b"".join(one.read_bytes() for one in (tmp_path / "hub").glob("hub.sqlite*"))
    assert token.encode() not in stored
    assert hash_token(token).encode() in stored
    async with running_test_hub(tmp_path) as lab:
        assert lab.place.token == token
        await lab.rest.get("/api/v1/sites")
    file.unlink()
    async with running_test_hub(tmp_path) as lab, rest_of(lab.place) as rest:
        assert lab.place.token != token
        assert (await rest.call("GET", "/api/v1/sites", token=token)).status == 401


async def test_a_restart_keeps_everything(tmp_path, hub_template):
    async with running_test_hub(tmp_path, template=hub_template) as lab:
        for name in ("hq", "alpha"):
            await lab.good_site(name)
        applied = await lab.rest.apply(federation([party(9999, "alpha")]))
        await lab.rest.operation_ends(applied["operation"]["id"])
        await lab.agents[1].tell(3)
        before = {path: await lab.rest.get(path) for path in LISTS}
        events = await lab.rest.events()
        agents, hub_id = lab.agents, lab.hub.hub_id
        held = dict(agents[1].held)
        await lab.close()
    async with running_test_hub(tmp_path) as lab:
        assert lab.hub.hub_id == hub_id
        for path in LISTS:
            assert await lab.rest.get(path) == before[path], path
        assert (await lab.rest.events())[: len(events)] == events
        states = [site["state"] for site in (await lab.rest.get("/api/v1/sites"))["items"]]
        assert states == ["Disconnected", "Disconnected"]
        agent = agents[1]
        agent.place = lab.place
        session = await agent.connect()
        assert session.welcome.resume_after_seq == 3
        await session.beat()
        assert agent.held == held
        await agent.close()


LISTS = (
    "/api/v1/federations",
    "/api/v1/participants",
    "/api/v1/operations",
    "/api/v1/certificates",
    "/api/v1/endpoints",
    "/api/v1/ca",
)


async def test_releases_are_read_page_by_page(lab):
    whole = (await lab.rest.get("/api/v1/releases"))["items"]
    found, cursor = [], ""
    while True:
        page = await lab.rest.get(f"/api/v1/releases?limit=1{cursor}")
        found += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == whole
    assert found
    foreign = await lab.rest.call("GET", "/api/v1/releases?cursor=WyJ4IiwieSJd")
    assert foreign.status == 422


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        ({"name": "Alpha_1"}, "name", "must be a DNS-1123 label"),
        ({"name": "a", "life_s": 8_553_600}, "life_s", "a token lives 1 s to 24 h (86400 s)"),
        ({"name": "a", "labels": {"a b": "c"}}, "labels.a b.[key]", "must be of the form"),
    ],
)
async def test_an_invitation_that_cannot_be_made_names_field_and_cure(lab, body, path, message):
    answer = await lab.rest.call("POST", "/api/v1/sites", body=body)
    assert answer.status == 422
    (fault,) = answer.body["errors"]
    assert fault["path"] == path
    assert message in fault["message"]
    assert fault["message"] in answer.body["detail"]


async def test_a_join_command_works_as_it_is(lab):
    command = (await lab.rest.invite("alpha"))["join_command"]
    assert command.endswith(" --state fedagent-state --kubeconfig ~/.kube/config")


async def test_participants_are_filtered_by_the_phase_that_they_show(lab):
    for name in ("hq", "alpha"):
        await lab.rest.invite(name)
    await lab.rest.apply(federation([party(9999, "alpha")]))
    everyone = (await lab.rest.get("/api/v1/participants"))["items"]
    assert len(everyone) == 2
    for phase in ("Draft", "Waiting", "Ready", "Unknown"):
        listed = (await lab.rest.get(f"/api/v1/participants?phase={phase}"))["items"]
        assert listed == [shown for shown in everyone if shown["phase"] == phase]
    assert {shown["phase"] for shown in everyone} == {"Waiting"}, "nothing was reported yet"
