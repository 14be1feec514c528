"""Simulated time: real time, stretched or shortened by a scale that may change at any moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime

_RETRY_FROM_S = 1.0
_SHORTEST_RETRY_S = 0.05  # at scale 0 a retry must not become a hot loop


class Clock:
    """Returns the time, and calls back after simulated seconds; belongs to the running loop."""

    def __init__(self, *, scale: float = 1.0, seed: int = 0) -> None:
        self.scale = scale
        self._seed = seed
        self._timers: set[asyncio.TimerHandle] = set()
        self._pending: set[tuple[str, ...]] = set()

    def now(self) -> datetime:
        """Return the time of day; it runs at its natural pace, whatever the scale."""
        return datetime.now(UTC)

    def stamp(self) -> str:
        """Return the time of day as Kubernetes writes it: whole seconds, UTC."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    @staticmethod
    def parse(stamp: str) -> datetime:
        """Read a time of day as Kubernetes writes it."""
        return datetime.fromisoformat(stamp)

    def monotonic(self) -> float:
        """Return seconds of real time that never go back."""
        return asyncio.get_running_loop().time()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` after so many simulated seconds, unless the clock is stopped."""

        def run() -> None:
            self._timers.discard(timer)
            callback()

        real_s = max(0.0, delay_s * self.scale)
        if delay_s >= _RETRY_FROM_S:
            real_s = max(real_s, _SHORTEST_RETRY_S)
        timer = asyncio.get_running_loop().call_later(real_s, run)
        self._timers.add(timer)

    def call_once(self, key: tuple[str, ...], delay_s: float, callback: Callable[[], None]) -> None:
        """Call back as `call_later` does, unless a call of the same key is still to come."""
        if key in self._pending:
            return
        self._pending.add(key)

        def run() -> None:
            self._pending.discard(key)
            callback()

        self.call_later(delay_s, run)

    def pick(self, interval: tuple[float, float], *subject: str) -> float:
        """Return a figure in the interval that depends on the seed and the subject alone."""
        chance = random.Random("/".join((str(self._seed), *subject)))
        return chance.uniform(*interval)

    def stop(self) -> None:
        """Forget every callback."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._pending.clear()
