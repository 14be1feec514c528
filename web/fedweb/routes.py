"""A route table whose rows are the API's documentation: typed in, typed out, OpenAPI from both."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from fedcore.byte_stream import StreamTooLong, read_limited
from fedcore.errors import ErrorCode, FedError, Invalid, Unauthenticated
from fedweb.validation import invalid

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_JSON_DEPTH: Final = 50
_SHOWN_NAMES: Final = 5
_SHOWN_CHARS: Final = 60
JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
BEARER: Final = "token"
"""The authenticator of routes that name none: an API token."""

P = TypeVar("P")


class Query(BaseModel):
    """Base of query models: unknown parameters are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(Query):
    """A route that takes no parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a caller may take over a body."""

    body_pause_limit_s: float = 20.0
    """How long a caller may pause: TCP's own recovery from loss takes a few seconds."""

    body_limit_s: float = 300.0
    """How long a whole body may take: 10 MB at 35 kB/s."""


@dataclass(frozen=True, slots=True)
class Authenticator(Generic[P]):
    """One way in which callers say who they are.

    ``authenticate`` returns None where a request has no credentials of this kind, and raises
    Unauthenticated where it has some and they are wrong. ``hint`` says what to send; ``scheme`` is
    the OpenAPI security scheme.
    """

    authenticate: Callable[[web.Request], Awaitable[P | None]]
    hint: str
    scheme: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Call(Generic[P]):
    """One request, checked: who asks, path, query and body; ``raw`` is the body as it came."""

    request: web.Request
    caller: P | None
    query: Any
    body: Any
    raw: bytes = b""

    @property
    def principal(self) -> P:
        """Who asks; Unauthenticated on an open route, whose callers are nobody."""
        if self.caller is None:
            raise Unauthenticated("this call has no caller")
        return self.caller

    def path(self, name: str) -> str:
        """Return a variable of the path."""
        return self.request.match_info[name]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler returns; ``body`` None sends no content."""

    body: BaseModel | None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route(Generic[P]):
    """One row: where, what it takes, what it answers.

    ``body`` is the documented model; with ``parse_body`` False the handler gets plain JSON and
    checks it itself (to give better errors). ``upload`` names the media type of a raw body.
    ``stream`` handlers answer by themselves. ``secret``: the answer holds a secret, and is kept
    nowhere. ``headers``: name, description and pattern of each header that the handler reads.
    ``auth`` names the authenticators of which the first with credentials decides; none: the route
    is open to everybody.
    """

    method: str
    path: str
    handler: Callable[[Call[P]], Awaitable[Answer]]
    summary: str
    tag: str
    answer: type[BaseModel] | None = None
    status: int = 200
    also: tuple[int, ...] = ()
    query: type[Query] = NoQuery
    body: type[BaseModel] | None = None
    parse_body: bool = True
    upload: str | None = None
    max_bytes: int = MAX_BODY_BYTES
    stream: Callable[[Call[P]], Awaitable[web.StreamResponse]] | None = None
    auth: tuple[str, ...] = (BEARER,)
    secret: bool = False
    headers: tuple[tuple[str, str, str], ...] = ()

    @property
    def operation_id(self) -> str:
        """A name for generated clients: the handler's."""
        return self.handler.__name__


Handle = Callable[[], Awaitable[web.StreamResponse]]
Around = Callable[[Route[Any], Call[Any], Handle], Awaitable[web.StreamResponse]]
"""Stands around every handler, with the checked call; answers by itself or lets it pass."""


async def pass_through(_route: Route[Any], _call: Call[Any], handle: Handle) -> web.StreamResponse:
    """Hand every call to its handler."""
    return await handle()


def register(
    app: web.Application,
    routes: Sequence[Route[P]],
    authenticators: Mapping[str, Authenticator[P]],
    around: Around = pass_through,
    *,
    limits: Limits | None = None,
) -> None:
    """Add every row to the application; handlers see checked input only."""
    for route in routes:
        ways = [authenticators[name] for name in route.auth]
        handler = _serve(route, ways, around, limits or Limits())
        app.router.add_route(route.method, route.path, handler)


