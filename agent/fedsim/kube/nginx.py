"""The simulated nginx of FATE: routes HTTP by party, with the traps of the real lua scripts.

A name instead of an address is silently replaced by the upstream's placeholder: a party then
answers with its own FATE-Flow, an exchange calls itself. Routes are added by themselves within
seconds, and removed by a reload or a new pod alone.
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
_FAILURES = {
    400: "Request Header Or Cookie Too Large",  # what a loop of nginx ends with
    500: "Internal Server Error",
    502: "Bad Gateway",
}


@dataclass(frozen=True, slots=True)
class NginxFacts:
    """What an nginx knows of its place: its party, its kind, and its neighbour FATE-Flow."""

    party: str
    is_exchange: bool
    has_fate_flow: Callable[[], bool]
    read_table: Callable[[], bytes | None]


class Nginx:
    """One nginx pod."""

    def __init__(self, facts: NginxFacts, seed: int) -> None:
        self._facts = facts
        self._random = random.Random(seed)
        self._table: dict[str, Any] = {}
        self._is_stuck = False
        self._server = web.Server(self._handle)
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

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        party = request.headers.get("dest-party-id") or request.headers.get("dest-env")
        routes = self._table.get(party) if party else None
        if isinstance(routes, dict):
            entries = routes.get(request.headers.get("service"))
        else:
            entries = (self._table.get("default") or {}).get("proxy")
        if not party or not entries:
            return _failure(500)
        entry = self._random.choice(entries)
        host, port = str(entry.get("host", "")), entry.get("http_port", 0)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return self._placeholder(request)
        if int(request.headers.get(_HOPS_HEADER, "0")) >= _HOPS_LIMIT:
            return _failure(400)
        try:
            return await _forward(request, f"http://{host}:{port}")
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return _failure(502)

    def _placeholder(self, request: web.BaseRequest) -> web.Response:
        """Answer as the upstream's placeholder: oneself on an exchange, else the own FATE-Flow."""
        if self._facts.is_exchange:
            return _failure(400)
        if not self._facts.has_fate_flow():
            return _failure(502)
        return fate_flow_answer(request, self._facts.party)


async def _forward(request: web.BaseRequest, target: str) -> web.Response:
    headers = _kept(request.headers)
    headers[_HOPS_HEADER] = str(int(headers.get(_HOPS_HEADER, "0")) + 1)
    limit = aiohttp.ClientTimeout(total=_FORWARD_LIMIT_S)
    async with (
        aiohttp.ClientSession(timeout=limit, auto_decompress=False) as session,
        session.request(
            request.method,
            f"{target}{request.rel_url.raw_path_qs}",
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as answer,
    ):
        body = await answer.content.read(_BODY_LIMIT)
        return web.Response(status=answer.status, body=body, headers=_kept(answer.headers))


def _kept(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _DROPPED}


def fate_flow_answer(request: web.BaseRequest, party: str) -> web.Response:
    """Answer as the FATE-Flow of a party, which names itself."""
    data = {"party_id": party, "method": request.method, "path": request.path}
    body = {"retcode": 0, "retmsg": "success", "party_id": party, "data": data}
    return web.json_response(body)


def _failure(status: int) -> web.Response:
    return web.Response(status=status, text=f"{status} {_FAILURES[status]}")
