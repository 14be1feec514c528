"""Operations: views of a change of intent, bound to the generations that it caused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import NotFound
from fedcore.ids import new_id
from fedcore.words import Phase
from fedhub.domain.access import Permission, Principal
from fedhub.domain.models import (
    Operation,
    OperationTarget,
    StoredDocument,
    StoredStatus,
)
from fedhub.domain.phases import NEEDS_A_PERSON, OPERATION_FINAL, OperationState
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.store import federations, operations, participants, sites, statuses
from fedsql.cursors import Page


async def begin(
    hub: HubContext,
    db: AsyncSession,
    principal: Principal,
    *,
    kind: str,
    subject: str,
    federation_id: str,
    targets: Iterable[OperationTarget],
) -> Operation:
    """Store a new operation in the caller's transaction, with its event and its targets' names."""
    listed = list(targets)
    names = await participants.names_of_resources(db, [one.resource_id for one in listed])
    operation = Operation(
        id=new_id(),
        kind=kind,
        subject=subject,
        federation_id=federation_id,
        requested_by_id=principal.id,
        requested_by=principal.name,
        state=OperationState.RUNNING,
        created_at=hub.clock.now(),
        ended_at=None,
        message="",
        targets=tuple(replace(one, name=names.get(one.resource_id, "")) for one in listed),
    )
    await operations.add(db, operation)
    await record(
        hub,
        db,
        "operation.started",
        f"{kind} of {subject} by {principal.name}",
        actor=principal,
        federation_id=federation_id,
        operation_id=operation.id,
    )
    return operation


async def supersede(
    hub: HubContext, db: AsyncSession, federation_id: str, resource_ids: frozenset[str], by: str
) -> None:
    """End open operations that still wait for one of ``resource_ids``, which ``by`` now changes."""
    for operation in await operations.open_all(db):
        unmet = {target.resource_id for target in operation.targets if not target.done}
        if operation.id == by or operation.federation_id != federation_id:
            continue
        if unmet & resource_ids:
            await _end(
                hub, db, operation, OperationState.SUPERSEDED, f"superseded by operation {by}"
            )


async def follow_changes(
    db: AsyncSession, federation_id: str, changed: Iterable[StoredDocument]
) -> None:
    """Bind documents that changed in consequence of reports to the federation's open operations."""
    documents = list(changed)
    if not documents:
        return
    names = await participants.names_of_resources(db, [one.resource_id for one in documents])
    for operation_id in await operations.open_of_federation(db, federation_id):
        for document in documents:
            name = names.get(document.resource_id, "")
            target = OperationTarget(document.resource_id, document.generation, name=name)
            await operations.replace_target(db, operation_id, target)


async def settle(
    hub: HubContext, db: AsyncSession, status: StoredStatus, *, before: StoredStatus | None = None
) -> None:
    """Let one report move the operations that wait for its resource.

    With the report that came ``before``, one that failed goes on if no person is needed any more.
    """
    if before is not None and before.phase in NEEDS_A_PERSON:
        await _reopen(hub, db, status)
    for operation_id, target in await operations.open_targets(db, status.resource_id):
        if status.observed_generation < target.generation:
            continue
        if status.phase in NEEDS_A_PERSON:
            operation = await operations.get(db, operation_id)
            cause = await _cause(db, target, status)
            await _end(hub, db, operation, OperationState.FAILED, cause)
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
    """Let the newest operation that names a resource go on, if it failed and nobody is needed.

    Older ones stay as they ended: a newer change took their place.
    """
    operation = await operations.newest_with_target(db, status.resource_id)
    if operation is None or operation.state is not OperationState.FAILED:
        return
    unmet = {one.resource_id: one.generation for one in operation.targets if not one.done}
    if status.observed_generation < unmet.get(status.resource_id, status.observed_generation + 1):
        return
    reported = await statuses.of_resources(db, list(unmet))
    if any(
        one.phase in NEEDS_A_PERSON and one.observed_generation >= unmet[one.resource_id]
        for one in reported.values()
    ):
        return
    await operations.update(
        db, operation.id, state=OperationState.RUNNING, message="", ended_at=None
    )
    name = next(one.name for one in operation.targets if one.resource_id == status.resource_id)
    await record(
        hub,
        db,
        "operation.reopened",
        f"{operation.kind} of {operation.subject} goes on: {name} needs no person any more",
        federation_id=operation.federation_id,
        operation_id=operation.id,
    )
    # What the others reported meanwhile was not noted.
    for one in reported.values():
        if one.resource_id != status.resource_id:
            await settle(hub, db, one)


