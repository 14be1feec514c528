"""The hub's background work: every loop of a hub process, each with proof of life."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fedcore.tasks import LoopHealth, run_periodically
from fedhub.rpc.enrolment import trust_of
from fedhub.services import idempotency, liveness
from fedhub.services.context import HubContext
from fedproto.agent.v1 import link_pb2


@dataclass(frozen=True, slots=True)
class Work:
    """What to do, and how often, or sooner by ``wake``. A turn that fails is done again."""

    turn: Callable[[], Awaitable[object]]
    interval_s: float
    wake: asyncio.Event | None = None


def work_of(
    hub: HubContext,
    loop_health: LoopHealth,
    *,
    renew_certificates: Callable[[], Awaitable[None]],
    events_appended: asyncio.Event,
) -> dict[str, Work]:
    """List the hub's periodic work by name; findings, events and ``/readyz`` use these names."""
    timing = hub.timing
    return {
        "documents": Work(hub.notifier.poll, timing.document_poll_s),
        "heartbeats": Work(lambda: liveness.flush_heartbeats(hub), timing.heartbeat_flush_s),
        "sweep": Work(liveness.SessionSweeper(hub).turn, timing.sweep_s),
        "events": Work(hub.event_feed.turn, timing.event_poll_s, events_appended),
        "idempotency": Work(lambda: idempotency.purge(hub), timing.answer_purge_s),
        "monitor": Work(liveness.LoopMonitor(hub, loop_health).turn, timing.loop_check_s),
        "certificates": Work(renew_certificates, timing.certificate_check_s),
        "trust": Work(lambda: refresh_trust(hub), timing.trust_check_s),
    }


async def refresh_trust(hub: HubContext) -> None:
    """Replace authorities that are due, and tell every agent when the set of roots changed."""
    before = hub.authority.trust_bundle()
    await hub.authority.refresh()
    if hub.authority.trust_bundle() == before:
        return
    for session in hub.registry:
        # An agent whose queue is full gets it at its next Hello.
        session.stream.offer(link_pb2.HubFrame(trust=trust_of(hub)))


def start(
    group: asyncio.TaskGroup, work: Mapping[str, Work], loop_health: LoopHealth
) -> list[asyncio.Task[None]]:
    """Start every loop in ``group``; they run until they are cancelled."""
    return [
        group.create_task(
            run_periodically(
                name,
                loop.turn,
                interval_s=loop.interval_s,
                loop_health=loop_health,
                wake=loop.wake,
            ),
            name=name,
        )
        for name, loop in work.items()
    ]
