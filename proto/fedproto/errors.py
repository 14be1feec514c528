"""Errors as data: a code for programs, a sentence for people, one catalogue for every transport.

``FedError`` and its subclasses are raised by domain and services; only ``fedproto.transport``
(gRPC) and ``fedhub.api.problems`` (HTTP) translate them outward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import grpc


class ErrorCode(StrEnum):
    """A stable word for a situation; consoles translate it, programs switch on it."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    DENIED = "denied"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    PRECONDITION_FAILED = "precondition_failed"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    FENCED = "fenced"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """How one code leaves the process."""

    http_status: int
    grpc_status: grpc.StatusCode
    retryable: bool


CATALOGUE: Final[dict[ErrorCode, ErrorSpec]] = {
    ErrorCode.INVALID: ErrorSpec(422, grpc.StatusCode.INVALID_ARGUMENT, retryable=False),
    ErrorCode.UNAUTHENTICATED: ErrorSpec(401, grpc.StatusCode.UNAUTHENTICATED, retryable=False),
    ErrorCode.DENIED: ErrorSpec(403, grpc.StatusCode.PERMISSION_DENIED, retryable=False),
    ErrorCode.NOT_FOUND: ErrorSpec(404, grpc.StatusCode.NOT_FOUND, retryable=False),
    ErrorCode.CONFLICT: ErrorSpec(409, grpc.StatusCode.ALREADY_EXISTS, retryable=False),
    ErrorCode.PRECONDITION_FAILED: ErrorSpec(
        412, grpc.StatusCode.FAILED_PRECONDITION, retryable=False
    ),
    ErrorCode.TOO_LARGE: ErrorSpec(413, grpc.StatusCode.OUT_OF_RANGE, retryable=False),
    ErrorCode.TOO_MANY: ErrorSpec(429, grpc.StatusCode.RESOURCE_EXHAUSTED, retryable=True),
    ErrorCode.FENCED: ErrorSpec(409, grpc.StatusCode.ABORTED, retryable=True),
    ErrorCode.UNAVAILABLE: ErrorSpec(503, grpc.StatusCode.UNAVAILABLE, retryable=True),
    ErrorCode.TIMEOUT: ErrorSpec(504, grpc.StatusCode.DEADLINE_EXCEEDED, retryable=True),
    ErrorCode.INTERNAL: ErrorSpec(500, grpc.StatusCode.INTERNAL, retryable=False),
}


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One fault of an input: ``path`` is dotted with list indexes, e.g. ``parties.1.id``."""

    path: str
    message: str


def first_of(faults: Sequence[FieldFault], *, whole: str = "") -> str:
    """Say the first fault and how many more there are; ``whole`` is the name of the input."""
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{first.path or whole}: {first.message}{more}"


class FedError(Exception):
    """Base of every error that may leave a process.

    ``message`` names what happened, to what, and what to do; it must hold no secret.
    ``facts`` are for logs and for the problem document's extension members.
    """

    code: ErrorCode = ErrorCode.INTERNAL

    def __init__(self, message: str, *, code: ErrorCode | None = None, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts
        if code is not None:
            self.code = code

    @property
    def spec(self) -> ErrorSpec:
        """The catalogue's row for this error's code."""
        return CATALOGUE[self.code]


class Invalid(FedError):
    """The caller's input is wrong and stays wrong until it is changed."""

    code = ErrorCode.INVALID

    def __init__(
        self, message: str, *, faults: tuple[FieldFault, ...] = (), **facts: object
    ) -> None:
        super().__init__(message, code=None, **facts)
        self.faults = faults


class Unauthenticated(FedError):
    """Nobody, or not who they say."""

    code = ErrorCode.UNAUTHENTICATED


class Denied(FedError):
    """Known, and not allowed."""

    code = ErrorCode.DENIED


class NotFound(FedError):
    """There is no such thing, or the caller may not know of it."""

    code = ErrorCode.NOT_FOUND


class Conflict(FedError):
    """The present state forbids it; reading again shows why."""

    code = ErrorCode.CONFLICT


class Unavailable(FedError):
    """Not now; the same call may succeed later."""

    code = ErrorCode.UNAVAILABLE


class Internal(FedError):
    """Our fault."""

    code = ErrorCode.INTERNAL
