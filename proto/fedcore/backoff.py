"""The wait before another attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

_MAX_DOUBLINGS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that double from ``base_s`` up to ``cap_s``.

    For state machines, which keep the number of attempts themselves. A single request is retried
    by ``stamina``.
    """

    base_s: float
    """The wait before the first further attempt."""

    cap_s: float
    """The longest wait."""

    def wait_s(self, attempt: int) -> float:
        """Return the wait before attempt ``attempt``, counted from 0."""
        return min(self.cap_s, self.base_s * 2.0 ** min(attempt, _MAX_DOUBLINGS))

    def jittered_s(self, attempt: int, rng: random.Random) -> float:
        """Draw a wait from 0 to ``wait_s``, so that many that failed together return apart."""
        return rng.uniform(0.0, self.wait_s(attempt))
