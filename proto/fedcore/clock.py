"""The clock that tests replace."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from; domain code gets times as arguments instead."""

    def now(self) -> datetime:
        """Return the present time, UTC, with its zone."""

    def monotonic(self) -> float:
        """Return seconds that never go back; for durations only."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present time, UTC, with its zone."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back; for durations only."""
        return time.monotonic()
