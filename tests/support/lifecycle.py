"""Parts of a federation that run in the test's own process, each in a task of its own."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from tests.support.patience import time_limit

from fedagent.domain.timing import PlanTiming
from fedagent.reconcile.timing import ReconcileTiming
from fedagent.timing import AgentTiming
from fedcore.backoff import Backoff
from fedcore.timing import scaled
from fedlink.timing import LinkTiming

Json = dict[str, Any]
T = TypeVar("T")


@dataclass
class Part(Generic[T]):
    """Something with a beginning and an end that can be had again: a hub, an agent, a service.

    `make` opens it anew each time. Its context is entered and left by one task, so that stopping
    it from a test is what a signal is to a process. `kill` cancels that task wherever it stands.
    """

    name: str
    make: Callable[[], AbstractAsyncContextManager[T]]
    _task: asyncio.Task[None] | None = None
    _value: T | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def value(self) -> T:
        """What runs."""
        if self._value is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._value

    @property
    def is_up(self) -> bool:
        """Say whether it runs."""
        return self._value is not None

    async def start(self) -> T:
        """Start it and wait until it runs."""
        ready = asyncio.Event()
        self._stop.clear()
        self._task = asyncio.create_task(self._hold(ready), name=self.name)
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set():
            waiting.cancel()
            failed, self._task = self._task, None
            await failed
        return self.value

    async def _hold(self, ready: asyncio.Event) -> None:
        try:
            async with self.make() as value:
                self._value = value
                ready.set()
                await self._stop.wait()
                self._value = None
        finally:
            self._value = None

    async def stop(self) -> None:
        """Stop it in good order. Harmless when it does not run."""
        self._stop.set()
        await self._end()

    async def kill(self) -> None:
        """Stop it where it stands."""
        if self._task is not None:
            self._task.cancel()
        await self._end()

    async def _end(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        async with time_limit():
            with contextlib.suppress(asyncio.CancelledError):
                await task


PATIENCE = 6.0
QUICK_DIALS = LinkTiming(redial=Backoff(base_s=0.05, cap_s=0.3))
"""The product's waits between dials are made for the Internet."""
DEFAULT_TIMING = AgentTiming(link=QUICK_DIALS)


def impatient_timing(**plan_waits: Any) -> AgentTiming:
    """Return shorter waits of an agent for KubeFATE: the simulated one is fast, too."""
    return AgentTiming(
        plan=replace(scaled(PlanTiming(), PATIENCE), **plan_waits),
        reconcile=scaled(ReconcileTiming(), PATIENCE),
        link=QUICK_DIALS,
    )


def loopback_ip() -> str:
    """Choose an address of 127.0.0.0/8 for a node, which hardly another test has at the time."""
    rng = random.SystemRandom()
    return f"127.{rng.randint(16, 250)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
