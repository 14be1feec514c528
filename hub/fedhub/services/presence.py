"""Who is there: heartbeats to SQL, sites that went quiet, sessions that lost their owner.

A restart of the hub, or of its database, must never look like an outage of the sites: for a while
after it (the holiday) no site goes Offline.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import Unavailable
from fedhub.domain.phases import SiteState
from fedhub.fleet.sessions import LiveSession
from fedhub.services import operations as operation_service
from fedhub.services import standstill
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.store import replicas, sessions, sites

log = structlog.get_logger()
MIN_HOLIDAY_S: Final = 120.0
REPLICA_SILENT: Final = timedelta(seconds=20)
"""A hub process that did not say for this long that it lives is taken for dead."""


async def begin(hub: HubContext) -> None:
    """Announce this process, and show sites of dead ones as Disconnected: call before serving."""
    async with hub.database.begin() as db:
        await replicas.beat(db, hub.replica_id, hub.clock.now())
        # SQLite has one process: whoever else owned sessions is dead, however short ago.
        await _release_dead(hub, db, timedelta() if hub.database.is_sqlite else REPLICA_SILENT)


async def end(hub: HubContext) -> None:
    """Give up this process's sessions, all at once: call after the streams ended.

    With the database away it is left to the next start, or to another process.
    """
    try:
        async with hub.database.begin() as db:
            await _release(hub, db, hub.replica_id)
    except Unavailable:
        log.warning("hub.sessions_kept")


async def _release_dead(hub: HubContext, db: AsyncSession, silence: timedelta) -> None:
    for replica_id in await replicas.silent(db, hub.clock.now() - silence):
        if replica_id != hub.replica_id:
            await _release(hub, db, replica_id)


async def _release(hub: HubContext, db: AsyncSession, replica_id: str) -> None:
    now = hub.clock.now()
    cut_off = await sessions.release(db, replica_id)
    for site_id in cut_off:
        await sites.set_state(db, site_id, SiteState.DISCONNECTED, now)
    await replicas.forget(db, replica_id)
    if cut_off:
        await record(
            hub,
            db,
            "hub.stopped",
            f"a hub process ended; {len(cut_off)} sites have to connect again",
            facts={"replica": replica_id, "sites": str(len(cut_off))},
        )


async def flush_heartbeats(hub: HubContext) -> None:
    """Write the heartbeats since the last flush in one statement."""
    beats = [session for session in hub.fleet if session.heard_pending]
    if not beats:
        return
    now = hub.clock.now()
    for session in beats:
        session.heard_pending = False
    try:
        async with hub.database.begin() as db:
            await sessions.flush_heartbeats(db, [(s.agent_id, s.epoch, now) for s in beats])
    except BaseException:
        for session in beats:
            session.heard_pending = True
        raise


class Sweeper:
    """Looks after what nobody announces: silence, what hangs, dead processes, lost streams."""

    def __init__(self, hub: HubContext) -> None:
        self._hub = hub
        self._holiday_until = hub.clock.monotonic() + self._holiday_s()
        self._orphans: frozenset[str] = frozenset()

    def _holiday_s(self) -> float:
        return max(2 * self._hub.lease.total_seconds(), MIN_HOLIDAY_S)

    async def turn(self) -> None:
        """Sweep once; after a failure (a lost database) the holiday starts again."""
        hub = self._hub
        try:
            await self._mind_replicas()
            await standstill.mind_sessions(hub)
            hub.fleet.end_silent(hub.lease.total_seconds())
            await self._compare_with_store()
            if hub.clock.monotonic() >= self._holiday_until:
                await mark_offline(hub)
            await refresh_operations(hub)
        except Exception:
            self._holiday_until = hub.clock.monotonic() + self._holiday_s()
            raise

    async def _mind_replicas(self) -> None:
        hub = self._hub
        if hub.database.is_sqlite:
            return
        async with hub.database.begin() as db:
            await replicas.beat(db, hub.replica_id, hub.clock.now())
            await _release_dead(hub, db, REPLICA_SILENT)

    async def _compare_with_store(self) -> None:
        """End streams that lost their place or are revoked; close rows whose stream is gone."""
        hub = self._hub
        live = {session.agent_id: session for session in hub.fleet}
        async with hub.database.read() as db:
            owned = frozenset(await sessions.of_replica(db, hub.replica_id))
            revoked = await sites.ids_in_states(db, [SiteState.REVOKED])
        for session in live.values():
            if session.site_id in revoked:
                hub.fleet.cut(session.agent_id, "revoked")
            elif session.agent_id not in owned:
                session.end()
        # Twice in a row: between its commit and its place in memory a session is in neither.
        missing = frozenset(one for one in owned - live.keys() if hub.fleet.of_agent(one) is None)
        for agent_id in missing & self._orphans:
            await self._close_orphan(agent_id)
        self._orphans = missing

    async def _close_orphan(self, agent_id: str) -> None:
        hub = self._hub
        async with hub.database.begin() as db:
            row = await sessions.get(db, agent_id)
            if row is None or row.replica_id != hub.replica_id or hub.fleet.of_agent(agent_id):
                return
            await sessions.close(db, agent_id, row.epoch, row.last_seen_at)
            await note_disconnected(hub, db, row.site_id)


async def note_disconnected(hub: HubContext, db: AsyncSession, site_id: str) -> None:
    """Show a site as Disconnected, with its event, unless it is so already or worse."""
    if not await sites.set_state(db, site_id, SiteState.DISCONNECTED, hub.clock.now()):
        return
    site = await sites.get(db, site_id)
    await record(
        hub,
        db,
        "site.disconnected",
        f"site {site.name} lost its connection",
        severity="warning",
        site_id=site_id,
    )


async def mark_offline(hub: HubContext) -> None:
    """Mark the sites Offline whose lease has lapsed."""
    async with hub.database.read() as db:
        if not await sessions.lapsed(db, hub.clock.now() - hub.lease):
            return
    async with hub.database.begin() as db:
        # Asked again: whoever came back meanwhile is not lapsed any more.
        now = hub.clock.now()
        for site_id in await sessions.lapsed(db, now - hub.lease):
            if not await sites.set_state(db, site_id, SiteState.OFFLINE, now):
                continue
            site = await sites.get(db, site_id)
            await record(
                hub,
                db,
                "site.offline",
                f"site {site.name} has not been heard for {hub.lease.total_seconds():.0f} s",
                severity="error",
                site_id=site_id,
            )


async def refresh_operations(hub: HubContext) -> None:
    """Let open operations know which sites are out of sight."""
    async with hub.database.read() as db:
        lost = await sites.ids_in_states(db, [SiteState.OFFLINE, SiteState.REVOKED])
        is_stale = await operation_service.stalled_changes(db, lost)
    if is_stale:
        async with hub.database.begin() as db:
            await operation_service.refresh_stalled(db, lost)


async def close_session(hub: HubContext, session: LiveSession) -> None:
    """Note that a stream ended: the site is Disconnected, unless a newer session took over."""
    if not hub.fleet.unregister(session) or hub.fleet.is_draining:
        # While the hub stops, ``end`` gives up all sessions at once.
        return
    silence = timedelta(seconds=hub.clock.monotonic() - session.heard_at)
    async with hub.database.begin() as db:
        heard_at = hub.clock.now() - silence
        if await sessions.close(db, session.agent_id, session.epoch, heard_at):
            await note_disconnected(hub, db, session.site_id)
