"""Alerts that strangers can provoke: raised once, then not again for a while."""

from __future__ import annotations

from typing import Final

from fedcore.clock import Clock

MAX_REMEMBERED: Final = 1_000
"""Alerts remembered; beyond, new ones are not raised: somebody floods us with names."""


class AlertThrottle:
    """Remembers which alerts were raised within the pause."""

    def __init__(self, clock: Clock, pause_s: float) -> None:
        self._clock = clock
        self._pause_s = pause_s
        self._raised: dict[tuple[str, ...], float] = {}

    def allow(self, *key: str) -> bool:
        """Return whether the alert of this key may be raised now, and remember that it was."""
        now = self._clock.monotonic()
        self._raised = {k: at for k, at in self._raised.items() if now - at < self._pause_s}
        if key in self._raised or len(self._raised) >= MAX_REMEMBERED:
            return False
        self._raised[key] = now
        return True