async def _is_reached(db: AsyncSession, status: StoredStatus) -> bool:
    """Tell whether a resource is where intent wants it: Ready, or Gone where it shall go."""
    if status.phase is Phase.GONE:
        return True
    row = await participants.find(db, status.resource_id)
    return status.phase is Phase.READY and (row is None or not row.removing)


async def _finish_if_done(hub: HubContext, db: AsyncSession, operation_id: str) -> None:
    if await operations.has_unmet(db, operation_id):
        return
    operation = await operations.get(db, operation_id)
    if operation.state not in OPERATION_FINAL:
        await _end(hub, db, operation, OperationState.SUCCEEDED, "")


async def _end(
    hub: HubContext, db: AsyncSession, operation: Operation, state: OperationState, message: str
) -> None:
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
    known = await statuses.of_resources(db, [t.resource_id for t in operation.targets])
    for status in known.values():
        await settle(hub, db, status)
    await _finish_if_done(hub, db, operation.id)


async def drop_target(hub: HubContext, db: AsyncSession, resource_id: str) -> None:
    """Count a resource as done that is forgotten, or that never had a document."""
    waiting = await operations.open_targets(db, resource_id)
    # In those that failed, too: they may go on, and then would wait for it for ever.
    await operations.mark_target_gone(db, resource_id)
    for operation_id, target in waiting:
        if not target.done:
            await _finish_if_done(hub, db, operation_id)


async def stalled_changes(
    db: AsyncSession, lost_sites: frozenset[str]
) -> list[tuple[Operation, OperationState, str]]:
    """List open operations whose state changes by what is out of sight: new state, and why."""
    if not lost_sites and not await operations.is_any(db, OperationState.STALLED):
        return []
    found = await operations.open_all(db)
    unmet = {t.resource_id for operation in found for t in operation.targets if not t.done}
    places = await participants.sites_of_resources(db, sorted(unmet)) if unmet else {}
    names = await sites.names(db) if lost_sites else {}
    changes = []
    for operation in found:
        places_of = {places.get(t.resource_id, "") for t in operation.targets if not t.done}
        waiting_for = sorted(names[site_id] for site_id in places_of & lost_sites)
        state = OperationState.STALLED if waiting_for else OperationState.RUNNING
        message = f"waiting for site {', '.join(waiting_for)}" if waiting_for else ""
        if (operation.state, operation.message) != (state, message):
            changes.append((operation, state, message))
    return changes


async def refresh_stalled(db: AsyncSession, lost_sites: frozenset[str]) -> None:
    """Mark open operations Stalled that wait for a site out of sight; Running when it is back."""
    for operation, state, message in await stalled_changes(db, lost_sites):
        await operations.update(db, operation.id, state=state, message=message, ended_at=None)


async def list_page(
    hub: HubContext,
    principal: Principal,
    *,
    federation: str | None,
    state: OperationState | None,
    cursor: str | None,
    limit: int,
) -> Page[Operation]:
    """Return operations, newest first; those of one federation by its name."""
    principal.require(Permission.READ)
    async with hub.database.read() as db:
        federation_id = None
        if federation is not None:
            found = await federations.by_name(db, federation)
            if found is None:
                raise NotFound(f"there is no federation {federation}")
            federation_id = found.id
        return await operations.list_page(
            db, federation_id=federation_id, state=state, cursor=cursor, limit=limit
        )
