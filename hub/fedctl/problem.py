"""The hub's problem documents (RFC 9457) as failures of a command."""

from __future__ import annotations

import json
from typing import Any, Final

from fedctl.errors import CliError, ExitCode, FieldError

_CODES: Final[dict[str, ExitCode]] = {
    "invalid": ExitCode.INVALID,
    "too_large": ExitCode.INVALID,
    "unauthenticated": ExitCode.DENIED,
    "denied": ExitCode.DENIED,
    "not_found": ExitCode.NOT_FOUND,
    "conflict": ExitCode.CONFLICT,
    "precondition_failed": ExitCode.CONFLICT,
    "fenced": ExitCode.CONFLICT,
    "too_many": ExitCode.UNAVAILABLE,
    "unavailable": ExitCode.UNAVAILABLE,
    "timeout": ExitCode.UNAVAILABLE,
    "internal": ExitCode.INTERNAL,
}
_STATUSES: Final[dict[int, ExitCode]] = {
    401: ExitCode.DENIED,
    403: ExitCode.DENIED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    502: ExitCode.UNAVAILABLE,
    503: ExitCode.UNAVAILABLE,
    504: ExitCode.UNAVAILABLE,
}
_HINTS: Final[dict[str, str]] = {
    "unauthenticated": "check the token that the configuration names; the hub made a new one "
    "if its state folder is new",
    "denied": "ask an administrator of the hub for the permission",
    "precondition_failed": "somebody changed it meanwhile: look at `fedctl diff -f FILE`, "
    "then apply again",
    "too_many": "try again in a moment",
    "unavailable": "try again; `fedctl version` tells whether the hub answers",
    "internal": "the hub's log holds the cause under the request id",
}
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500


def error_of_problem(status: int, body: bytes) -> CliError:
    """Turn an error answer into a failure; anything that is no problem document is quoted short."""
    try:
        problem: Any = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or not isinstance(problem.get("code"), str):
        return _foreign(status, body)
    word = problem["code"]
    code = _CODES.get(word) or _by_status(status)
    message = str(problem.get("detail") or problem.get("title") or f"the hub answered {status}")
    hint = _HINTS.get(word, "")
    if code is ExitCode.INTERNAL:
        hint += f" {problem.get('request_id', '')}".rstrip()
    return CliError(
        code,
        message,
        hint=hint,
        faults=_faults(problem.get("errors")),
        is_retryable=problem.get("retryable") is True,
    )


def _foreign(status: int, body: bytes) -> CliError:
    text = " ".join(body[:200].decode("utf-8", "replace").split())
    return CliError(
        _by_status(status),
        f"the server answered {status}" + (f": {text}" if text else ""),
        hint="check that `hub` in the configuration is the address of a fedhub",
        is_retryable=_STATUSES.get(status) is ExitCode.UNAVAILABLE,
    )


def _by_status(status: int) -> ExitCode:
    if status in _STATUSES:
        return _STATUSES[status]
    return ExitCode.INVALID if _CLIENT_ERROR <= status < _SERVER_ERROR else ExitCode.INTERNAL


def _faults(value: object) -> tuple[FieldError, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(
        FieldError(str(one.get("path", "")), str(one.get("message", "")))
        for one in value
        if isinstance(one, dict)
    )
