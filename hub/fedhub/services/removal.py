"""Remove a whole federation: every participant goes, the exchange when its last cluster is gone."""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import Conflict
from fedhub.domain.access import Permission, Principal
from fedhub.domain.models import Federation, Operation, OperationTarget, StoredDocument
from fedhub.services import operations as operation_service
from fedhub.services.context import HubContext, notify_sites
from fedhub.services.dry_run import ApplyResult, DryRunRollback, end_preview, names_of, with_diffs
from fedhub.services.events import record
from fedhub.services.federations import locked, not_there
from fedhub.services.membership import Membership, drop_if_empty, sync_members
from fedhub.services.planning import Replanned, intent_of, load_plan_input, replan
from fedhub.store import federations, operations

DELETE: Final = "delete"


async def remove(
    hub: HubContext, principal: Principal, name: str, *, cascade: bool, dry_run: bool = False
) -> ApplyResult:
    """Remove a federation and, with ``cascade``, every participant of it.

    Without ``cascade`` Conflict names what would go. Removing twice changes nothing, and answers
    the operation that is under way.
    """
    principal.require(Permission.MANAGE_FEDERATIONS)
    try:
        async with hub.database.begin() as db:
            applied, replanned = await _remove_in(hub, db, principal, name, cascade=cascade)
            end_preview(applied, dry_run=dry_run)
    except DryRunRollback as preview:
        return await with_diffs(preview.applied)
    notify_sites(hub, replanned.site_ids())
    return await with_diffs(applied)


async def _remove_in(
    hub: HubContext, db: AsyncSession, principal: Principal, name: str, *, cascade: bool
) -> tuple[ApplyResult, Replanned]:
    old = await locked(db, name)
    if old is None:
        raise not_there(name)
    if old.removing:
        return await _already_removing(hub, db, old)
    intent = intent_of(old)
    going = [f"party {party.id} at {party.site}" for party in intent.parties]
    if intent.exchange is not None:
        going.append(f"exchange at {intent.exchange.site}")
    if going and not cascade:
        raise Conflict(
            f"removing {name} removes {', '.join(going)}: say so with --cascade (cascade=true)",
            going=going,
        )
    # Of the stored values, which today's rules may refuse, only the members go.
    federation = await federations.update(
        db,
        old.id,
        intent={**old.intent, "exchange": None, "parties": []},
        revision=old.revision + 1,
        updated_at=hub.clock.now(),
        removing=True,
    )
    membership = await sync_members(hub, db, federation, old, intent_of(federation))
    replanned = await replan(hub, db, await load_plan_input(hub, db, federation))
    operation = await _begin_removal(
        hub, db, principal, federation, membership=membership, replanned=replanned
    )
    names = await names_of(db, federation, replanned)
    await drop_if_empty(hub, db, federation.id)
    return (
        ApplyResult(
            federation=federation,
            created=False,
            operation=operation,
            replanned=replanned,
            waiting=replanned.plan.waiting,
            names=names,
        ),
        replanned,
    )


async def _already_removing(
    hub: HubContext, db: AsyncSession, federation: Federation
) -> tuple[ApplyResult, Replanned]:
    """Answer a repeated removal: the operation that is under way, and no change."""
    replanned = await replan(hub, db, await load_plan_input(hub, db, federation), scope=frozenset())
    under_way = [
        one
        for one in await operations.open_all(db)
        if one.federation_id == federation.id and one.kind == DELETE
    ]
    applied = ApplyResult(
        federation=federation,
        created=False,
        operation=under_way[-1] if under_way else None,
        replanned=replanned,
        waiting={},
        names={},
    )
    return applied, replanned


async def _begin_removal(
    hub: HubContext,
    db: AsyncSession,
    principal: Principal,
    federation: Federation,
    *,
    membership: Membership,
    replanned: Replanned,
) -> Operation:
    generations = {document.resource_id: document.generation for document in replanned.changed}
    targets = [
        OperationTarget(row.id, generations.get(row.id) or _going_at(replanned.before[row.id]))
        for row in membership.remaining
    ]
    operation = await operation_service.begin(
        hub,
        db,
        principal,
        kind=DELETE,
        subject=f"federation/{federation.name}",
        federation_id=federation.id,
        targets=targets,
    )
    everything = frozenset(row.id for row in membership.remaining)
    await operation_service.supersede(hub, db, federation.id, everything, operation.id)
    await record(
        hub,
        db,
        "federation.removing",
        f"{principal.name} removes {federation.name}",
        actor=principal,
        federation_id=federation.id,
        operation_id=operation.id,
    )
    await operation_service.settle_all_of(hub, db, operation)
    return operation


def _going_at(document: StoredDocument) -> int:
    """Tell the generation that asks for the removal: this one, or the next.

    Next where it is not absent yet: an exchange waits for its clusters.
    """
    return document.generation if document.absent else document.generation + 1
