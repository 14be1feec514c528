"""Operations: views of a change of intent, bound to the generations that it caused.

An operation scripts nothing: agents act on documents, and an operation only watches whether the
generations that its change made are reached. ``operation_outcomes`` decides how it ends.

| what happens to an open operation                       | what is done                          |
|---------------------------------------------------------|---------------------------------------|
| a newer change concerns a resource that it still awaits | it ends: Superseded                   |
| reports made the planner change more documents          | it awaits these generations, too      |
| a site that it awaits is out of sight                   | Stalled, never Failed                 |
| that site is back                                       | Running                               |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.ids import new_id
from fedcore.words import Phase
from fedhub.domain.access import (
    Permission,
    Principal,
    ResourceType,
    authorize,
    not_found,
    of_operation,
    visible,
)
from fedhub.domain.models import (
    Operation,
    OperationTarget,
    Site,
    StoredDocument,
    StoredStatus,
)
from fedhub.domain.phases import OperationState
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.services.operation_outcomes import end
from fedhub.services.resources import Step, steps_of
from fedhub.store import endpoints, federations, operations, participants, sites, statuses
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
    targets = list(targets)
    names = await participants.names_of_resources(db, [t.resource_id for t in targets])
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
        targets=tuple(
            replace(target, name=names.get(target.resource_id, "")) for target in targets
        ),
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
            await end(
                hub, db, operation, OperationState.SUPERSEDED, f"superseded by operation {by}"
            )


async def follow_changes(
    db: AsyncSession, federation_id: str, changed: Iterable[StoredDocument]
) -> None:
    """Bind documents that changed in consequence of reports to the federation's open operations."""
    documents = list(changed)
    if not documents:
        return
    names = await participants.names_of_resources(
        db, [document.resource_id for document in documents]
    )
    for operation_id in await operations.open_of_federation(db, federation_id):
        for document in documents:
            name = names.get(document.resource_id, "")
            target = OperationTarget(document.resource_id, document.generation, name=name)
            await operations.replace_target(db, operation_id, target)


async def stalled_changes(
    db: AsyncSession, lost_sites: frozenset[str]
) -> list[tuple[Operation, OperationState, str]]:
    """List open operations whose state changes by what is out of sight: new state, and why."""
    if not lost_sites and not await operations.is_any(db, OperationState.STALLED):
        return []
    unfinished = await operations.open_all(db)
    unmet = {t.resource_id for operation in unfinished for t in operation.targets if not t.done}
    site_of = await participants.sites_of_resources(db, sorted(unmet)) if unmet else {}
    names = await sites.names(db) if lost_sites else {}
    changes = []
    for operation in unfinished:
        awaited = {site_of.get(t.resource_id, "") for t in operation.targets if not t.done}
        waiting_for = sorted(names[site_id] for site_id in awaited & lost_sites)
        state = OperationState.STALLED if waiting_for else OperationState.RUNNING
        message = f"waiting for site {', '.join(waiting_for)}" if waiting_for else ""
        if (operation.state, operation.message) != (state, message):
            changes.append((operation, state, message))
    return changes


async def refresh_stalled(db: AsyncSession, lost_sites: frozenset[str]) -> None:
    """Mark open operations Stalled that wait for a site out of sight; Running when it is back."""
    for operation, state, message in await stalled_changes(db, lost_sites):
        await operations.update(db, operation.id, state=state, message=message, ended_at=None)


@dataclass(frozen=True, slots=True)
class TargetProgress:
    """One resource of an operation, with what its site last said."""

    resource_id: str
    generation: int
    done: bool
    name: str
    site: str
    site_state: str
    observed_generation: int
    phase: str
    reason: str
    message: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class OperationProgress:
    """An operation and its resources, by name."""

    operation: Operation
    targets: tuple[TargetProgress, ...]


async def get(hub: HubContext, principal: Principal, operation_id: str) -> OperationProgress:
    """Return one operation with the progress of every resource."""
    async with hub.database.read() as db:
        operation = await operations.get(db, operation_id)
        authorize(principal, Permission.READ, of_operation(operation))
        reports = await statuses.of_resources(db, [t.resource_id for t in operation.targets])
        by_id = {site.id: site for site in await sites.all(db)}
        targets = [await _progress(db, target, reports, by_id) for target in operation.targets]
    return OperationProgress(operation, tuple(sorted(targets, key=lambda target: target.name)))


async def _progress(
    db: AsyncSession,
    target: OperationTarget,
    reports: Mapping[str, StoredStatus],
    by_id: Mapping[str, Site],
) -> TargetProgress:
    name, site_id, (reason, message) = await _identify(db, target)
    site = by_id.get(site_id or "")
    report = reports.get(target.resource_id)
    if report is not None:
        reason, message = report.reason, report.message
    return TargetProgress(
        resource_id=target.resource_id,
        generation=target.generation,
        done=target.done,
        name=name,
        site=site.name if site is not None else "",
        site_state=site.state.value if site is not None else "",
        observed_generation=report.observed_generation if report is not None else 0,
        phase=(
            report.phase if report is not None else Phase.GONE if target.done else Phase.WAITING
        ),
        reason=reason,
        message=message,
        steps=steps_of(report.status) if report is not None else (),
    )


async def _identify(
    db: AsyncSession, target: OperationTarget
) -> tuple[str, str | None, tuple[str, str]]:
    """Return a target's name, its site if it is not gone, and why it waits (reason, message)."""
    row = await participants.find(db, target.resource_id)
    if row is not None:
        return row.name, row.site_id, (row.waiting_reason or "", row.waiting_message or "")
    endpoint = await endpoints.find(db, target.resource_id)
    if endpoint is not None:
        return f"endpoint/{endpoint.name}", endpoint.site_id, ("", "")
    return target.name or target.resource_id, None, ("", "")


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
    visibility = visible(principal, Permission.READ)
    async with hub.database.read() as db:
        federation_id = None
        if federation is not None:
            federation_id = await federations.id_of(db, federation)
            if federation_id is None:
                raise not_found(ResourceType.FEDERATION, federation)
        return await operations.list_page(
            db,
            visibility,
            federation_id=federation_id,
            state=state,
            cursor=cursor,
            limit=limit,
        )
