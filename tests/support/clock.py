"""The one clock of the tests: it stands still, or goes at any rate, and a test moves it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

_MONOTONIC_START_S: Final = 1_000.0


class ManualClock:
    """A clock that a test moves.

    It stands still by default. With a `rate` it goes on by itself, so many times as fast as the
    machine's clock. It starts at the present by default: TLS, which checks certificates, too, has
    a clock of its own.
    """

    def __init__(self, start: datetime | None = None, *, rate: float = 0.0) -> None:
        self._start = start or datetime.now(UTC)
        self._rate = rate
        self._elapsed_s = 0.0
        self._counted_from = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """How many seconds have passed since the start, moves included."""
        return self._elapsed_s + self._rate * (time.monotonic() - self._counted_from)

    def now(self) -> datetime:
        """Return the time, UTC, with its zone."""
        return self._start + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        """Return seconds that never go back, unless the test moves the clock back."""
        return _MONOTONIC_START_S + self.elapsed_s

    def advance(self, by: float | timedelta) -> None:
        """Move the clock by seconds or a span."""
        self._elapsed_s += by.total_seconds() if isinstance(by, timedelta) else by

    def set(self, at: datetime) -> None:
        """Move the clock to a time."""
        self.advance(at - self.now())

    def run_at(self, rate: float) -> None:
        """Go on at another rate from now on; 0 stops it."""
        self._elapsed_s = self.elapsed_s
        self._rate, self._counted_from = rate, time.monotonic()


def running_clock(shift: timedelta = timedelta()) -> ManualClock:
    """Return a clock that goes with the machine's, so much ahead of it."""
    return ManualClock(datetime.now(UTC) + shift, rate=1.0)


async def advance_by_turns(clock: ManualClock, *, step_s: float, pause_s: float) -> NoReturn:
    """Move a clock by a step in every turn that this task gets; run it as a task.

    All tasks of the process get their turns together, so that a busy machine makes none of them
    late by this clock.
    """
    while True:
        await asyncio.sleep(pause_s)
        clock.advance(step_s)
