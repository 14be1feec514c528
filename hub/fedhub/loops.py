"""The hub's background work, each loop with proof of life."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fedcore.tasks import LoopHealth, run_periodically
from fedhub.services import idempotency, presence
from fedhub.services.context import HubContext
from fedhub.services.standstill import Watchman

DOCUMENTS_S: Final = 2.0
"""Backstop: finds what another replica committed, or a wake-up that was lost."""
FLUSH_S: Final = 2.0
SWEEP_S: Final = 5.0
PURGE_S: Final = 600.0
WATCH_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Work:
    """What to do, and how often. A turn that fails is logged and tried again."""

    turn: Callable[[], Awaitable[object]]
    interval_s: float


def work_of(hub: HubContext, loop_health: LoopHealth) -> dict[str, Work]:
    """List the hub's periodic work by name."""
    return {
        "documents": Work(hub.notifier.poll, DOCUMENTS_S),
        "heartbeats": Work(lambda: presence.flush_heartbeats(hub), FLUSH_S),
        "sweep": Work(presence.Sweeper(hub).turn, SWEEP_S),
        "idempotency": Work(lambda: idempotency.purge(hub), PURGE_S),
        "watchman": Work(Watchman(hub, loop_health).turn, WATCH_S),
    }


def start(
    group: asyncio.TaskGroup, work: Mapping[str, Work], loop_health: LoopHealth
) -> list[asyncio.Task[None]]:
    """Start every loop in ``group``; they run until they are cancelled."""
    return [
        group.create_task(
            run_periodically(name, one.turn, interval_s=one.interval_s, loop_health=loop_health),
            name=name,
        )
        for name, one in work.items()
    ]
