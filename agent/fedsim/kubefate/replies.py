"""Answer as the service does."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web


def reply(body: Any, status: int = 200) -> web.Response:
    """Send JSON without spaces, with Go's content type."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return web.Response(text=text, status=status, content_type="application/json", charset="utf-8")


def success(message: str, data: Any = ...) -> web.Response:
    """Send ``data`` (where there is any) and ``msg``."""
    body = {"msg": message} if data is ... else {"data": data, "msg": message}
    return reply(body)


def failure(status: int, text: str) -> web.Response:
    """Send an error."""
    return reply({"error": text}, status)


def refusal(code: int, message: str) -> web.Response:
    """Send an authentication error."""
    response = reply({"code": code, "message": message}, code)
    response.headers["WWW-Authenticate"] = "JWT realm=gin jwt"
    return response


def panic() -> web.Response:
    """Answer as gin does when a handler panicked: 500 and nothing."""
    return web.Response(status=500)
