"""What agents report: stored once, acknowledged after the commit, and followed up.

What follows from a status, in the transaction that stores it:

| the status                                  | what is done                                      |
|---------------------------------------------|---------------------------------------------------|
| says the same as the stored one             | noted as heard again, no more                     |
| may affect documents (``planner.impact``)   | these are planned again; open operations await    |
|                                             | the new generations                               |
| any other change                            | operations that await its resource are settled    |
| Gone, of the generation that asks for it    | document and status are deleted; with the last    |
|                                             | participant its federation                        |

Sites learn of new documents, and certificates of what is gone are revoked, after the commit: both
are repeated by themselves if the process dies between (the notifier's poll, the next report).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore import limits
from fedcore.errors import ErrorCode, FedError, Unavailable
from fedcore.words import Phase
from fedhub.domain.models import Participant, StoredDocument, StoredStatus
from fedhub.fleet.agent_sessions import LiveAgentSession
from fedhub.fleet.ingest import StatusChange, store_events, store_statuses
from fedhub.fleet.rate_limit import cost_of
from fedhub.planner.impact import affected_by, may_affect
from fedhub.planner.plan import report_of
from fedhub.services import operations as operation_service
from fedhub.services import participants as participant_service
from fedhub.services.certificates import revoke_of_gone
from fedhub.services.context import HubContext, notify_sites
from fedhub.services.events import record
from fedhub.services.membership import drop_if_empty
from fedhub.services.operation_outcomes import settle
from fedhub.services.planning import replan, try_load_plan_input
from fedhub.store import documents, endpoints, federations, participants, sites, statuses
from fedproto.agent.v1 import event_pb2, status_pb2


async def receive_statuses(
    hub: HubContext, session: LiveAgentSession, reported: Sequence[status_pb2.ResourceStatus]
) -> None:
    """Store the latest statuses of a session's resources and act on what changed.

    Raises FENCED for a session that a newer one replaced, and DENIED for a resource of another
    site; nothing is stored then.
    """
    site_ids: set[str] = set()
    async with hub.database.begin() as db:
        changes = await store_statuses(db, session, reported, at=hub.clock.now())
        for change in changes:
            site_ids |= await _follow(hub, db, change)
    notify_sites(hub, site_ids)
    if any(change.after.phase is Phase.GONE for change in changes):
        await revoke_of_gone(hub, session.site_id)


async def receive_events(
    hub: HubContext, session: LiveAgentSession, batch: event_pb2.EventBatch
) -> tuple[event_pb2.EventAck, ...]:
    """Take a batch; the answers, of it and of earlier ones, may be sent: all are committed.

    What exceeds the site's quota waits here unacknowledged, so that an honest agent keeps it and
    sends no more than MAX_UNACKED_BATCHES; TOO_MANY for one that does.
    """
    if len(session.deferred) >= limits.MAX_UNACKED_BATCHES:
        raise FedError(
            f"more than {limits.MAX_UNACKED_BATCHES} batches of events are under way",
            code=ErrorCode.TOO_MANY,
        )
    session.deferred.append(batch)
    try:
        return await resume_events(hub, session)
    except BaseException:
        # A caller that tries again brings it again.
        if session.deferred and session.deferred[-1] is batch:
            session.deferred.pop()
        raise


async def resume_events(
    hub: HubContext, session: LiveAgentSession
) -> tuple[event_pb2.EventAck, ...]:
    """Store what waits, in order, as far as the site's quota goes; return the answers."""
    acks: list[event_pb2.EventAck] = []
    while session.deferred:
        batch = session.deferred[0]
        cost = cost_of(batch)
        if not hub.event_rates.of_site(session.site_id).try_take(cost):
            await _note_quota(hub, session)
            break
        try:
            async with hub.database.begin() as db:
                acked = await store_events(db, session, batch, at=hub.clock.now())
        except BaseException as error:
            hub.event_rates.of_site(session.site_id).give_back(cost)
            if acks and isinstance(error, Unavailable):
                # Each batch has its own answer: those that are committed must go out.
                break
            raise
        session.deferred.popleft()
        acks.append(event_pb2.EventAck(spool_id=batch.spool_id, acked_through=acked))
    return tuple(acks)


async def _note_quota(hub: HubContext, session: LiveAgentSession) -> None:
    """Raise an alarm, not again within ten minutes: a site fills the record of events."""
    if not hub.alerts.allow("events", session.site_id):
        return
    async with hub.database.begin() as db:
        await record(
            hub,
            db,
            "site.events_throttled",
            f"site {session.site_name} sends more than {limits.SITE_EVENTS_PER_HOUR} events an "
            "hour; they wait at the site. If nothing explains them, revoke it",
            severity="error",
            site_id=session.site_id,
        )


async def _follow(hub: HubContext, db: AsyncSession, change: StatusChange) -> set[str]:
    """Act on one stored status, by the table above. Return the sites whose documents changed.

    No event says that its phase changed: the agent's own event does, and has the exact time.
    """
    site_ids: set[str] = set()
    if change.before is not None and change.before.status == change.after.status:
        return site_ids
    row = await participants.find(db, change.after.resource_id)
    if row is not None:
        site_ids |= await _replan_for(hub, db, row, change)
    await settle(hub, db, change.after, before=change.before)
    if change.after.phase is Phase.GONE:
        site_ids |= await _forget(hub, db, row, change.after)
    return site_ids


async def _replan_for(
    hub: HubContext, db: AsyncSession, row: Participant, change: StatusChange
) -> set[str]:
    before = report_of(change.before) if change.before is not None else None
    after = report_of(change.after)
    if not may_affect(row, before, after):
        return set()
    await federations.lock(db, row.federation_id)
    federation = await federations.get(db, row.federation_id)
    plan_input = await try_load_plan_input(hub, db, federation, with_documents=False)
    if plan_input is None:
        return set()
    scope = affected_by(plan_input, row.id, before, after)
    if scope is not None and not scope:
        return set()
    replanned = await replan(hub, db, plan_input, scope=scope)
    await operation_service.follow_changes(db, federation.id, replanned.changed)
    return set(replanned.site_ids())


async def _forget(
    hub: HubContext, db: AsyncSession, row: Participant | None, status: StoredStatus
) -> set[str]:
    """Drop what a site has verified to be gone; its agent learns to forget it, too."""
    document = await documents.get(db, status.resource_id)
    if document is None or not document.absent:
        return set()
    if status.observed_generation < document.generation:
        # It is gone from an earlier removal, and was deployed again since.
        return set()
    await _record_forgotten(hub, db, row, document)
    if row is not None:
        # Whoever waited for its going (a draining exchange) was planned with this report already.
        await participant_service.forget(hub, db, row)
        await drop_if_empty(hub, db, row.federation_id)
    else:
        await documents.delete(db, status.resource_id)
        await statuses.delete(db, status.resource_id)
        await endpoints.delete(db, status.resource_id)
    return {status.site_id}


async def _record_forgotten(
    hub: HubContext, db: AsyncSession, row: Participant | None, document: StoredDocument
) -> None:
    site = await sites.get(db, document.site_id)
    what = row.name if row is not None else f"the endpoint of site {site.name}"
    await record(
        hub,
        db,
        f"{document.kind.value.lower()}.forgotten",
        f"{what} is gone from site {site.name}, as its agent verified, and is forgotten",
        site_id=site.id,
        federation_id=row.federation_id if row is not None else None,
        resource_id=document.resource_id,
        facts={"generation": str(document.generation)},
    )
