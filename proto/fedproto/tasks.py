"""Background work that cannot vanish: named loops with proof of life, and reconnect delays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from fedproto.ids import Clock

_STALL_FACTOR: Final = 3
log = structlog.get_logger()


@dataclass(slots=True)
class LoopRecord:
    """When one loop last did its work. ``interval_s`` is how often it should."""

    name: str
    interval_s: float
    last_success_at: datetime


@dataclass(slots=True)
class LoopBoard:
    """The last success of every loop of a process, for heartbeats, ``/readyz`` and findings."""

    clock: Clock
    records: dict[str, LoopRecord] = field(default_factory=dict)

    def beat(self, name: str, interval_s: float) -> None:
        """Note that loop ``name`` has just done its work and means to do so each ``interval_s``."""
        self.records[name] = LoopRecord(name, interval_s, self.clock.now())

    def stalled(self) -> list[LoopRecord]:
        """Return the loops that are late by three intervals, or by 30 s where that is more."""
        now = self.clock.now()
        return [
            record
            for record in self.records.values()
            if (now - record.last_success_at).total_seconds()
            > max(30.0, _STALL_FACTOR * record.interval_s)
        ]


async def run_periodically(
    name: str,
    work: Callable[[], Awaitable[object]],
    *,
    interval_s: float,
    board: LoopBoard,
    wake: asyncio.Event | None = None,
    limit_s: float = 60.0,
) -> None:
    """Do ``work`` every ``interval_s`` for ever, sooner when ``wake`` is set; run in a TaskGroup.

    An iteration that fails or exceeds ``limit_s`` is logged and tried again; the board then shows
     the loop as stalled. Cancellation passes.
    """
    board.beat(name, interval_s)
    while True:
        try:
            async with asyncio.timeout(limit_s):
                await work()
            board.beat(name, interval_s)
        except Exception:
            log.exception("loop.failed", loop=name)
        await wait_for_wake(wake, interval_s)


async def wait_for_wake(wake: asyncio.Event | None, timeout_s: float) -> bool:
    """Sleep ``timeout_s`` or until ``wake`` is set, which is then cleared; tell whether it was."""
    if wake is None:
        await asyncio.sleep(timeout_s)
        return False
    try:
        async with asyncio.timeout(timeout_s):
            await wake.wait()
    except TimeoutError:
        return False
    wake.clear()
    return True


def full_jitter_s(attempt: int, *, base_s: float, cap_s: float, rng: random.Random) -> float:
    """Draw the wait before try ``attempt`` (from 0): 0 to the doubled, capped base, seconds."""
    return rng.uniform(0.0, min(cap_s, base_s * 2.0 ** min(attempt, 32)))
