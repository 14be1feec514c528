"""How long a test waits for what it expects, and how it waits.

A limit decides only how late a test fails, never whether it passes: limits are therefore wide, and
they grow with the load of the machine. `FED_TEST_PATIENCE` multiplies every one of them. No test
asserts that something came within so many seconds; figures belong to `tests/bench`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, overload

import pytest

T = TypeVar("T")

LIMIT_S: Final = 120.0
"""The limit of one wait on a quiet machine. Ten joins on a real cluster, the slowest, need 40 s."""
FACTOR: Final = float(os.environ.get("FED_TEST_PATIENCE", "1"))
_LOAD_CAP: Final = 3.0
"""The most that the load counts: a test that hangs must still end."""
_FIRST_PAUSE_S: Final = 0.002
_LONGEST_PAUSE_S: Final = 0.05
_PAUSE_GROWTH: Final = 1.5


def patient(limit_s: float = LIMIT_S) -> float:
    """Return a limit as this machine needs it now."""
    load_per_core = os.getloadavg()[0] / (os.cpu_count() or 1)
    return limit_s * FACTOR * min(max(1.0, load_per_core), _LOAD_CAP)


def time_limit(limit_s: float = LIMIT_S) -> asyncio.Timeout:
    """Bound a block; for what is awaited directly. `until` is for what must be polled."""
    return asyncio.timeout(patient(limit_s))


@overload
async def until(
    condition: Callable[[], Awaitable[T | None]],
    expected: str = ...,
    *,
    describe: Callable[[], object] | None = ...,
    limit_s: float = ...,
) -> T: ...
@overload
async def until(
    condition: Callable[[], T | None],
    expected: str = ...,
    *,
    describe: Callable[[], object] | None = ...,
    limit_s: float = ...,
) -> T: ...
async def until(
    condition: Callable[[], Any],
    expected: str = "",
    *,
    describe: Callable[[], object] | None = None,
    limit_s: float = LIMIT_S,
) -> Any:
    """Ask until the answer is true and return it; what is asked may be a coroutine.

    After the limit the test fails with what was expected, the last answer, and what `describe`
    says. The pauses grow, so that a long wait costs little and a short one is not lengthened.
    """
    answer: Any = None
    loop = asyncio.get_running_loop()
    begun, pause_s = loop.time(), _FIRST_PAUSE_S
    limit = asyncio.timeout(None)
    try:
        async with limit:
            while True:
                limit.reschedule(begun + patient(limit_s))
                if answer := await _value_of(condition()):
                    return answer
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * _PAUSE_GROWTH, _LONGEST_PAUSE_S)
    except TimeoutError:
        if not limit.expired():
            raise
    state = "" if describe is None else f"\n{await _value_of(describe())}"
    pytest.fail(f"waited in vain: {expected or condition}; last answer: {answer!r}{state}")


async def _value_of(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
