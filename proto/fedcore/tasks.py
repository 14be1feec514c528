"""Background work that cannot vanish: named loops that prove that they are alive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import structlog

from fedcore.clock import Clock

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTiming:
    """How often loops prove that they are alive, and when their silence is a failure."""

    pulse_s: float = 10.0
    """The longest time between two heartbeats of a loop that is well, also of one that has nothing
    to do. Short enough that a stalled loop is named within a minute, long enough to cost nothing:
    an agent with 60 participants has about 500 loops."""

    stall_factor: float = 3.0
    """A loop is stalled after so many of its own intervals without a heartbeat: one may be late on
    a busy machine, three are not."""

    stall_min_s: float = 30.0
    """No loop is called stalled earlier, however often it says that it is well."""


@dataclass(slots=True)
class LoopRecord:
    """When one loop was last well. ``interval_s`` is how often it should say so."""

    name: str
    interval_s: float
    last_success_at: datetime
    limit_s: float
    """After so long without a heartbeat the loop counts as stalled."""


@dataclass(slots=True)
class LoopHealth:
    """The last success of every loop of a process, for heartbeats, ``/readyz`` and findings."""

    clock: Clock
    timing: TaskTiming = TaskTiming()
    records: dict[str, LoopRecord] = field(default_factory=dict)

    def heartbeat(self, name: str, interval_s: float | None = None) -> None:
        """Note that loop ``name`` is well: its work succeeded, and it will say so again in time.

        In time means within the pulse, or within ``interval_s`` when the loop is about to do
        something longer.
        """
        interval_s = self.timing.pulse_s if interval_s is None else interval_s
        limit_s = max(self.timing.stall_min_s, self.timing.stall_factor * interval_s)
        self.records[name] = LoopRecord(name, interval_s, self.clock.now(), limit_s)

    def stalled(self) -> list[LoopRecord]:
        """Return the loops whose last heartbeat is older than their limit."""
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

    An iteration that fails or exceeds ``limit_s`` is logged and tried again within the pulse;
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
            await wait_for_wake(wake, min(interval_s, loop_health.timing.pulse_s))
        else:
            await sleep_with_heartbeat(name, interval_s, loop_health=loop_health, wake=wake)


async def sleep_with_heartbeat(
    name: str, timeout_s: float, *, loop_health: LoopHealth, wake: asyncio.Event | None = None
) -> bool:
    """Wait as ``wait_for_wake`` does, with a heartbeat of loop ``name`` at each pulse."""
    left_s = timeout_s
    while True:
        loop_health.heartbeat(name)
        slice_s = min(left_s, loop_health.timing.pulse_s)
        if await wait_for_wake(wake, slice_s):
            return True
        left_s -= slice_s
        if left_s <= 0:
            return False


async def await_with_heartbeat(
    name: str, work: Coroutine[Any, Any, T], *, loop_health: LoopHealth
) -> T:
    """Await ``work`` however long it takes, with a heartbeat of loop ``name`` at each pulse.

    For what may take for ever in good order: the next frame, the end of a session.
    """
    task = asyncio.create_task(work, name=f"{name} awaits")
    try:
        while not task.done():
            loop_health.heartbeat(name)
            await asyncio.wait({task}, timeout=loop_health.timing.pulse_s)
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def wait_for_wake(wake: asyncio.Event | None, timeout_s: float) -> bool:
    """Sleep ``timeout_s`` or until ``wake`` is set; return whether it was set, and clear it."""
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
