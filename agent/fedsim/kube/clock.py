"""The cluster's clock: time stamps, and callbacks after some seconds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Returns the time, and calls back later; belongs to the running loop."""

    def __init__(self) -> None:
        self._timers: set[asyncio.TimerHandle] = set()
        self._pending: set[tuple[str, ...]] = set()

    def now(self) -> datetime:
        """Return the time of day."""
        return datetime.now(UTC)

    def stamp(self) -> str:
        """Return the time of day as Kubernetes writes it: whole seconds, UTC."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    @staticmethod
    def parse(stamp: str) -> datetime:
        """Read a time of day as Kubernetes writes it."""
        return datetime.fromisoformat(stamp)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return asyncio.get_running_loop().time()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` after so many seconds, unless the clock is stopped."""

        def run() -> None:
            self._timers.discard(timer)
            callback()

        timer = asyncio.get_running_loop().call_later(max(0.0, delay_s), run)
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
        """Return a figure in the interval that depends on the subject alone."""
        return random.Random("/".join(subject)).uniform(*interval)

    def stop(self) -> None:
        """Forget every callback."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._pending.clear()
