"""The hub's background work, each loop with proof of life."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fedhub.services import idempotency, presence
from fedhub.services.hub import Hub
from fedhub.services.standstill import Watchman
from fedproto.tasks import LoopBoard, run_periodically

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


def work_of(hub: Hub, board: LoopBoard) -> dict[str, Work]:
    """List the hub's periodic work by name."""
    return {
        "documents": Work(hub.notifier.poll, DOCUMENTS_S),
        "heartbeats": Work(lambda: presence.flush_heartbeats(hub), FLUSH_S),
        "sweep": Work(presence.Sweeper(hub).turn, SWEEP_S),
        "idempotency": Work(lambda: idempotency.purge(hub), PURGE_S),
        "watchman": Work(Watchman(hub, board).turn, WATCH_S),
    }


def start(
    group: asyncio.TaskGroup, work: Mapping[str, Work], board: LoopBoard
) -> list[asyncio.Task[None]]:
    """Start every loop in ``group``; they run until they are cancelled."""
    return [
        group.create_task(
            run_periodically(name, one.turn, interval_s=one.interval_s, board=board), name=name
        )
        for name, one in work.items()
    ]
