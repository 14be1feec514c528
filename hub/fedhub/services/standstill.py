"""Loops that stand still while their process looks alive: named where people look.

An agent's loops, and the hub's two of each session, are findings of the site; the hub's own are
events. What a finding says holds until the agent's next heartbeat proves it otherwise, also across
a new session: whoever hangs again in each session stays named.
"""

from __future__ import annotations

from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import FedError
from fedcore.tasks import LoopHealth
from fedhub.domain.models import Site
from fedhub.fleet.sessions import LiveSession, Loop, go_away
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.store import sessions, sites
from fedproto.agent.v1 import link_pb2

log = structlog.get_logger()
CODE: Final = "LoopStalled"
WORK_LIMIT_S: Final = 30.0
"""How long a session's loop may be at one piece of work; the database has its own, shorter ones."""
HEARTBEAT_INTERVALS: Final = 2.5
"""Without a heartbeat for so long, the loop that sends them stands still."""
_HEARTBEATS: Final = "link.heartbeats"
_MESSAGES: Final[dict[str, str]] = {
    _HEARTBEATS: "no heartbeat of the agent comes, though its connection stands",
    Loop.READ: "the hub has been at one message of the agent for too long",
    Loop.DOCUMENTS: "the hub has been sending documents to the agent for too long",
}
_HINTS: Final[dict[str, str]] = dict.fromkeys(
    Loop, "read the hub's log; the connection is made anew by itself"
)


def named_in(site: Site) -> frozenset[str]:
    """Return the loops that a site's findings name."""
    return frozenset(
        finding["object"].removeprefix("loop/")
        for finding in site.findings
        if finding.get("code") == CODE
    )


async def note(hub: HubContext, session: LiveSession, stalled: frozenset[str]) -> None:
    """Make the findings of a session's site name these loops and no others."""
    if stalled == session.stalled_loops:
        return
    async with hub.database.begin() as db:
        await sessions.check_epoch(db, session.agent_id, session.epoch)
        findings = tuple(_finding(name) for name in sorted(stalled))
        await sites.update(db, session.site_id, findings=findings)
        await record(
            hub,
            db,
            "site.loop_stalled" if stalled else "site.loop_recovered",
            f"loops of the agent of {session.site_name} that stand still: "
            + (", ".join(sorted(stalled)) or "none"),
            severity="error" if stalled else "info",
            site_id=session.site_id,
        )
    session.stalled_loops = stalled


def _finding(name: str) -> dict[str, str]:
    stands = f"the agent's loop {name} has stopped while the agent is alive"
    return {
        "code": CODE,
        "severity": "error",
        "message": _MESSAGES.get(name, stands),
        "hint": _HINTS.get(name, "read the agent's log; restart the agent if it does not recover"),
        "object": f"loop/{name}",
    }


def seen_late(hub: HubContext, session: LiveSession) -> frozenset[str]:
    """Return the loops of a session that stand still as the hub itself sees it."""
    now = hub.clock.monotonic()
    late = {str(loop) for loop, since in session.busy.items() if now - since > WORK_LIMIT_S}
    missing_s = HEARTBEAT_INTERVALS * hub.fleet.heartbeat_interval_s
    if Loop.READ not in session.busy and now - session.beat_at > missing_s:
        late.add(_HEARTBEATS)
    return frozenset(late)


async def mind_sessions(hub: HubContext) -> None:
    """Name what hangs in a session as the hub sees it; end a session whose loop hangs on."""
    now = hub.clock.monotonic()
    for session in hub.fleet:
        late = seen_late(hub, session)
        if late - session.stalled_loops:
            await _note_surely(hub, session, session.stalled_loops | late)
        if any(now - since > hub.lease.total_seconds() for since in session.busy.values()):
            session.end(go_away(link_pb2.GO_AWAY_REASON_UNSPECIFIED, "the hub's end hangs"))


async def _note_surely(hub: HubContext, session: LiveSession, stalled: frozenset[str]) -> None:
    log.error("session.stalled", site=session.site_name, loops=sorted(stalled))
    try:
        await note(hub, session, stalled)
    except FedError as error:
        # Fenced: a newer session speaks for the site. Or the database is away: at the next turn.
        log.info("session.stalled_unsaid", site=session.site_name, reason=error.message)


class Watchman:
    """Tells in the events which loops of this hub process stand still, and when they go on."""

    def __init__(self, hub: HubContext, loop_health: LoopHealth) -> None:
        self._hub = hub
        self._loop_health = loop_health
        self._told: frozenset[str] = frozenset()

    async def turn(self) -> None:
        """Compare the loop_health with what was told last."""
        stalled = frozenset(one.name for one in self._loop_health.stalled())
        if stalled == self._told:
            return
        async with self._hub.database.begin() as db:
            for name in sorted(stalled - self._told):
                log.error("loop.stalled", loop=name)
                text = f"the hub's loop {name} stands still while the hub is alive: read its log"
                await self._tell(db, "hub.loop_stalled", text, "error", name)
            for name in sorted(self._told - stalled):
                await self._tell(
                    db, "hub.loop_recovered", f"the hub's loop {name} goes on", "info", name
                )
        self._told = stalled

    async def _tell(self, db: AsyncSession, kind: str, text: str, severity: str, loop: str) -> None:
        facts = {"loop": loop, "replica": self._hub.replica_id}
        await record(self._hub, db, kind, text, severity=severity, facts=facts)
