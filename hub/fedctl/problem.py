"""The hub's problem documents (RFC 9457) as errors of a command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fedcore.errors import ErrorCode, FieldError
from fedctl.errors import CliError, ExitCode

_CODES: Final[dict[str, ExitCode]] = {
    ErrorCode.INVALID: ExitCode.INVALID,
    ErrorCode.TOO_LARGE: ExitCode.INVALID,
    ErrorCode.UNAUTHENTICATED: ExitCode.DENIED,
    ErrorCode.DENIED: ExitCode.DENIED,
    ErrorCode.NOT_FOUND: ExitCode.NOT_FOUND,
    ErrorCode.CONFLICT: ExitCode.CONFLICT,
    ErrorCode.PRECONDITION_FAILED: ExitCode.CONFLICT,
    ErrorCode.FENCED: ExitCode.CONFLICT,
    ErrorCode.TOO_MANY: ExitCode.UNAVAILABLE,
    ErrorCode.UNAVAILABLE: ExitCode.UNAVAILABLE,
    ErrorCode.TIMEOUT: ExitCode.UNAVAILABLE,
    ErrorCode.INTERNAL: ExitCode.INTERNAL,
}
"""By the code of the problem document; one that a newer hub added goes by the HTTP status."""
_STATUSES: Final[dict[int, ExitCode]] = {
    401: ExitCode.DENIED,
    403: ExitCode.DENIED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    429: ExitCode.UNAVAILABLE,
    502: ExitCode.UNAVAILABLE,
    503: ExitCode.UNAVAILABLE,
    504: ExitCode.UNAVAILABLE,
}
_HINTS: Final[dict[str, str]] = {
    ErrorCode.UNAUTHENTICATED: "check the token that the configuration names; the hub made a "
    "new one if its state folder is new",
    ErrorCode.DENIED: "ask an administrator of the hub for the permission",
    ErrorCode.PRECONDITION_FAILED: "somebody changed it meanwhile: look at `fedctl diff -f FILE`, "
    "then apply again",
    ErrorCode.TOO_MANY: "try again in a moment",
    ErrorCode.UNAVAILABLE: "try again; `fedctl version` shows whether the hub answers",
    ErrorCode.INTERNAL: "the hub's log holds the cause under the request id",
}
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500


def error_of_answer(status: int, headers: Mapping[str, str], body: bytes) -> CliError:
    """Turn an error answer into a CliError; what is no problem document is quoted in short."""
    try:
        problem: Any = json.loads(body)
    except (ValueError, RecursionError):
        problem = None
    if not isinstance(problem, dict) or not isinstance(problem.get("code"), str):
        return _of_foreign_server(status, headers, body)
    problem_code = problem["code"]
    exit_code = _CODES.get(problem_code) or _by_status(status)
    hint = _HINTS.get(problem_code, "")
    if exit_code is ExitCode.INTERNAL:
        hint += f" {problem.get('request_id', '')}".rstrip()
    return CliError(
        exit_code,
        str(problem.get("detail") or problem.get("title") or f"the hub answered {status}"),
        hint=hint,
        errors=_field_errors(problem.get("errors")),
        is_retryable=problem.get("retryable") is True,
        retry_after_s=_retry_after_s(headers),
    )


def _of_foreign_server(status: int, headers: Mapping[str, str], body: bytes) -> CliError:
    text = " ".join(body[:200].decode("utf-8", "replace").split())
    return CliError(
        _by_status(status),
        f"the server answered {status}" + (f": {text}" if text else ""),
        hint="check that `hub` in the configuration is the address of a fedhub",
        is_retryable=_STATUSES.get(status) is ExitCode.UNAVAILABLE,
        retry_after_s=_retry_after_s(headers),
    )


def _by_status(status: int) -> ExitCode:
    if status in _STATUSES:
        return _STATUSES[status]
    return ExitCode.INVALID if _CLIENT_ERROR <= status < _SERVER_ERROR else ExitCode.INTERNAL


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read ``Retry-After`` in seconds; a date, which RFC 9110 also allows, counts as absent."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _field_errors(errors: object) -> tuple[FieldError, ...]:
    if not isinstance(errors, list):
        return ()
    return tuple(
        FieldError(str(error.get("path", "")), str(error.get("message", "")))
        for error in errors
        if isinstance(error, dict)
    )
