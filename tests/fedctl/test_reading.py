from __future__ import annotations

import json

import pytest
import yaml
from aiohttp import web
from tests.fedctl.answers import (
    change,
    event,
    federation,
    operation,
    participant,
    participant_detail,
    site,
    step,
)

from fedctl.client import connect
from fedctl.commands.events import follow_events
from fedctl.config import Overrides, load
from fedctl.errors import ExitCode
from fedctl.schema import find_key, walk

pytestmark = pytest.mark.usefixtures("configured")


def page(*items, cursor=None):
    return {"items": list(items), "next_cursor": cursor}


async def test_lists_follow_the_cursor_to_the_end(fedctl, hub):
    async def answer(request: web.Request) -> web.Response:
        at = int(request.query.get("cursor", "0"))
        following = str(at + 1) if at < 2 else None
        return web.json_response(page(site(f"s{at}"), cursor=following))

    hub.handle("GET", "/api/v1/sites", answer)
    ended = await fedctl("get", "sites", "-o", "json")
    assert [item["name"] for item in ended.json()["items"]] == ["s0", "s1", "s2"]


async def test_several_kinds_come_under_their_plurals(fedctl, hub):
    hub.on("GET", "/api/v1/sites", page(site()))
    hub.on("GET", "/api/v1/participants", page(participant()))
    hub.on("GET", "/api/v1/certificates", page())
    hub.on("GET", "/api/v1/operations", page(operation()))
    ended = await fedctl("get", "sites,participants,certificates,operations", "-o", "json")
    assert ended.code == ExitCode.OK
    lists = ended.json()
    assert list(lists) == ["sites", "participants", "certificates", "operations"]
    assert lists["certificates"] == []
    table = (await fedctl("get", "site,part,cert,op")).out
    assert "SITES\n" in table
    assert "PARTICIPANTS\n" in table


@pytest.mark.parametrize("word", ["participants", "participant", "part", "Parts"])
async def test_kinds_have_singular_and_short_names(fedctl, hub, word):
    hub.on("GET", "/api/v1/participants", page(participant()))
    ended = await fedctl("get", word, "-o", "name")
    assert ended.out == "participant/credit-risk/9999\n"


@pytest.mark.parametrize(
    "words",
    [
        ("participant", "credit-risk/9999"),
        ("participant/credit-risk/9999",),
        ("part", "participant/credit-risk/9999"),
    ],
)
async def test_one_thing_can_be_named_in_each_of_kubectls_ways(fedctl, hub, words):
    item = participant()
    hub.on("GET", "/api/v1/participants/credit-risk/9999", participant_detail(item))
    ended = await fedctl("get", *words, "-o", "json")
    assert ended.code == ExitCode.OK
    assert ended.json()["participant"] == item
    assert "credit-risk/9999" in (await fedctl("get", *words)).out


async def test_yaml_holds_what_json_holds(fedctl, hub):
    hub.on("GET", "/api/v1/sites", page(site()))
    as_json = (await fedctl("get", "sites", "-o", "json")).json()
    assert yaml.safe_load((await fedctl("get", "sites", "-o", "yaml")).out) == as_json


async def test_a_name_is_one_segment_of_the_address(fedctl, hub):
    ended = await fedctl("get", "site", "../../x?y")
    assert ended.code == ExitCode.NOT_FOUND
    assert hub.requests[0].rel_url.raw_path == "/api/v1/sites/..%2F..%2Fx%3Fy"


async def test_filters_reach_the_hub_and_misfits_are_refused(fedctl, hub):
    hub.on("GET", "/api/v1/participants", page())
    ended = await fedctl("get", "participants", "--federation", "credit-risk", "--phase", "Ready")
    assert ended.code == ExitCode.OK
    assert "No participants found." in ended.err
    assert hub.requests[0].query["federation"] == "credit-risk"
    assert hub.requests[0].query["phase"] == "Ready"
    ended = await fedctl("get", "sites", "--phase", "Ready")
    assert ended.code == ExitCode.USAGE
    assert "--phase does not apply to sites" in ended.err


async def test_an_unknown_kind_lists_the_known_ones(fedctl):
    ended = await fedctl("get", "pods")
    assert ended.code == ExitCode.USAGE
    assert "federations" in ended.err


