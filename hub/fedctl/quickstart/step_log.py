"""What a start does, one line a change with the time since its beginning."""

from __future__ import annotations

import time
from collections.abc import Callable

from fedctl.durations import format_duration


class StepLog:
    """Writes lines; ``started_at`` is the Unix time at which the command was typed."""

    def __init__(
        self,
        write: Callable[[str], None],
        started_at: float | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._write = write
        self._now = now
        self._started_at = now() if started_at is None else started_at

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning; never less than none, also when the clock is set back."""
        return max(0.0, self._now() - self._started_at)

    def add(self, sentence: str) -> None:
        """Write one line."""
        self._write(f"{format_duration(self.elapsed_s):>6}  {sentence}")
