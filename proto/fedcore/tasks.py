"""Background work that cannot vanish: named loops with proof of life, and reconnect delays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

import structlog

from fedcore.clock import Clock

PULSE_S: Final = 10.0
"""How often a loop that is well shows so at the least, also one that has nothing to do."""
_STALL_FACTOR: Final = 3
_STALL_MIN_S: Final = 30.0
T = TypeVar("T")
log = structlog.get_logger()


@dataclass(slots=True)
class LoopRecord:
    """When one loop was last well. ``interval_s`` is how often it should say so."""

    name: str
    interval_s: float
    last_success_at: datetime

    @property
    def limit_s(self) -> float:
        """After so long without a word the loop is taken to stand still."""
        return max(_STALL_MIN_S, _STALL_FACTOR * self.interval_s)


@dataclass(slots=True)
class LoopHealth:
    """The last success of every loop of a process, for heartbeats, ``/readyz`` and findings."""

    clock: Clock
    records: dict[str, LoopRecord] = field(default_factory=dict)

    def heartbeat(self, name: str, interval_s: float = PULSE_S) -> None:
        """Note that loop ``name`` is well: its work succeeded, and it will say so again in time.

        Within ``interval_s``, that is: the pulse, unless it is about to do something longer.
        """
        self.records[name] = LoopRecord(name, interval_s, self.clock.now())

    def stalled(self) -> list[LoopRecord]:
        """Return the loops that are late by three intervals, or by 30 s where that is more."""
        now = self.clock.now()
        return [
            record
            for record in self.records.values()
            if (now - record.last_success_at).total_seconds() > record.limit_s
        ]


async def run_periodically(
    name: str,
    work: Callable[[], Awaitable[object]],
    *,
    interval_s: float,
    loop_health: LoopHealth,
    wake: asyncio.Event | None = None,
    limit_s: float = 60.0,
) -> None:
    """Do ``work`` every ``interval_s`` for ever, sooner when ``wake`` is set; run in a TaskGroup.

    An iteration that fails or exceeds ``limit_s`` is logged and tried again within ``PULSE_S``;
    until one succeeds no heartbeat is noted, and the loop shows as stalled when that takes long.
    Cancellation passes.
    """
    loop_health.heartbeat(name)
    while True:
        try:
            async with asyncio.timeout(limit_s):
                await work()
        except Exception:
            log.exception("loop.failed", loop=name)
            await wait_for_wake(wake, min(interval_s, PULSE_S))
        else:
            await sleep_with_heartbeat(name, interval_s, loop_health=loop_health, wake=wake)


async def sleep_with_heartbeat(
    name: str, timeout_s: float, *, loop_health: LoopHealth, wake: asyncio.Event | None = None
) -> bool:
    """Wait as ``wait_for_wake`` does, while the loop_health hears that loop ``name`` is well."""
    left_s = timeout_s
    while True:
        loop_health.heartbeat(name)
        slice_s = min(left_s, PULSE_S)
        if await wait_for_wake(wake, slice_s):
            return True
        left_s -= slice_s
        if left_s <= 0:
            return False


async def await_with_heartbeat(
    name: str, work: Coroutine[Any, Any, T], *, loop_health: LoopHealth
) -> T:
    """Await ``work`` however long it takes, while the loop_health hears that loop ``name`` is well.

    For what may take for ever in good order: the next frame, the end of a session.
    """
    task = asyncio.create_task(work, name=f"{name} awaits")
    try:
        while not task.done():
            loop_health.heartbeat(name)
            await asyncio.wait({task}, timeout=PULSE_S)
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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
