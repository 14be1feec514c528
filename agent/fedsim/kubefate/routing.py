"""Find the handler of a request as gin does: exact paths, and redirects for a missing slash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

Handler = Callable[[web.Request, Mapping[str, str]], Awaitable[web.StreamResponse]]
NOT_FOUND: Final = "404 page not found"


@dataclass(frozen=True, slots=True)
class Route:
    """One route. ``path`` has parameters as ``{name}``; an ``{*}`` at its end takes the rest."""

    method: str
    path: str
    handler: Handler
    is_open: bool = False
    """Whether it is answered without a token."""

    @property
    def name(self) -> str:
        """Return what requests of this route are counted under."""
        return f"{self.method} {self.path}"

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Return the parameters, or None when the request is for another route."""
        if method != self.method:
            return None
        wanted, given = self.path.split("/"), path.split("/")
        if wanted[-1] == "{*}":
            given = [*given[: len(wanted) - 1], "/".join(given[len(wanted) - 1 :])]
        if len(wanted) != len(given):
            return None
        found: dict[str, str] = {}
        for pattern, part in zip(wanted, given, strict=True):
            if pattern.startswith("{"):
                if not part and pattern != "{*}":
                    return None
                found[pattern.strip("{}")] = part
            elif pattern != part:
                return None
        return found


class Router:
    """Hold the routes."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the route of a request and its parameters; fixed words win over parameters."""
        found = [
            (route, parameters)
            for route in self._routes
            if (parameters := route.match(method, path)) is not None
        ]
        return min(found, key=lambda pair: len(pair[1]), default=None)

    def redirect(self, method: str, path: str) -> str | None:
        """Return the path that differs by its last slash alone and has a route."""
        other = path[:-1] if path.endswith("/") else f"{path}/"
        return other if other and self.find(method, other) is not None else None


def redirect_response(request: web.Request, path: str) -> web.Response:
    """Answer as gin does: 301 with a line of HTML for GET, 307 without a body for the rest."""
    query = request.query_string
    location = f"{path}?{query}" if query else path
    if request.method != "GET":
        return web.Response(status=307, headers={"Location": location})
    body = f'<a href="{location}">Moved Permanently</a>.\n\n'
    return web.Response(
        status=301,
        text=body,
        content_type="text/html",
        charset="utf-8",
        headers={"Location": location},
    )


def not_found() -> web.Response:
    """Answer for an unknown route, wrong methods included."""
    return web.Response(status=404, text=NOT_FOUND, content_type="text/plain")
