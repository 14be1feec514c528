from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace

import pytest
from aiohttp import web
from tests.fedctl.answers import site

from fedcore.errors import ErrorCode
from fedctl import problem
from fedctl.client import connect
from fedctl.config import Overrides, load
from fedctl.errors import CliError, ExitCode

pytestmark = pytest.mark.usefixtures("configured")


async def test_without_configuration_the_error_says_where_to_write_one(
    fedctl, monkeypatch, tmp_path
):
    monkeypatch.delenv("FEDCTL_CONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    ended = await fedctl("get", "sites")
    assert ended.code == ExitCode.USAGE
    assert "no hub is configured" in ended.err
    assert "FEDCTL_CONFIG" in ended.err


async def test_flags_win_over_the_file(fedctl, hub, tmp_path):
    hub.on("GET", "/api/v1/sites", {"items": [], "next_cursor": None})
    other = tmp_path / "other.token"
    other.write_text("wrong")
    ended = await fedctl("--token-file", str(other), "get", "sites")
    assert ended.code == ExitCode.DENIED
    assert "check the token" in ended.err
    assert (await fedctl("get", "sites")).code == ExitCode.OK


async def test_a_bad_configuration_names_file_and_setting(fedctl, tmp_path, monkeypatch):
    path = tmp_path / "c.toml"
    monkeypatch.setenv("FEDCTL_CONFIG", str(path))
    for text, part in (
        ("hub = ", "no TOML"),
        ("hob = 'x'", "hob is no setting"),
        ("hub = 1", "must be text"),
        ("hub = 'http://x'\ntoken='t'", "TLS alone"),
        ("hub = 'https://x'", "no token"),
        ("hub = 'https://x'\ntoken='t'\nca_file='none.pem'", "is not there"),
    ):
        path.write_text(text)
        ended = await fedctl("get", "sites")
        assert ended.code == ExitCode.USAGE, text
        assert part in ended.err


async def test_a_hub_that_is_not_there_is_unavailable_not_a_traceback(fedctl):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ended = await fedctl("--hub", f"https://127.0.0.1:{port}", "get", "sites")
    assert ended.code == ExitCode.UNAVAILABLE
    assert "cannot be reached" in ended.err
    assert "Traceback" not in ended.err


async def test_a_certificate_of_another_authority_is_refused(fedctl, hub, configured):
    path = configured.with_name("untrusting.toml")
    path.write_text(f'hub = "{hub.url}"\ntoken = "x"\n')
    ended = await fedctl("--config", str(path), "get", "sites")
    assert ended.code == ExitCode.UNAVAILABLE
    assert "cannot be trusted" in ended.err
    assert hub.requests == []


async def test_a_request_whose_answer_was_lost_is_sent_again_with_the_same_key(fedctl, hub):
    async def lose_first(request: web.Request) -> web.StreamResponse:
        if len(hub.requests) == 1:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
        return web.json_response(site(state="Revoked"))

    hub.handle("POST", "/api/v1/sites/alpha/revocation", lose_first)
    ended = await fedctl("site", "revoke", "alpha")
    assert ended.code == ExitCode.OK
    keys = [request.headers["Idempotency-Key"] for request in hub.requests]
    assert len(keys) == 2
    assert len(set(keys)) == 1


async def test_two_commands_use_two_keys(fedctl, hub):
    hub.on("POST", "/api/v1/sites/alpha/revocation", site())
    await fedctl("site", "revoke", "alpha")
    await fedctl("site", "revoke", "alpha")
    assert len({request.headers["Idempotency-Key"] for request in hub.requests}) == 2


@pytest.mark.parametrize(
    ("status", "word", "code"),
    [
        (422, "invalid", ExitCode.INVALID),
        (413, "too_large", ExitCode.INVALID),
        (401, "unauthenticated", ExitCode.DENIED),
        (403, "denied", ExitCode.DENIED),
        (404, "not_found", ExitCode.NOT_FOUND),
        (409, "conflict", ExitCode.CONFLICT),
        (412, "precondition_failed", ExitCode.CONFLICT),
        (409, "fenced", ExitCode.CONFLICT),
        (429, "too_many", ExitCode.UNAVAILABLE),
        (503, "unavailable", ExitCode.UNAVAILABLE),
        (504, "timeout", ExitCode.UNAVAILABLE),
        (500, "internal", ExitCode.INTERNAL),
        (409, "a_code_of_a_newer_hub", ExitCode.CONFLICT),
    ],
)
async def test_problems_end_with_the_code_of_their_class(fedctl, hub, status, word, code):
    hub.problem("GET", "/api/v1/sites/alpha", status, word, detail=f"because of {word}")
    ended = await fedctl("get", "site", "alpha")
    assert ended.code == code
    assert f"because of {word}" in ended.err
    assert ended.out == ""


def test_every_code_of_the_hub_has_an_exit_code():
    assert set(problem._CODES) == set(ErrorCode)


async def test_a_server_that_is_no_hub_is_told_apart(fedctl, hub):
    async def teapot(_request: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>\x1b[31mbad gateway</html>")

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<html>")

    hub.handle("GET", "/api/v1/sites/alpha", teapot)
    ended = await fedctl("get", "site", "alpha")
    assert ended.code == ExitCode.UNAVAILABLE
    assert "address of a fedhub" in ended.err
    assert "\x1b" not in ended.err
    hub.handle("GET", "/api/v1/sites/alpha", page)
    ended = await fedctl("get", "site", "alpha")
    assert ended.code == ExitCode.INTERNAL
    assert "no JSON" in ended.err


async def test_an_answer_of_another_shape_is_an_error_without_a_traceback(fedctl, hub):
    hub.on("GET", "/api/v1/sites", {"rows": []})
    ended = await fedctl("get", "sites")
    assert ended.code == ExitCode.INTERNAL
    assert "cannot be understood" in ended.err
    assert "Traceback" not in ended.err


async def test_the_token_is_never_printed(fedctl, hub):
    hub.problem("GET", "/api/v1/sites", 500, "internal")
    ended = await fedctl("get", "sites")
    assert "hub-token" not in ended.err + ended.out


async def test_the_time_limit_of_a_request_holds_for_all_its_attempts(hub, timing):
    short = replace(timing, request_limit_s=2.0)

    async def slow(_request: web.Request) -> web.Response:
        if len(hub.requests) > 1:
            await asyncio.sleep(3_600.0)
        body = {"code": "unavailable", "detail": "starting", "retryable": True}
        return web.json_response(body, status=503)

    hub.handle("GET", "/api/v1/sites", slow)
    async with connect(load(Overrides()), short) as hub_client:
        with pytest.raises(CliError) as caught:
            await hub_client.get("/api/v1/sites")
    assert (caught.value.code, caught.value.message) == (ExitCode.UNAVAILABLE, "starting")
    assert len(hub.requests) == 2, "a limit for each attempt would leave room for a third"


@pytest.mark.parametrize(("status", "code"), [(429, "too_many"), (503, "unavailable")])
async def test_a_hub_that_cannot_now_is_asked_again_when_it_says(fedctl, hub, status, code):
    moments = []

    async def answer(_request: web.Request) -> web.Response:
        moments.append(time.monotonic())
        if len(moments) == 1:
            body = {"code": code, "detail": "in a moment", "retryable": True}
            return web.json_response(body, status=status, headers={"Retry-After": "1"})
        return web.json_response(site())

    hub.handle("GET", "/api/v1/sites/alpha", answer)
    assert (await fedctl("get", "site", "alpha")).code == ExitCode.OK
    assert moments[1] - moments[0] >= 1


async def test_attempts_are_counted_and_the_last_error_is_shown(fedctl, hub, timing):
    async def answer(_request: web.Request) -> web.Response:
        body = {"code": "unavailable", "detail": f"try {len(hub.requests)}", "retryable": True}
        return web.json_response(body, status=503, headers={"Retry-After": "Mon, 1 Jan 2035"})

    hub.handle("GET", "/api/v1/sites/alpha", answer)
    ended = await fedctl("get", "site", "alpha")
    assert ended.code == ExitCode.UNAVAILABLE
    assert len(hub.requests) == timing.request_attempt_count
    assert f"try {timing.request_attempt_count}" in ended.err
    assert ended.out == ""


async def test_what_cannot_pass_by_itself_is_asked_once(fedctl, hub):
    hub.problem("GET", "/api/v1/sites/alpha", 409, "conflict")
    assert (await fedctl("get", "site", "alpha")).code == ExitCode.CONFLICT
    assert len(hub.requests) == 1


async def test_a_command_that_is_interrupted_sends_nothing_more(hub, timing):
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.json_response(site())

    hub.handle("GET", "/api/v1/sites/alpha", slow)
    async with connect(load(Overrides()), timing) as hub_client:
        request = asyncio.create_task(hub_client.get("/api/v1/sites/alpha"))
        while not hub.requests:
            await asyncio.sleep(0.01)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    assert len(hub.requests) == 1
