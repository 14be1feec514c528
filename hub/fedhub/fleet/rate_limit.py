"""How much a site may send: a token bucket for the frames of each session, one for its events.

Events are kept for ever, so that a hostile agent could fill the disk with them; what is beyond the
rate waits on the site's own disk. The buckets are in the memory of each hub process, and a restart
fills them again.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fedcore import limits
from fedcore.clock import Clock
from fedproto.agent.v1 import event_pb2

_HOUR_S: Final = 3_600.0


class RateLimiter:
    """A token bucket: ``burst`` at once, and ``per_s`` in each second after."""

    def __init__(self, clock: Clock, *, burst: float, per_s: float) -> None:
        self._clock = clock
        self._burst = burst
        self._per_s = per_s
        self._tokens = burst
        self._at = clock.monotonic()

    def try_take(self, cost: float) -> bool:
        """Charge ``cost``; False, and nothing is charged, where too little is left."""
        self._refill()
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True

    def give_back(self, cost: float) -> None:
        """Take back a charge for what did not happen after all."""
        self._refill()
        self._tokens = min(self._burst, self._tokens + cost)

    async def wait_and_take(self, cost: float) -> None:
        """Wait for one token, then charge ``cost``, also where it is more than is left.

        What is owed makes the next caller wait: back-pressure, never a refusal.
        """
        self._refill()
        if self._tokens < 1.0:
            await asyncio.sleep((1.0 - self._tokens) / self._per_s)
        self._tokens -= cost

    def _refill(self) -> None:
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now


class EventRateLimiter:
    """A bucket for each site: SITE_EVENTS_PER_HOUR at once, and as many in each hour."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_site: dict[str, RateLimiter] = {}

    def of_site(self, site_id: str) -> RateLimiter:
        """Return a site's bucket."""
        if site_id not in self._by_site:
            burst = float(limits.SITE_EVENTS_PER_HOUR)
            self._by_site[site_id] = RateLimiter(self._clock, burst=burst, per_s=burst / _HOUR_S)
        return self._by_site[site_id]


def frame_rate(clock: Clock) -> RateLimiter:
    """Return the bucket for the frames of one session."""
    return RateLimiter(clock, burst=float(limits.FRAMES_BURST), per_s=float(limits.FRAMES_PER_S))


def cost_of(batch: event_pb2.EventBatch) -> float:
    """Return what a batch is charged: each event one for every KiB that it begins."""
    return sum(1 + event.ByteSize() // limits.EVENT_CHARGE_BYTES for event in batch.events)
