"""The simulated nginx of FATE: routes HTTP by party, with the traps of the real lua scripts.

A name instead of an address is silently replaced by the upstream's placeholder: a party then
answers with its own FATE-Flow, an exchange calls itself. Routes are added by themselves within
seconds, and taken away by a reload or a new pod alone.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import yaml
from aiohttp import web

_FORWARD_LIMIT_S = 30.0
_SHUTDOWN_S = 0.1
_BODY_LIMIT = 16 * 1024 * 1024
_HOPS_HEADER = "X-Fedsim-Hops"
_HOPS_LIMIT = 8
_DROPPED = frozenset({"host", "connection", "transfer-encoding", "content-length", "keep-alive"})
_LOOP_TEXT = "400 Request Header Or Cookie Too Large"


@dataclass(frozen=True, slots=True)
class RouterFacts:
    """What a router knows of its place: its party, its kind, and its neighbour FATE-Flow."""

    party: str
    is_exchange: bool
    has_fate_flow: Callable[[], bool]
    read_table: Callable[[], bytes | None]


class Router:
    """One nginx pod."""

    def __init__(self, facts: RouterFacts, seed: int) -> None:
        self._facts = facts
        self._random = random.Random(seed)  # noqa: S311 - repeatable choice, no secret
        self._table: dict[str, Any] = {}
        self._is_stuck = False
        self._server = web.Server(self._handle)
        self._session: aiohttp.ClientSession | None = None
        self.poll()

    def poll(self) -> None:
        """Take in the file's routes, as each worker does every few seconds.

        Entries are set and never deleted. A file that is missing or no YAML ends the polling
        until a reload; an empty one or a list is passed over.
        """
        if self._is_stuck:
            return
        text = self._facts.read_table()
        try:
            document = yaml.safe_load(text) if text is not None else "missing"
        except yaml.YAMLError:
            document = "broken"
        if isinstance(document, str):
            self._is_stuck = True
        elif isinstance(document, dict):
            self._table.update({str(party): routes for party, routes in document.items()})

    def reload(self) -> None:
        """Start with new workers: nothing is remembered."""
        self._table = {}
        self._is_stuck = False
        self.poll()

    async def serve(self, client: socket.socket) -> None:
        """Hand a connection to the HTTP server."""
        await asyncio.get_running_loop().connect_accepted_socket(self._server, client)

    async def close(self) -> None:
        """Cut what is open."""
        await self._server.shutdown(_SHUTDOWN_S)
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/test":
            return web.Response(text="test")
        party = request.headers.get("dest-party-id") or request.headers.get("dest-env")
        service = request.headers.get("service")
        if not party:
            return _failure(500)
        routes = self._table.get(party)
        entries = routes.get(service) if isinstance(routes, dict) else self._default()
        if not entries:
            return _failure(500)
        entry = self._random.choice(entries)
        return await self._send(request, str(entry.get("host", "")), entry.get("http_port", 0))

    def _default(self) -> Any:
        default = self._table.get("default")
        return default.get("proxy") if isinstance(default, dict) else None

    async def _send(self, request: web.BaseRequest, host: str, port: Any) -> web.Response:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return self._placeholder(request)
        hops = int(request.headers.get(_HOPS_HEADER, "0"))
        if hops >= _HOPS_LIMIT:
            return web.Response(status=400, text=_LOOP_TEXT)
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in _DROPPED
        }
        headers[_HOPS_HEADER] = str(hops + 1)
        if self._session is None:
            limit = aiohttp.ClientTimeout(total=_FORWARD_LIMIT_S)
            self._session = aiohttp.ClientSession(timeout=limit, auto_decompress=False)
        try:
            return await self._forward(request, f"http://{host}:{port}", headers)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return _failure(502)

    async def _forward(
        self, request: web.BaseRequest, target: str, headers: dict[str, str]
    ) -> web.Response:
        if self._session is None:
            return _failure(502)
        async with self._session.request(
            request.method,
            f"{target}{request.rel_url.raw_path_qs}",
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            body = await answer.content.read(_BODY_LIMIT)
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in _DROPPED
            }
            return web.Response(status=answer.status, body=body, headers=kept)

    def _placeholder(self, request: web.BaseRequest) -> web.Response:
        """Answer as the upstream's placeholder: oneself on an exchange, else the own FATE-Flow."""
        if self._facts.is_exchange:
            return web.Response(status=400, text=_LOOP_TEXT)
        if not self._facts.has_fate_flow():
            return _failure(502)
        return fate_flow_answer(request, self._facts.party)


def fate_flow_answer(request: web.BaseRequest, party: str) -> web.Response:
    """Answer as the FATE-Flow of a party, which names itself."""
    data = {"party_id": party, "method": request.method, "path": request.path}
    body = {"retcode": 0, "retmsg": "success", "party_id": party, "data": data}
    return web.json_response(body)


def _failure(status: int) -> web.Response:
    names = {500: "Internal Server Error", 502: "Bad Gateway"}
    return web.Response(status=status, text=f"{status} {names[status]}")