async def test_control_characters_of_a_stranger_do_not_reach_the_terminal(fedctl, hub):
    evil = "\x1b]0;owned\x07\x9b31m\u202egnp.exe"
    hub.on("GET", "/api/v1/participants", page(participant(message=evil)))
    for form in ("table", "wide", "json", "yaml", "name"):
        ended = await fedctl("get", "participants", "-o", form)
        assert ended.code == ExitCode.OK
        assert not set(evil) & set("\x1b\x07\x9b\u202e") & set(ended.out)
    answer = (await fedctl("get", "participants", "-o", "json")).json()
    assert answer["items"][0]["message"] == evil


async def test_chinese_text_is_shown_as_it_is(fedctl, hub):
    hub.on("GET", "/api/v1/participants", page(participant(message="证书已过期")))
    for form in ("table", "json", "yaml"):
        assert "证书已过期" in (await fedctl("get", "participants", "-o", form)).out


async def test_describe_shows_the_cause_and_the_next_act_first(fedctl, hub):
    finding = {
        "code": "ImagePullFailed",
        "severity": "error",
        "message": "no such tag",
        "hint": "check the registry",
        "object": "Pod/pulsar-0",
    }
    detail = participant_detail(
        participant(phase="Failed"),
        findings=[finding],
        steps=[step("namespace", "Done"), step("install", "Failed")],
        addresses=[{"role": "pulsar", "host": "h", "ip": "10.0.0.1", "port": 30109}],
    )
    hub.on("GET", "/api/v1/participants/credit-risk/9999", detail)
    hub.on("GET", "/api/v1/events", {"items": [event(7)], "last_id": 7})
    ended = await fedctl("describe", "participant/credit-risk/9999")
    assert ended.code == ExitCode.OK
    lines = ended.out.splitlines()
    assert lines[0] == "ImagePullFailed (Pod/pulsar-0): no such tag"
    assert lines[1] == "  next: check the registry"
    for part in ("Phase:", "Failed", "install", "30109", "event number 7"):
        assert part in ended.out


async def test_describe_a_federation_lists_its_participants(fedctl, hub):
    hub.on("GET", "/api/v1/federations/credit-risk", federation())
    hub.on("GET", "/api/v1/participants", page(participant()))
    hub.on("GET", "/api/v1/events", {"items": [], "last_id": 0})
    ended = await fedctl("describe", "fed", "credit-risk")
    assert "credit-risk/9999" in ended.out
    assert "Intent:" in ended.out


async def test_routes_show_table_site_and_probe(fedctl, hub):
    row = {
        "participant": "credit-risk/exchange",
        "site": "hq",
        "table": "sni",
        "config_map": "traffic-server-sni",
        "key": "9999.credit-risk.example.com",
        "host": "127.0.2.1",
        "port": 30109,
        "generation": 2,
        "deployed": True,
        "probe": "",
        "probe_message": "",
    }
    unrouted = {"participant": "credit-risk/10000", "reason": "NoAddress: not ready"}
    body = {"federation": "credit-risk", "routes": [row], "unrouted": [unrouted]}
    hub.on("GET", "/api/v1/federations/credit-risk/routes", body)
    ended = await fedctl("routes", "credit-risk")
    assert "127.0.2.1:30109" in ended.out
    assert "unrouted: credit-risk/10000: NoAddress: not ready" in ended.out
    assert (await fedctl("routes", "credit-risk", "-o", "json")).json() == body
    probe = {"key": row["key"].upper(), "state": "Reachable", "message": "", "at": None}
    hub.on("POST", "/api/v1/participants/credit-risk/exchange/probes", {"probes": [probe]})
    assert "Reachable" in (await fedctl("routes", "credit-risk", "--probe")).out


async def test_certificates_that_end_soon_are_asked_for_by_time(fedctl, hub):
    hub.on("GET", "/api/v1/certificates", page())
    ended = await fedctl("certificates", "--expiring-within", "30d", "--site", "alpha")
    assert ended.code == ExitCode.OK
    assert hub.requests[0].query["site"] == "alpha"
    assert hub.requests[0].query["expiring_before"].startswith("20")
    assert (await fedctl("certificates", "--expiring-within", "soon")).code == ExitCode.USAGE


