"""Calls to services of others: how long they may take, and which errors their callers get.

It knows no HTTP library: a client says which exceptions of its library are network failures.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fedcore.byte_stream import StreamTooLong


@dataclass(frozen=True, slots=True, kw_only=True)
class CallErrors:
    """What a client's library raises, and what the client makes of it."""

    failures: tuple[type[Exception], ...]
    """The library's network failures; ``OSError`` is always one."""

    unavailable: Callable[[str], Exception]
    """Makes the error for a call without an answer."""

    too_large: Callable[[str], Exception]
    """Makes the error for an answer beyond its limit (``byte_stream.read_limited``)."""


@asynccontextmanager
async def network_call(
    what: str, *, errors: CallErrors, limit_s: float | None = None
) -> AsyncIterator[None]:
    """Bound the time of a call, and turn what goes wrong on the way into the client's errors.

    ``what`` names the call in their messages. Without a limit a ``TimeoutError`` passes: the caller
    has set limits of its own inside and knows what they mean.
    """
    network_failures: tuple[type[Exception], ...] = (*errors.failures, OSError)
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError as error:
        if limit_s is None:
            raise
        raise errors.unavailable(f"{what}: no answer within {limit_s:g} s") from error
    except StreamTooLong as error:
        text = f"{what}: the answer exceeds {error.limit_bytes} bytes"
        raise errors.too_large(text) from error
    except network_failures as error:
        raise errors.unavailable(f"{what}: {type(error).__name__}: {error}") from error
