"""Route and answer as the service does with gin: exact paths, redirects for a missing slash."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request, Mapping[str, str]], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route. ``path`` has parameters as ``{name}``; an open one needs no token."""

    method: str
    path: str
    handler: Handler
    is_open: bool = False

    @property
    def name(self) -> str:
        """Return what requests of this route are counted under."""
        return f"{self.method} {self.path}"

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Return the parameters, or None when the request is for another route."""
        patterns, parts = self.path.split("/"), path.split("/")
        if method != self.method or len(patterns) != len(parts):
            return None
        parameters: dict[str, str] = {}
        for pattern, part in zip(patterns, parts, strict=True):
            if pattern.startswith("{") and part:
                parameters[pattern.strip("{}")] = part
            elif pattern != part:
                return None
        return parameters


class Router:
    """Holds the routes."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the route of a request and its parameters; fixed words win over parameters."""
        matches = [
            (route, parameters)
            for route in self._routes
            if (parameters := route.match(method, path)) is not None
        ]
        return min(matches, key=lambda pair: len(pair[1]), default=None)

    def redirect(self, method: str, path: str) -> str | None:
        """Return the path that differs by its last slash alone and has a route."""
        other = path[:-1] if path.endswith("/") else f"{path}/"
        return other if other and self.find(method, other) is not None else None


def redirect_response(request: web.Request, path: str) -> web.Response:
    """Return gin's redirect: 301 with a line of HTML for GET, 307 without a body for the rest."""
    query = request.query_string
    location = f"{path}?{query}" if query else path
    if request.method != "GET":
        return web.Response(status=307, headers={"Location": location})
    return web.Response(
        status=301,
        text=f'<a href="{location}">Moved Permanently</a>.\n\n',
        content_type="text/html",
        charset="utf-8",
        headers={"Location": location},
    )


def not_found() -> web.Response:
    """Return the answer for an unknown route, wrong methods included."""
    return web.Response(status=404, text="404 page not found", content_type="text/plain")


def reply(body: Any, status: int = 200) -> web.Response:
    """Return JSON without spaces, with Go's content type."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return web.Response(text=text, status=status, content_type="application/json", charset="utf-8")


def success(message: str, data: Any = ...) -> web.Response:
    """Return ``data`` (where there is any) and ``msg``."""
    return reply({"msg": message} if data is ... else {"data": data, "msg": message})


def failure(status: int, text: str) -> web.Response:
    """Return an error."""
    return reply({"error": text}, status)


def refusal(code: int, message: str) -> web.Response:
    """Return an authentication error."""
    response = reply({"code": code, "message": message}, code)
    response.headers["WWW-Authenticate"] = "JWT realm=gin jwt"
    return response


def panic() -> web.Response:
    """Return what gin answers when a handler panicked: 500 and nothing."""
    return web.Response(status=500)
