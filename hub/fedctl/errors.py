"""How a command ends: exit codes, and the one error that people see."""

from __future__ import annotations

from enum import IntEnum

from fedcore.errors import FieldError


class ExitCode(IntEnum):
    """Exit codes of every command; docs/fedctl.md lists them."""

    OK = 0
    NOT_REACHED = 1
    """`diff` found differences; what was waited for failed or was superseded."""
    USAGE = 2
    """The command line or the configuration is wrong."""
    INVALID = 3
    """The input was refused; nothing was changed."""
    NOT_FOUND = 4
    DENIED = 5
    """The token is not known, or may not do this."""
    CONFLICT = 6
    """The present state forbids it, or somebody changed it meanwhile."""
    UNAVAILABLE = 7
    """The hub cannot be reached, or cannot do it now."""
    TIMEOUT = 8
    """The time limit of a wait has passed; the work goes on."""
    INTERNAL = 9
    """A bug of the hub, or an answer that fedctl cannot understand."""
    INTERRUPTED = 130
    """128 + SIGINT, as shells have it."""


class CliError(Exception):
    """Ends a command: what happened, every error, what to do next, and the exit code.

    ``is_retryable``: the same request may succeed in a moment. ``retry_after_s`` is how long the
    hub asks to wait for that, None where it does not say.
    """

    def __init__(
        self,
        code: ExitCode,
        message: str,
        *,
        hint: str = "",
        errors: tuple[FieldError, ...] = (),
        is_retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.errors = errors
        self.is_retryable = is_retryable
        self.retry_after_s = retry_after_s
