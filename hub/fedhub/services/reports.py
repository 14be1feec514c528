"""What agents report: stored once, acknowledged after the commit, and replanned for."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.phases import Phase
from fedhub.domain.records import Participant, ResourceKind, StoredStatus
from fedhub.fleet.reports import StatusChange, store_events, store_statuses
from fedhub.fleet.sessions import LiveSession
from fedhub.planner.plan import Report, report_of
from fedhub.planner.scope import scope_of_report
from fedhub.services import operations as operation_service
from fedhub.services.hub import Hub, record, tell_sites
from fedhub.services.membership import drop_if_empty
from fedhub.services.planning import gather, replan
from fedhub.store import documents, endpoints, federations, participants, statuses
from fedproto.agent.v1 import event_pb2, status_pb2


async def receive_statuses(
    hub: Hub, session: LiveSession, reported: Sequence[status_pb2.ResourceStatus]
) -> None:
    """Store the latest statuses of a session's resources and act on what changed.

    Raises FENCED for a session that a newer one replaced, and DENIED for a resource of another
    site; nothing is stored then.
    """
    told: set[str] = set()
    async with hub.database.begin() as db:
        for change in await store_statuses(db, session, reported, at=hub.clock.now()):
            told |= await _follow(hub, db, change)
    tell_sites(hub, told)


async def receive_events(
    hub: Hub, session: LiveSession, batch: event_pb2.EventBatch
) -> event_pb2.EventAck:
    """Store a batch exactly once; the answer may be sent because it is committed."""
    async with hub.database.begin() as db:
        acked = await store_events(db, session, batch, at=hub.clock.now())
    return event_pb2.EventAck(spool_id=batch.spool_id, acked_through=acked)


async def _follow(hub: Hub, db: AsyncSession, change: StatusChange) -> set[str]:
    """Carry one stored status on: event, documents, operations. Returns sites to tell."""
    told: set[str] = set()
    if change.before is not None and change.before.status == change.after.status:
        return told
    row = await participants.find(db, change.after.resource_id)
    if _phase_changed(change):
        await _record_phase(hub, db, row, change.after)
    if row is not None:
        told |= await _replan_for(hub, db, row, change)
    await operation_service.settle(hub, db, change.after)
    if change.after.phase is Phase.GONE:
        told |= await _forget(hub, db, row, change.after)
    return told


def _phase_changed(change: StatusChange) -> bool:
    before = change.before
    return before is None or (before.phase, before.reason) != (
        change.after.phase,
        change.after.reason,
    )


async def _record_phase(
    hub: Hub, db: AsyncSession, row: Participant | None, status: StoredStatus
) -> None:
    name = row.name if row is not None else f"endpoint {status.resource_id}"
    kind = "participant" if row is not None else "endpoint"
    bad = status.phase in {Phase.FAILED, Phase.REFUSED}
    uneasy = status.phase is Phase.DEGRADED
    await record(
        hub,
        db,
        f"{kind}.{status.phase.value.lower()}",
        f"{name} is {status.phase.value}" + (f": {status.message}" if status.message else ""),
        severity="error" if bad else "warning" if uneasy else "info",
        site_id=status.site_id,
        federation_id=row.federation_id if row is not None else None,
        resource_id=status.resource_id,
        facts={"reason": status.reason, "generation": str(status.observed_generation)},
    )


async def _replan_for(
    hub: Hub, db: AsyncSession, row: Participant, change: StatusChange
) -> set[str]:
    before = report_of(change.before) if change.before is not None else None
    after = report_of(change.after)
    if _says_nothing_new(row, before, after):
        return set()
    await federations.lock(db, row.federation_id)
    federation = await federations.get(db, row.federation_id)
    given = await gather(hub, db, federation, with_documents=False)
    scope = scope_of_report(given, row.id, before, after)
    if scope is not None and not scope:
        return set()
    replanned = await replan(hub, db, given, scope=scope)
    await operation_service.follow_changes(db, federation.id, replanned.changed)
    return set(replanned.site_ids())


def _says_nothing_new(row: Participant, before: Report | None, after: Report) -> bool:
    """Tell cheaply that a report says nothing new to the planner."""
    if row.removing and after.phase is Phase.GONE:
        return False
    if before is None:
        return not after.addresses and not after.resolutions
    return (before.addresses, before.resolutions) == (after.addresses, after.resolutions)


async def _forget(
    hub: Hub, db: AsyncSession, row: Participant | None, status: StoredStatus
) -> set[str]:
    """Drop what a site has verified to be gone; its agent is told to forget it too."""
    document = await documents.get(db, status.resource_id)
    if document is None or not document.absent:
        return set()
    if status.observed_generation < document.generation:
        return set()
    await documents.delete(db, status.resource_id)
    await statuses.delete(db, status.resource_id)
    told = {status.site_id}
    if document.kind is ResourceKind.ENDPOINT:
        await endpoints.delete(db, status.resource_id)
    if row is not None:
        # Whom its going concerns was planned with its report.
        await operation_service.drop_target(hub, db, row.id)
        await participants.delete(db, row.id)
        await drop_if_empty(hub, db, row.federation_id)
    return told
