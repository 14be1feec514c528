from __future__ import annotations

import asyncio
import io
import json
from typing import Annotated, Literal

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fedcore.errors import Conflict, FedError, Invalid, Unauthenticated
from fedcore.ids import NAME_PATTERN
from fedweb.openapi import openapi
from fedweb.problems import PROBLEM_TYPE, problems
from fedweb.routes import (
    BEARER,
    MAX_JSON_DEPTH,
    Answer,
    Authenticator,
    Limits,
    Query,
    Route,
    parse_json,
    register,
)
from fedweb.validation import errors_of


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    size: int = 1


def _is_even(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


class Picky(BaseModel):
    name: str = Field(default="a", pattern=NAME_PATTERN)
    life: int = Field(default=1, ge=1, le=9)
    word: str = Field(default="", max_length=4)
    colour: Literal["blue", "green"] = "blue"
    labels: dict[str, str] = Field(default_factory=dict)
    even: Annotated[int, AfterValidator(_is_even)] = 0


class Filter(Query):
    size: int | None = None


async def list_things(call):
    return Answer(Thing(name="a", size=call.query.size or 0))


async def make_thing(call):
    if call.body.name == "taken":
        raise Conflict("taken is there already")
    if call.body.name == "bug":
        raise RuntimeError("secret detail")
    return Answer(call.body, 201)


ROUTES = (
    Route("GET", "/things", list_things, "List.", "things", Thing, query=Filter),
    Route("POST", "/things", make_thing, "Make.", "things", Thing, status=201, body=Thing),
)


async def anybody(_request):
    return "anybody"


def by_header(name):
    """Build an authenticator that takes what a header says, unless it is `wrong`."""

    async def authenticate(request):
        said = request.headers.get(name)
        if said == "wrong":
            raise Unauthenticated(f"{name} is wrong")
        return said

    return Authenticator(authenticate, f"send {name}", {"type": "apiKey", "in": "header"})


WAYS = {BEARER: Authenticator(anybody, "", {"type": "http", "scheme": "bearer"})}
SCHEMES = {name: way.scheme for name, way in WAYS.items()}


@pytest.fixture
async def client():
    app = web.Application(middlewares=[problems])
    register(app, ROUTES, WAYS)
    async with TestClient(TestServer(app)) as client:
        yield client


async def problem(response, status):
    assert response.status == status
    assert response.content_type == PROBLEM_TYPE
    body = await response.json(content_type=PROBLEM_TYPE)
    assert body["status"] == status
    assert body["request_id"] == response.headers["X-Request-Id"]
    return body


async def test_a_checked_body_reaches_the_handler(client):
    response = await client.post("/things", json={"name": "x"})
    assert response.status == 201
    assert await response.json() == {"name": "x", "size": 1}


async def test_every_fault_of_a_body_is_named_by_its_path(client):
    body = await problem(await client.post("/things", json={"size": "big", "more": 1}), 422)
    assert {fault["path"] for fault in body["errors"]} == {"name", "size", "more"}


async def test_faults_say_the_field_and_the_cure_in_plain_words(client):
    body = await problem(await client.post("/things", json={"size": "big", "more": 1}), 422)
    assert {fault["path"]: fault["message"] for fault in body["errors"]} == {
        "name": "is required",
        "size": "must be a whole number",
        "more": "is no known key",
    }
    assert body["detail"] == "name: is required (and 2 more)"
    query = await problem(await client.get("/things?size=big"), 422)
    assert query["detail"] == "query.size: must be a whole number"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"name": "Alpha_1"}, "must be a DNS-1123 label"),
        ({"life": 0}, "must be at least 1"),
        ({"life": 99}, "must be at most 9"),
        ({"word": "toolong"}, "must have at most 4 characters"),
        ({"word": 4}, "must be text; quote it"),
        ({"colour": "red"}, "must be one of 'blue' or 'green'"),
        ({"labels": 1}, "must be a mapping of keys to values"),
        ({"even": 3}, "3 is odd"),
    ],
)
def test_no_fault_shows_the_validators_own_words(payload, message):
    with pytest.raises(ValidationError) as caught:
        Picky.model_validate(payload)
    (fault,) = errors_of(caught.value)
    assert fault.path == next(iter(payload))
    assert message in fault.message
    assert "should" not in fault.message


async def test_an_unknown_or_doubled_query_parameter_is_refused(client):
    await problem(await client.get("/things?colour=red"), 422)
    await problem(await client.get("/things?size=1&size=2"), 422)


async def test_a_body_that_is_no_json_or_of_another_type_is_refused(client):
    headers = {"Content-Type": "application/json"}
    for text in ("{", '{"a":1,"a":2}', "NaN", "\udcff".encode("utf-8", "surrogateescape")):
        await problem(await client.post("/things", data=text, headers=headers), 422)
    await problem(await client.post("/things", data="name: x"), 415)


async def test_a_body_that_is_too_large_is_refused(client):
    headers = {"Content-Type": "application/json"}
    await problem(
        await client.post("/things", data=io.BytesIO(b" " * 1_100_000), headers=headers), 413
    )


async def test_errors_keep_their_code_and_bugs_keep_their_secrets(client):
    taken = await problem(await client.post("/things", json={"name": "taken"}), 409)
    assert taken["code"] == "conflict"
    bug = await problem(await client.post("/things", json={"name": "bug"}), 500)
    assert "secret" not in json.dumps(bug)


async def test_a_wrong_method_or_path_is_a_problem_too(client):
    wrong = await client.delete("/things")
    await problem(wrong, 405)
    assert wrong.headers["Allow"] == "GET,POST" or "GET" in wrong.headers["Allow"]
    await problem(await client.get("/nothing"), 404)


