"""How operations end: what a report means to those that wait for its resource.

| a report of the awaited generation or a newer   | the operation that awaits it               |
|-------------------------------------------------|--------------------------------------------|
| Failed, Refused: only a person can go on        | ends: Failed, with the cause               |
| Gone                                            | the target is done                         |
| Ready, and the resource is to stay              | the target is done                         |
| Ready, and the resource is being removed        | not done: it still has to go               |
| any other phase                                 | not done, also if it was: it is not Ready  |

With its last open target done it ends: Succeeded.

A report of an older generation means nothing to it. The newest operation that Failed goes on once
no person is needed any more: somebody mended the cause at the site, where the hub sees no change of
intent.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.words import Phase
from fedhub.domain.models import Operation, OperationTarget, StoredStatus
from fedhub.domain.phases import NEEDS_A_PERSON, OPERATION_FINAL, OperationState
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.store import operations, participants, sites, statuses


async def settle(
    hub: HubContext, db: AsyncSession, status: StoredStatus, *, before: StoredStatus | None = None
) -> None:
    """Apply one report to the operations that wait for its resource, by the table above.

    ``before`` is the report that it replaced; it may have failed an operation.
    """
    if before is not None and before.phase in NEEDS_A_PERSON:
        await _reopen(hub, db, status)
    for operation_id, target in await operations.open_targets(db, status.resource_id):
        if status.observed_generation < target.generation:
            continue
        if status.phase in NEEDS_A_PERSON:
            operation = await operations.get(db, operation_id)
            cause = await _cause(db, target, status)
            await end(hub, db, operation, OperationState.FAILED, cause)
            continue
        done = await _is_reached(db, status)
        if done != target.done:
            await operations.mark_target(db, operation_id, status.resource_id, done=done)
        if done:
            await _finish_if_done(hub, db, operation_id)


async def _cause(db: AsyncSession, target: OperationTarget, status: StoredStatus) -> str:
    site = (await sites.names(db)).get(status.site_id, status.site_id)
    who = target.name or target.resource_id
    return f"{who} at {site} is {status.phase.value}: {status.reason}: {status.message}"


async def _reopen(hub: HubContext, db: AsyncSession, status: StoredStatus) -> None:
    """Reopen the newest operation that names a resource, if it failed and nobody is needed.

    Older ones stay as they ended: a newer change took their place.
    """
    operation = await operations.newest_with_target(db, status.resource_id)
    if operation is None or operation.state is not OperationState.FAILED:
        return
    unmet = {t.resource_id: t.generation for t in operation.targets if not t.done}
    if status.observed_generation < unmet.get(status.resource_id, status.observed_generation + 1):
        return
    reports = await statuses.of_resources(db, list(unmet))
    if any(
        report.phase in NEEDS_A_PERSON and report.observed_generation >= unmet[report.resource_id]
        for report in reports.values()
    ):
        return
    await operations.update(
        db, operation.id, state=OperationState.RUNNING, message="", ended_at=None
    )
    name = next(t.name for t in operation.targets if t.resource_id == status.resource_id)
    await record(
        hub,
        db,
        "operation.reopened",
        f"{operation.kind} of {operation.subject} goes on: {name} needs no person any more",
        federation_id=operation.federation_id,
        operation_id=operation.id,
    )
    # What the others reported while it was Failed was not noted: ended operations are not settled.
    for report in reports.values():
        if report.resource_id != status.resource_id:
            await settle(hub, db, report)


async def _is_reached(db: AsyncSession, status: StoredStatus) -> bool:
    """Return whether a resource is where intent wants it: Ready, or Gone where it is to go."""
    if status.phase is Phase.GONE:
        return True
    row = await participants.find(db, status.resource_id)
    return status.phase is Phase.READY and (row is None or not row.removing)


async def _finish_if_done(hub: HubContext, db: AsyncSession, operation_id: str) -> None:
    if await operations.has_unmet(db, operation_id):
        return
    operation = await operations.get(db, operation_id)
    if operation.state not in OPERATION_FINAL:
        await end(hub, db, operation, OperationState.SUCCEEDED, "")


async def end(
    hub: HubContext, db: AsyncSession, operation: Operation, state: OperationState, message: str
) -> None:
    """End an operation; ``message`` is the cause, for people."""
    await operations.update(
        db, operation.id, state=state, message=message, ended_at=hub.clock.now()
    )
    await record(
        hub,
        db,
        f"operation.{state.value.lower()}",
        f"{operation.kind} of {operation.subject} {state.value.lower()}"
        + (f": {message}" if message else ""),
        severity="error" if state is OperationState.FAILED else "info",
        federation_id=operation.federation_id,
        operation_id=operation.id,
    )


async def settle_all_of(hub: HubContext, db: AsyncSession, operation: Operation) -> None:
    """Settle a fresh operation against what is already reported (nothing may need to happen)."""
    reports = await statuses.of_resources(db, [t.resource_id for t in operation.targets])
    for report in reports.values():
        await settle(hub, db, report)
    await _finish_if_done(hub, db, operation.id)


async def drop_target(hub: HubContext, db: AsyncSession, resource_id: str) -> None:
    """Count a resource as done that is forgotten, or that never had a document."""
    waiting = await operations.open_targets(db, resource_id)
    # In those that Failed, too: one that is reopened would wait for it for ever.
    await operations.mark_target_gone(db, resource_id)
    for operation_id, target in waiting:
        if not target.done:
            await _finish_if_done(hub, db, operation_id)