async def test_events_since_an_id_are_read_to_the_end(fedctl, hub):
    async def answer(request: web.Request) -> web.Response:
        after, limit = int(request.query["after"]), int(request.query["limit"])
        items = [event(n) for n in range(after + 1, min(after + limit, 1201) + 1)]
        return web.json_response({"items": items, "last_id": items[-1]["id"] if items else after})

    hub.handle("GET", "/api/v1/events", answer)
    ended = await fedctl("events", "--since-id", "0", "-o", "json")
    assert [item["id"] for item in ended.json()["items"]] == list(range(1, 1202))


async def test_following_events_goes_on_from_the_last_one_after_a_broken_line(hub, timing):
    async def answer(request: web.Request) -> web.StreamResponse:
        after = int(request.query["after"])
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for number in (after, after + 1):  # one that was printed already, one that is new
            await response.write(b"\n" + json.dumps(event(number)).encode() + b"\n")
        assert request.transport is not None
        request.transport.abort()
        return response

    hub.handle("GET", "/api/v1/events", answer)
    ids = []
    async with connect(load(Overrides()), timing) as hub_client:
        stream = follow_events(hub_client, {}, 5)
        async for followed in stream:
            ids.append(followed["id"])
            if len(ids) == 3:
                break
        await stream.aclose()
    assert ids == [6, 7, 8]


async def test_explain_follows_the_path_through_lists_and_references(fedctl, hub, openapi):
    hub.on("GET", "/api/v1/openapi.json", openapi)
    ended = await fedctl("explain", "federation.parties")
    assert ended.code == ExitCode.OK
    assert "list of objects" in ended.out
    for part in ("id <whole number> -required-", "at most 999999", "NodePort | LoadBalancer"):
        assert part in ended.out
    deep = (await fedctl("explain", "federation.parties.advertise.pulsar")).out
    assert "30000-33000" in deep
    assert "advertise" in (await fedctl("explain", "fed", "--recursive")).out
    wrong = await fedctl("explain", "federation.parties.port")
    assert wrong.code == ExitCode.NOT_FOUND
    assert "its keys: id, site" in wrong.err


async def test_every_key_of_the_file_is_explained(openapi):
    keys = [key for _, key in walk(find_key(openapi, "federation"))]
    assert len(keys) > 15
    assert all(key.description for key in keys)


async def test_version_and_ca(fedctl, hub):
    hub.on("GET", "/api/v1/openapi.json", {"info": {"version": "1.0.0"}})
    hub.on(
        "GET", "/api/v1/ca", {"fingerprint": "sha256:ab", "trust_version": 1, "roots_pem": "P\n"}
    )
    assert "hub API  1.0.0" in (await fedctl("version")).out
    assert "sha256:ab" in (await fedctl("ca")).out
    assert (await fedctl("ca", "--pem")).out == "P\n"
    count = len(hub.requests)
    assert (await fedctl("version", "--client", "-o", "json")).json()["client"]
    assert len(hub.requests) == count


def test_the_diff_of_the_fake_is_what_the_api_documents():
    from fedhub.api.federations import DocumentDiffView  # noqa: PLC0415

    DocumentDiffView.model_validate(change(), strict=True)


async def test_releases_say_that_their_kubefate_is_a_minimum(fedctl, hub):
    release = {
        "version": "1.8.0",
        "engine": "spark-pulsar",
        "title": "FATE",
        "minimum_kubefate": "v1.4.5",
        "charts": [],
    }
    hub.on("GET", "/api/v1/releases", page(release))
    assert ">= v1.4.5" in (await fedctl("get", "releases")).out


@pytest.mark.parametrize("kind", ["site", "endpoint"])
async def test_describe_shows_the_newest_events_of_a_site_and_of_an_endpoint(fedctl, hub, kind):
    about = {"site": "alpha", "phase": "Ready"} if kind == "endpoint" else site()
    hub.on("GET", f"/api/v1/{kind}s/alpha", about)
    hub.on("GET", "/api/v1/participants", page())
    hub.on("GET", "/api/v1/events", {"items": [event(7)], "last_id": 7})
    ended = await fedctl("describe", f"{kind}/alpha")
    assert "event number 7" in ended.out
    assert any("site=alpha" in call and "newest=true" in call for call in hub.calls())


async def test_events_say_what_they_are_about(fedctl, hub):
    items = [event(1, kind="participant.ready", resource="credit-risk/9999", message="all is well")]
    hub.on("GET", "/api/v1/events", {"items": items, "last_id": 1})
    ended = await fedctl("events")
    assert "ABOUT" in ended.out
    assert "credit-risk/9999" in ended.out
