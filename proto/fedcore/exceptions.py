"""The errors inside an exception group."""

from __future__ import annotations

from collections.abc import Iterator


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors of a group that are no groups, in order; an error that is none by itself."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from leaves(inner)


def first_leaf(error: Exception) -> Exception:
    """Return the first error of work that ran side by side in a task group."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
