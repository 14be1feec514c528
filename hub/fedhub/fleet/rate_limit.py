"""How many events the hub keeps for a site: what is beyond it waits on the site's own disk.

Events are kept for ever, so that a hostile agent could fill the disk with them. A bucket per site,
in the memory of each hub process; a restart fills it again.
"""

from __future__ import annotations

from typing import Final

from fedcore import limits
from fedcore.clock import Clock
from fedproto.agent.v1 import event_pb2

_HOUR_S: Final = 3_600.0


class EventRateLimiter:
    """A token bucket per site: SITE_EVENTS_PER_HOUR at once, and as many in each hour."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, site_id: str, cost: float) -> bool:
        """Charge a site; False, and nothing is charged, where too little is left."""
        left = self._left_of(site_id) - cost
        if left < 0:
            return False
        self._left[site_id] = (left, self._clock.monotonic())
        return True

    def give_back(self, site_id: str, cost: float) -> None:
        """Take back a charge for what was not stored after all."""
        self._left[site_id] = (self._left_of(site_id) + cost, self._clock.monotonic())

    def _left_of(self, site_id: str) -> float:
        now = self._clock.monotonic()
        full = float(limits.SITE_EVENTS_PER_HOUR)
        left, at = self._left.get(site_id, (full, now))
        return min(full, left + (now - at) * full / _HOUR_S)


def cost_of(batch: event_pb2.EventBatch) -> float:
    """Return what a batch is charged: each event one for every KiB that it begins."""
    return sum(1 + event.ByteSize() // limits.EVENT_CHARGE_BYTES for event in batch.events)
