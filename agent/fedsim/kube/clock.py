"""Simulated time: real time, stretched or shortened by a scale that may change at any moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Tells the time, and calls back after simulated seconds; belongs to the running loop."""

    def __init__(self, *, scale: float = 1.0, seed: int = 0) -> None:
        self.scale = scale
        self._seed = seed
        self._timers: set[asyncio.TimerHandle] = set()

    def now(self) -> datetime:
        """Return the time of day; it runs at its natural pace, whatever the scale."""
        return datetime.now(UTC)

    def stamp(self) -> str:
        """Return the time of day as Kubernetes writes it: whole seconds, UTC."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def micro_stamp(self) -> str:
        """Return the time of day with microseconds."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def monotonic(self) -> float:
        """Return seconds of real time that never go back."""
        return asyncio.get_running_loop().time()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` after so many simulated seconds, unless the clock is stopped."""

        def run() -> None:
            self._timers.discard(timer)
            callback()

        timer = asyncio.get_running_loop().call_later(max(0.0, delay_s * self.scale), run)
        self._timers.add(timer)

    def pick(self, interval: tuple[float, float], *subject: str) -> float:
        """Return a figure in the interval that depends on the seed and the subject alone."""
        chance = random.Random("/".join((str(self._seed), *subject)))  # noqa: S311 - repeatable
        return chance.uniform(*interval)

    def stop(self) -> None:
        """Forget every callback."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