def test_depth_is_bounded_just_where_the_limit_says():
    parse_json(b"[" * (MAX_JSON_DEPTH - 1) + b"]" * (MAX_JSON_DEPTH - 1))
    with pytest.raises(Invalid):
        parse_json(b"[" * (MAX_JSON_DEPTH + 2) + b"]" * (MAX_JSON_DEPTH + 2))
    with pytest.raises(Invalid):
        parse_json(b"[" * 100_000 + b"]" * 100_000)


def test_a_key_written_ten_thousand_times_is_refused_at_once():
    """Counting each name anew stood the whole server still for seconds."""
    body = b"{" + b",".join(b'"%d":1' % (number // 2) for number in range(100_000)) + b"}"
    with pytest.raises(Invalid, match="writes a key twice") as refused:
        parse_json(body)
    assert len(refused.value.message) < 500


@pytest.mark.parametrize(
    "body", [b'{"a": "\\ud800"}', b'{"\\ud800": 1}', b'["\\u0000"]', b'{"\\ud800":1,"\\ud800":2}']
)
def test_text_that_no_database_can_keep_is_refused(body):
    with pytest.raises(Invalid) as refused:
        parse_json(body)
    refused.value.message.encode()


def test_a_pair_of_surrogates_is_a_character_like_others():
    assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"


@given(st.binary(max_size=200))
def test_random_bytes_are_json_or_refused(data):
    try:
        parse_json(data)
    except FedError:
        return
    json.loads(data)


def test_the_document_lists_routes_parameters_and_problems():
    document = openapi(ROUTES, title="T", version="1", description="", security_schemes=SCHEMES)
    listing = document["paths"]["/things"]["get"]
    assert [p["name"] for p in listing["parameters"]] == ["size"]
    assert listing["parameters"][0]["schema"] == {"type": "integer"}
    making = document["paths"]["/things"]["post"]
    assert making["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("Thing")
    assert set(making["responses"]) == {"201", "default"}


async def who(call):
    return Answer(Thing(name=call.caller or "nobody"))


async def must_be_known(call):
    return Answer(Thing(name=call.principal))


PROTECTED = (
    Route("GET", "/both", who, "Either.", "t", Thing, auth=("cookie", BEARER)),
    Route("GET", "/token", who, "Token.", "t", Thing),
    Route("GET", "/open", who, "Open.", "t", Thing, auth=()),
    Route("GET", "/confused", must_be_known, "Open.", "t", Thing, auth=()),
)


@pytest.fixture
async def door():
    app = web.Application(middlewares=[problems])
    register(app, PROTECTED, {BEARER: by_header("X-Token"), "cookie": by_header("X-Cookie")})
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/both", {"X-Cookie": "ada"}, "ada"),
        ("/both", {"X-Token": "robot"}, "robot"),
        ("/both", {"X-Token": "robot", "X-Cookie": "ada"}, "ada"),
        ("/token", {"X-Token": "robot", "X-Cookie": "wrong"}, "robot"),
        ("/open", {}, "nobody"),
        ("/open", {"X-Token": "wrong"}, "nobody"),
    ],
)
async def test_a_route_is_opened_by_the_first_of_its_own_ways_that_has_credentials(
    door, path, headers, name
):
    response = await door.get(path, headers=headers)
    assert (await response.json())["name"] == name


@pytest.mark.parametrize(
    ("path", "headers", "detail"),
    [
        ("/both", {}, "send X-Cookie; or send X-Token"),
        ("/token", {"X-Cookie": "ada"}, "send X-Token"),
        ("/both", {"X-Cookie": "wrong", "X-Token": "robot"}, "X-Cookie is wrong"),
        ("/confused", {"X-Token": "robot"}, "this call has no caller"),
    ],
)
async def test_no_other_way_opens_a_route_and_wrong_credentials_are_never_passed_over(
    door, path, headers, detail
):
    assert (await problem(await door.get(path, headers=headers), 401))["detail"] == detail


def test_a_route_with_a_way_that_nobody_knows_cannot_be_served():
    with pytest.raises(KeyError):
        register(web.Application(), PROTECTED, WAYS)


def test_the_document_says_how_each_route_is_opened():
    document = openapi(PROTECTED, title="T", version="1", description="", security_schemes=SCHEMES)
    assert document["security"] == [{"token": []}]
    assert document["components"]["securitySchemes"] == SCHEMES
    paths = document["paths"]
    assert paths["/both"]["get"]["security"] == [{"cookie": []}, {"token": []}]
    assert paths["/open"]["get"]["security"] == []
    assert "security" not in paths["/token"]["get"]


async def test_a_fallback_may_answer_before_a_missing_page_becomes_a_problem():
    @web.middleware
    async def page_for_everything(request, handler):
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return web.Response(text="<title>app</title>", content_type="text/html")

    app = web.Application(middlewares=[problems, page_for_everything])
    register(app, ROUTES, WAYS)
    async with TestClient(TestServer(app)) as client:
        page = await client.get("/any/page")
        assert (page.status, page.content_type) == (200, "text/html")
        assert "X-Request-Id" in page.headers
        await problem(await client.delete("/things"), 405)


async def test_a_body_that_pauses_for_too_long_is_answered_408():
    async def dribble():
        yield b"{"
        await asyncio.sleep(60)

    app = web.Application(middlewares=[problems])
    register(app, ROUTES, WAYS, limits=Limits(body_pause_limit_s=0.05))
    async with TestClient(TestServer(app)) as client:
        headers = {"Content-Type": "application/json"}
        await problem(await client.post("/things", data=dribble(), headers=headers), 408)
