"""The lines that simulated containers write, kept in memory and followed by clients."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fedsim.kube.clock import Clock

_KEPT_LINES = 2_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a container's output; ``number`` counts on for ever."""

    number: int
    time: str
    text: str


class PodLogs:
    """The output of every container, by pod uid and container name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: dict[tuple[str, str], deque[Line]] = defaultdict(
            lambda: deque(maxlen=_KEPT_LINES)
        )
        self._count = 0
        self._news = asyncio.Event()

    def write(self, uid: str, container: str, text: str) -> None:
        """Add a line."""
        self._count += 1
        self._lines[uid, container].append(Line(self._count, self._clock.micro_stamp(), text))
        self._wake()

    def lines(self, uid: str, container: str) -> list[Line]:
        """Return the lines kept so far, oldest first."""
        return list(self._lines.get((uid, container), ()))

    def forget(self, uid: str) -> None:
        """Drop a pod's lines and end those who follow them."""
        for key in [key for key in self._lines if key[0] == uid]:
            del self._lines[key]
        self._wake()

    async def follow(self, uid: str, container: str, after: int) -> AsyncIterator[Line]:
        """Yield the lines that come after a number, until the pod goes."""
        is_known = (uid, container) in self._lines
        while True:
            news = self._news
            for line in self.lines(uid, container):
                if line.number > after:
                    after = line.number
                    yield line
            if is_known and (uid, container) not in self._lines:
                return
            is_known = (uid, container) in self._lines
            await news.wait()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