def _serve(
    route: Route[P], ways: Sequence[Authenticator[P]], around: Around, limits: Limits
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        # First of all: a stranger's query and body are not even read.
        caller: P | None = None
        if ways:
            caller = await _authenticate(ways, request)
        query = _read_query(route, request)
        raw = await _read_raw(route, request, limits)
        call = Call(request, caller, query, _parse_body(route, raw), raw)

        async def handle() -> web.StreamResponse:
            if route.stream is not None:
                return await route.stream(call)
            return respond(await route.handler(call))

        return await around(route, call, handle)

    return serve


async def _authenticate(ways: Sequence[Authenticator[P]], request: web.Request) -> P:
    for way in ways:
        principal = await way.authenticate(request)
        if principal is not None:
            return principal
    raise Unauthenticated("; or ".join(way.hint for way in ways))


def respond(answer: Answer) -> web.Response:
    """Turn an answer into a response."""
    if answer.body is None:
        return web.Response(status=answer.status, headers=answer.headers)
    return web.Response(
        status=answer.status,
        text=answer.body.model_dump_json(by_alias=True),
        content_type=JSON,
        headers={"Cache-Control": "no-store", **answer.headers},
    )


def _read_query(route: Route[P], request: web.Request) -> Query:
    pairs = dict(request.query)
    if len(pairs) != len(request.query):
        raise Invalid("a query parameter is written twice")
    try:
        return route.query.model_validate(pairs)
    except ValidationError as error:
        raise invalid(error, "query", whole="query") from error


async def _read_raw(route: Route[P], request: web.Request, limits: Limits) -> bytes:
    if route.upload is None and route.body is None:
        return b""
    if route.upload is None and request.content_type != JSON:
        raise web.HTTPUnsupportedMediaType(text=f"send the body as {JSON}")
    return await read_body(request, route.max_bytes, limits)


def _parse_body(route: Route[P], raw: bytes) -> Any:
    if route.upload is not None:
        return raw
    if route.body is None:
        return None
    payload = parse_json(raw)
    if not route.parse_body:
        return payload
    try:
        return route.body.model_validate(payload)
    except ValidationError as error:
        raise invalid(error, whole="the body") from error


async def read_body(request: web.Request, max_bytes: int, limits: Limits) -> bytes:
    """Read a body of at most ``max_bytes``; raise TOO_LARGE beyond, before it is in memory.

    A caller that takes longer than ``limits`` allow gets 408.
    """
    too_large = FedError(f"the body is larger than {max_bytes} bytes", code=ErrorCode.TOO_LARGE)
    if request.content_length is not None and request.content_length > max_bytes:
        raise too_large
    try:
        async with asyncio.timeout(limits.body_limit_s):
            return await read_limited(_chunks(request, limits.body_pause_limit_s), max_bytes)
    except StreamTooLong as error:
        raise too_large from error
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text="the body came too slowly") from error


async def _chunks(request: web.Request, pause_limit_s: float) -> AsyncIterator[bytes]:
    while True:
        async with asyncio.timeout(pause_limit_s):
            chunk = await request.content.readany()
        if not chunk:
            return
        yield chunk


def parse_json(text: bytes) -> Any:
    """Parse JSON that a stranger sent: no duplicate keys, no NaN, bounded depth."""
    try:
        parsed = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except RecursionError as error:
        raise Invalid(f"the body is nested deeper than {MAX_JSON_DEPTH} levels") from error
    except ValueError as error:
        raise Invalid(f"the body is no JSON: {error}") from error
    _check_tree(parsed)
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        counted = Counter(name for name, _ in pairs)
        twice = [ascii(name[:_SHOWN_CHARS]) for name, count in counted.items() if count > 1]
        raise Invalid(f"one object writes a key twice: {', '.join(twice[:_SHOWN_NAMES])}")
    return mapping


def _no_constant(text: str) -> float:
    raise Invalid(f"{text} is no JSON number")


def _check_tree(value: Any) -> None:
    """Refuse what is nested too deep, and text that no database can keep."""
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        for node in level:
            _check_text(node)
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in ((*node, *node.values()) if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise Invalid(f"the body is nested deeper than {MAX_JSON_DEPTH} levels")


def _check_text(value: Any) -> None:
    if not isinstance(value, str):
        return
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise Invalid("a text of the body holds NUL or half a surrogate pair")
