"""What nobody announces: silence, hanging loops, dead processes, sessions without a stream.

What ``SessionSweeper`` does at each turn, and what ends it:

==================================  ==================================  =========================
what it finds                       what it does                        why not sooner or harder
==================================  ==================================  =========================
a hub process silent for            its sessions are released, their    it may be slow: others wait
``replica_silence_s``               sites Disconnected                  for four of its turns
a session's loop late               a finding of its site               the agent may recover
a session's loop late for a lease   the stream is ended                 the agent comes back anew
nothing heard for a lease           the stream is ended                 as above: it is half open
a live stream whose row another     the stream is ended                 the newer epoch has won
process owns
a live stream of a revoked site     the stream is ended                 revoked at another replica
a row of this process without a     the row is closed                   at the second turn: between
stream                                                                  commit and registry a
                                                                        session is in neither
a lease without a word              the site is Offline, with an alarm  not in the grace period
==================================  ==================================  =========================

The grace period: for a while after a start of the hub, or an outage of its database, no site goes
Offline, because agents could not be heard. A restart must never look like an outage of the sites.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import FedError, Unavailable
from fedcore.tasks import LoopHealth
from fedhub.domain.phases import SiteState
from fedhub.fleet.agent_sessions import LiveAgentSession
from fedhub.fleet.frame_stream import go_away
from fedhub.services import operations as operation_service
from fedhub.services.agent_sessions import late_loops, note_disconnected, note_stalled_loops
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.store import agent_sessions, replicas, sites
from fedproto.agent.v1 import link_pb2

log = structlog.get_logger()


async def start(hub: HubContext) -> None:
    """Announce this process, and show sites of dead ones as Disconnected: call before serving."""
    async with hub.database.begin() as db:
        await replicas.heartbeat(db, hub.replica_id, hub.clock.now())
        # SQLite has one process: whoever else owned sessions is dead, however short ago.
        await _release_dead(hub, db, 0.0 if hub.database.is_sqlite else None)


async def stop(hub: HubContext) -> None:
    """Give up this process's sessions, all at once: call after the streams ended.

    With the database away it is left to the next start, or to another process.
    """
    try:
        async with hub.database.begin() as db:
            await _release(hub, db, hub.replica_id)
    except Unavailable:
        log.warning("hub.sessions_kept")


async def _release_dead(hub: HubContext, db: AsyncSession, silence_s: float | None = None) -> None:
    patience_s = hub.timing.replica_silence_s if silence_s is None else silence_s
    before = hub.clock.now() - timedelta(seconds=patience_s)
    for replica_id in await replicas.silent(db, before):
        if replica_id != hub.replica_id:
            await _release(hub, db, replica_id)


async def _release(hub: HubContext, db: AsyncSession, replica_id: str) -> None:
    now = hub.clock.now()
    disconnected = await agent_sessions.release(db, replica_id)
    for site_id in disconnected:
        await sites.set_state(db, site_id, SiteState.DISCONNECTED, now)
    await replicas.forget(db, replica_id)
    if disconnected:
        await record(
            hub,
            db,
            "hub.stopped",
            f"a hub process ended; {len(disconnected)} sites have to connect again",
            facts={"replica": replica_id, "sites": str(len(disconnected))},
        )


async def flush_heartbeats(hub: HubContext) -> None:
    """Write when sessions were last heard, since the last flush, in one statement."""
    heard = [session for session in hub.registry if session.liveness.is_unwritten]
    if not heard:
        return
    now = hub.clock.now()
    for session in heard:
        # Before the write: what is heard meanwhile is for the next flush.
        session.liveness.is_unwritten = False
    try:
        async with hub.database.begin() as db:
            rows = [(session.agent_id, session.epoch, now) for session in heard]
            await agent_sessions.flush_heartbeats(db, rows)
    except BaseException:
        for session in heard:
            session.liveness.is_unwritten = True
        raise


class SessionSweeper:
    """Carries out the table above, one turn at a time."""

    def __init__(self, hub: HubContext) -> None:
        self._hub = hub
        self._orphans: frozenset[str] = frozenset()
        self._begin_grace_period()

    def _begin_grace_period(self) -> None:
        self._grace_until = self._hub.clock.monotonic() + self._hub.timing.grace_period_s

    async def turn(self) -> None:
        """Sweep once; after a failure (a lost database) the grace period begins again."""
        hub = self._hub
        try:
            await self._release_dead_replicas()
            await self._check_loops()
            hub.registry.end_silent()
            await self._compare_with_store()
            if hub.clock.monotonic() >= self._grace_until:
                await mark_offline(hub)
            await refresh_operations(hub)
        except Exception:
            self._begin_grace_period()
            raise

    async def _release_dead_replicas(self) -> None:
        hub = self._hub
        if hub.database.is_sqlite:
            return
        async with hub.database.begin() as db:
            await replicas.heartbeat(db, hub.replica_id, hub.clock.now())
            await _release_dead(hub, db)

    async def _check_loops(self) -> None:
        """Name what hangs in a session as the hub sees it; end a session whose loop hangs on."""
        hub = self._hub
        for session in hub.registry:
            late = late_loops(hub, session)
            if late - session.stalled_loops:
                await self._note_late(session, session.stalled_loops | late)
            if max(session.liveness.busy_s.values(), default=0.0) > hub.timing.lease_s:
                reason = link_pb2.GO_AWAY_REASON_UNSPECIFIED
                session.stream.end(go_away(reason, "the hub's end hangs"))

    async def _note_late(self, session: LiveAgentSession, stalled: frozenset[str]) -> None:
        log.error("session.stalled", site=session.site_name, loops=sorted(stalled))
        try:
            await note_stalled_loops(self._hub, session, stalled)
        except FedError as error:
            # Fenced: a newer session speaks for the site. Or the database is away: next turn.
            log.info("session.stalled_unsaid", site=session.site_name, reason=error.message)

    async def _compare_with_store(self) -> None:
        """End streams that lost their place or are revoked; close rows whose stream is gone."""
        hub = self._hub
        live = {session.agent_id: session for session in hub.registry}
        async with hub.database.read() as db:
            owned = frozenset(await agent_sessions.of_replica(db, hub.replica_id))
            revoked = await sites.ids_in_states(db, [SiteState.REVOKED])
        for session in live.values():
            if session.site_id in revoked:
                hub.registry.terminate(session.agent_id, "revoked")
            elif session.agent_id not in owned:
                session.stream.end()
        # Asked again of the registry: a session may have come while the store was read.
        missing = frozenset(
            agent_id for agent_id in owned - live.keys() if hub.registry.of_agent(agent_id) is None
        )
        for agent_id in missing & self._orphans:
            await self._close_orphan(agent_id)
        self._orphans = missing

    async def _close_orphan(self, agent_id: str) -> None:
        hub = self._hub
        async with hub.database.begin() as db:
            row = await agent_sessions.get(db, agent_id)
            if row is None or row.replica_id != hub.replica_id or hub.registry.of_agent(agent_id):
                return
            await agent_sessions.close(db, agent_id, row.epoch, row.last_seen_at)
            await note_disconnected(hub, db, row.site_id)


async def mark_offline(hub: HubContext) -> None:
    """Mark the sites Offline whose lease has lapsed."""
    lease = hub.timing.lease
    async with hub.database.read() as db:
        # Most turns find nothing: those must not wait for the only writer of SQLite.
        if not await agent_sessions.lapsed(db, hub.clock.now() - lease):
            return
    async with hub.database.begin() as db:
        # Asked again: whoever came back meanwhile is not lapsed any more.
        now = hub.clock.now()
        for site_id in await agent_sessions.lapsed(db, now - lease):
            if not await sites.set_state(db, site_id, SiteState.OFFLINE, now):
                continue
            site = await sites.get(db, site_id)
            await record(
                hub,
                db,
                "site.offline",
                f"site {site.name} has not been heard for {lease.total_seconds():.0f} s",
                severity="error",
                site_id=site_id,
            )


async def refresh_operations(hub: HubContext) -> None:
    """Mark open operations Stalled or Running by which sites are out of sight."""
    async with hub.database.read() as db:
        lost = await sites.ids_in_states(db, [SiteState.OFFLINE, SiteState.REVOKED])
        changes = await operation_service.stalled_changes(db, lost)
    if changes:
        async with hub.database.begin() as db:
            await operation_service.refresh_stalled(db, lost)


class LoopMonitor:
    """Records in the events which loops of this hub process stand still, and when they go on."""

    def __init__(self, hub: HubContext, loop_health: LoopHealth) -> None:
        self._hub = hub
        self._loop_health = loop_health
        self._reported: frozenset[str] = frozenset()

    async def turn(self) -> None:
        """Compare what stands still with what was reported last."""
        stalled = frozenset(loop.name for loop in self._loop_health.stalled())
        if stalled == self._reported:
            return
        async with self._hub.database.begin() as db:
            for loop in sorted(stalled - self._reported):
                log.error("loop.stalled", loop=loop)
                text = f"the hub's loop {loop} stands still while the hub is alive: read its log"
                await self._report(db, "hub.loop_stalled", text, "error", loop)
            for loop in sorted(self._reported - stalled):
                text = f"the hub's loop {loop} goes on"
                await self._report(db, "hub.loop_recovered", text, "info", loop)
        self._reported = stalled

    async def _report(
        self, db: AsyncSession, kind: str, text: str, severity: str, loop: str
    ) -> None:
        facts = {"loop": loop, "replica": self._hub.replica_id}
        await record(self._hub, db, kind, text, severity=severity, facts=facts)
