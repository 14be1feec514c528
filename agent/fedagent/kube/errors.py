"""What can go wrong with a call to the Kubernetes API, by what the caller can do about it."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final

_MAX_TEXT: Final = 500


class KubeError(Exception):
    """Base of every failure of the Kubernetes API.

    ``message`` is the server's sentence, ``reason`` its word (``NotFound``), ``status`` the HTTP
    status; 0 means that there was no answer.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason


class NotFound(KubeError):
    """There is no such object, or no such resource on this server."""


class AlreadyExists(KubeError):
    """An object of this name is there."""


class Conflict(KubeError):
    """The object has moved on, or another field manager owns a field: read again."""


class Invalid(KubeError):
    """The server will never take this request as it is."""


class Forbidden(KubeError):
    """The agent's role, an admission rule or a quota does not allow it."""


class Unauthorized(KubeError):
    """The agent's credentials are not valid (any more)."""


class Gone(KubeError):
    """The resource version is too old for the server's history: list again."""


class TooLarge(KubeError):
    """The answer is larger than the caller's limit."""


class Unavailable(KubeError):
    """No answer, too many requests, or a failure of the server: the same call may succeed later."""


_BY_STATUS: Final[dict[int, type[KubeError]]] = {
    HTTPStatus.BAD_REQUEST: Invalid,
    HTTPStatus.UNAUTHORIZED: Unauthorized,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.METHOD_NOT_ALLOWED: Invalid,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Gone,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Invalid,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Invalid,
    HTTPStatus.UNPROCESSABLE_ENTITY: Invalid,
    HTTPStatus.TOO_MANY_REQUESTS: Unavailable,
}


def error_of(status: int, body: bytes) -> KubeError:
    """Make the error for an answer of ``status`` 400 or more; its body is a ``Status`` or text."""
    message, reason = _read_status(body)
    text = message or f"the Kubernetes API answered {status}"
    if reason == "AlreadyExists":
        return AlreadyExists(text, status=status, reason=reason)
    kind = _BY_STATUS.get(
        status, Unavailable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Invalid
    )
    return kind(text, status=status, reason=reason)


def _read_status(body: bytes) -> tuple[str, str]:
    try:
        parsed: Any = json.loads(body)
    except ValueError:
        return body[:_MAX_TEXT].decode("utf-8", "replace").strip(), ""
    if not isinstance(parsed, dict):
        return str(parsed)[:_MAX_TEXT], ""
    return str(parsed.get("message") or "")[:_MAX_TEXT], str(parsed.get("reason") or "")
