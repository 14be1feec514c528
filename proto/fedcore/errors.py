"""Errors as data: a code for programs, a sentence for people.

Domain and services raise them and know no transport. Two modules translate them outward:
``fedproto.transport`` to gRPC statuses, ``fedweb.problems`` to problem documents (RFC 9457).

The tree, each leaf named by what the caller can do:

* ``FedError``
    * ``Invalid``: the input is wrong and stays wrong until it is changed
    * ``Unauthenticated``: nobody, or not who they say
    * ``Denied``: known, and not allowed
    * ``NotFound``: there is no such thing
    * ``Conflict``: the present state forbids it; reading again shows why
    * ``Unavailable``: not now; the same call may succeed later
    * ``Internal``: our fault

The other codes (``FENCED``, ``TIMEOUT``, ``TOO_MANY``, ...) are raised as ``FedError`` with
``code=``. Packages add leaves of their own beside the code that raises them, as ``FedError`` where
they may leave the process:

* ``fedlink.stream``: ``SessionEnded``
* ``fedagent.journal``: ``JournalTooNew``, ``JournalUnusable``, ``SpoolFull``
* ``fedhub.services``: ``Unplannable``, ``NamespaceInUse``, ``FollowerTooSlow``

Two services of others have trees of their own, which the agent turns into reasons and findings and
which never leave it:

* ``fedagent.kube.errors.KubeError``: ``NotFound``, ``AlreadyExists``, ``Conflict``, ``Invalid``,
  ``Forbidden``, ``Unauthorized``, ``Gone``, ``TooLarge``, ``Unavailable``; beside their code
  ``BadConfig``, ``ExecFailed``, ``NotOurs``
* ``fedagent.kubefate.errors.KubeFateError``: ``Unauthorized``, ``RecordNotFound``,
  ``AlreadyExists``, ``Unchanged``, ``AnotherOperation``, ``Refused``, ``Unavailable``,
  ``TooLarge``, ``WrongAnswer``; beside their code ``BadCredentials``, ``BadArchive``

A plain exception (``fedcore.byte_stream.StreamTooLong``) is caught by the package that calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


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


RETRYABLE: Final = frozenset(
    {ErrorCode.TOO_MANY, ErrorCode.FENCED, ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT}
)
"""Codes of situations that pass by themselves: the same call may succeed later."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One error of an input: ``path`` is dotted with list indexes, e.g. ``parties.1.id``."""

    path: str
    message: str


def first_of(errors: Sequence[FieldError], *, whole: str = "") -> str:
    """Return the first error as text and how many more there are; ``whole`` names the input."""
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
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
    def is_retryable(self) -> bool:
        """Whether the same call may succeed later."""
        return self.code in RETRYABLE


class Invalid(FedError):
    """The caller's input is wrong and stays wrong until it is changed."""

    code = ErrorCode.INVALID

    def __init__(
        self, message: str, *, errors: tuple[FieldError, ...] = (), **facts: object
    ) -> None:
        super().__init__(message, code=None, **facts)
        self.errors = errors


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
