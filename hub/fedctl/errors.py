"""How a command ends: exit codes, and the one error that people see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; docs/fedctl.md lists them."""

    OK = 0
    NOT_REACHED = 1
    """`diff` found differences; what was waited for failed or was superseded."""
    USAGE = 2
    INVALID = 3
    NOT_FOUND = 4
    DENIED = 5
    CONFLICT = 6
    UNAVAILABLE = 7
    TIMEOUT = 8
    INTERNAL = 9
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of an input: where, and what is wrong with the cure."""

    path: str
    message: str


class CliError(Exception):
    """Ends a command: what happened, every fault, what to do next, and the exit code."""

    def __init__(
        self,
        code: ExitCode,
        message: str,
        *,
        hint: str = "",
        faults: tuple[FieldError, ...] = (),
        is_retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.faults = faults
        self.is_retryable = is_retryable
