"""Federations: apply an intent, preview it, read it, remove it."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import Conflict, ErrorCode, FedError, FieldError, Invalid, NotFound
from fedcore.ids import new_id
from fedhub.domain.access import Permission, Principal
from fedhub.domain.federation import FederationIntent
from fedhub.domain.models import Federation, Operation, OperationTarget
from fedhub.planner.intent import check_change, check_intent, parse_intent
from fedhub.services import operations as operation_service
from fedhub.services.context import HubContext, notify_sites
from fedhub.services.dry_run import ApplyResult, DryRunRollback, end_preview, names_of, with_diffs
from fedhub.services.events import record
from fedhub.services.membership import Membership, sync_members
from fedhub.services.planning import Replanned, intent_of, load_plan_input, replan
from fedhub.store import federations, sites
from fedsql.cursors import Page


async def apply(
    hub: HubContext,
    principal: Principal,
    payload: object,
    *,
    name: str | None = None,
    if_revision: int | None = None,
    must_be_new: bool = False,
    dry_run: bool = False,
) -> ApplyResult:
    """Make the stored intent equal ``payload`` and replan; the same intent again changes nothing.

    What is being removed and is in ``payload`` again, the federation itself too, is taken back.
    ``name`` is the name in the address, which the payload must repeat. ``if_revision`` guards
    against a change in between (ETag). Raises Invalid with every error's path and cure, Conflict
    where the change needs another one first.
    """
    principal.require(Permission.MANAGE_FEDERATIONS)
    intent = parse_intent(payload)
    if name is not None and name != intent.name:
        raise Invalid(
            f"the address says {name!r} and the body says {intent.name!r}: make them equal"
        )
    try:
        async with hub.database.begin() as db:
            applied, replanned = await _apply_in(
                hub, db, principal, intent, if_revision=if_revision, must_be_new=must_be_new
            )
            end_preview(applied, dry_run=dry_run)
    except DryRunRollback as preview:
        return await with_diffs(preview.applied)
    notify_sites(hub, replanned.site_ids())
    return await with_diffs(applied)


async def _apply_in(
    hub: HubContext,
    db: AsyncSession,
    principal: Principal,
    intent: FederationIntent,
    *,
    if_revision: int | None,
    must_be_new: bool,
) -> tuple[ApplyResult, Replanned]:
    old = await locked(db, intent.name)
    _check_revision(old, intent, if_revision=if_revision, must_be_new=must_be_new)
    await _check(hub, db, old, intent)
    federation, unchanged = await _store_intent(hub, db, old, intent)
    membership = await sync_members(hub, db, federation, old, intent)
    replanned = await replan(hub, db, await load_plan_input(hub, db, federation))
    operation = None
    if not (unchanged and not replanned.changed):
        operation = await _begin(
            hub,
            db,
            principal,
            federation,
            old=old,
            membership=membership,
            replanned=replanned,
        )
    return (
        ApplyResult(
            federation=federation,
            created=old is None,
            operation=operation,
            replanned=replanned,
            waiting=replanned.plan.waiting,
            names=await names_of(db, federation, replanned),
            restored=tuple(row.name for row in membership.restored),
        ),
        replanned,
    )


async def locked(db: AsyncSession, name: str) -> Federation | None:
    """Read a federation as it is once nobody else may change it."""
    found = await federations.by_name(db, name)
    if found is None:
        return None
    await federations.lock(db, found.id)
    return await federations.by_name(db, name)


def _check_revision(
    old: Federation | None, intent: FederationIntent, *, if_revision: int | None, must_be_new: bool
) -> None:
    if old is not None and must_be_new:
        state = "is being removed; take it back" if old.removing else "exists already; change it"
        raise Conflict(f"federation {intent.name} {state} with PUT")
    if if_revision is not None and (old is None or old.revision != if_revision):
        now = "is not there" if old is None else f"is at revision {old.revision}"
        raise FedError(
            f"federation {intent.name} {now}, not at {if_revision}: read it again, then apply",
            code=ErrorCode.PRECONDITION_FAILED,
        )


async def _check(
    hub: HubContext, db: AsyncSession, old: Federation | None, intent: FederationIntent
) -> None:
    release = hub.catalogue.find(intent.release, intent.engine)
    known = frozenset(site.name for site in await sites.all(db))
    errors = check_intent(
        intent, release=release, known_sites=known, known_releases=hub.catalogue.names()
    )
    if old is not None:
        errors = (*errors, *check_change(intent_of(old), intent))
    if errors:
        raise Invalid(f"federation {intent.name} cannot be applied", errors=errors)
    for other in await federations.all(db):
        # The CA of the outer domain could name hosts of the inner one.
        if other.name != intent.name and _overlap(other.domain, intent.domain):
            raise Invalid(
                f"federation {intent.name} cannot be applied",
                errors=(
                    FieldError(
                        "domain",
                        f"{intent.domain} overlaps with {other.domain} of federation "
                        f"{other.name}: choose a domain beside it",
                    ),
                ),
            )


def _overlap(one: str, other: str) -> bool:
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")


async def _store_intent(
    hub: HubContext, db: AsyncSession, old: Federation | None, intent: FederationIntent
) -> tuple[Federation, bool]:
    """Store the intent; the flag tells that it was the same already."""
    now = hub.clock.now()
    written = intent.model_dump(mode="json")
    if old is None:
        federation = Federation(
            id=new_id(),
            name=intent.name,
            domain=intent.domain,
            release=intent.release,
            intent=written,
            revision=1,
            created_at=now,
            updated_at=now,
        )
        await federations.add(db, federation)
        return federation, False
    if old.intent == written and not old.removing:
        return old, True
    changed = await federations.update(
        db,
        old.id,
        release=intent.release,
        intent=written,
        revision=old.revision + 1,
        updated_at=now,
        removing=False,
    )
    return changed, False


async def _begin(
    hub: HubContext,
    db: AsyncSession,
    principal: Principal,
    federation: Federation,
    *,
    old: Federation | None,
    membership: Membership,
    replanned: Replanned,
) -> Operation:
    targets = {
        document.resource_id: OperationTarget(document.resource_id, document.generation)
        for document in replanned.changed
    }
    for row in membership.restored:
        # One whose removal had not begun has its document still, and is waited for all the same.
        before = replanned.before.get(row.id)
        if before is not None:
            targets.setdefault(row.id, OperationTarget(row.id, before.generation))
    for participant_id in replanned.plan.waiting:
        targets.setdefault(participant_id, OperationTarget(participant_id, 1))
    operation = await operation_service.begin(
        hub,
        db,
        principal,
        kind="create" if old is None else "apply",
        subject=f"federation/{federation.name}",
        federation_id=federation.id,
        targets=targets.values(),
    )
    await operation_service.supersede(hub, db, federation.id, membership.touched, operation.id)
    await record(
        hub,
        db,
        _word_of(old),
        f"{principal.name} applied {federation.name}: {membership.summary()}",
        actor=principal,
        federation_id=federation.id,
        operation_id=operation.id,
        facts={"revision": str(federation.revision)},
    )
    for row in membership.restored:
        await record(
            hub,
            db,
            "participant.restored",
            f"the removal of {row.name} is taken back",
            actor=principal,
            site_id=row.site_id,
            federation_id=federation.id,
            resource_id=row.id,
            operation_id=operation.id,
        )
    await operation_service.settle_all_of(hub, db, operation)
    return operation


def _word_of(old: Federation | None) -> str:
    if old is None:
        return "federation.created"
    return "federation.restored" if old.removing else "federation.changed"


async def require(db: AsyncSession, name: str) -> Federation:
    """Return the federation called ``name`` or raise NotFound."""
    found = await federations.by_name(db, name)
    if found is None:
        raise not_there(name)
    return found


def not_there(name: str) -> NotFound:
    """Build the error for a name that no federation has."""
    return NotFound(f"there is no federation {name}; `fedctl get federations` lists them")


async def get(hub: HubContext, principal: Principal, name: str) -> Federation:
    """Return one federation."""
    principal.require(Permission.READ)
    async with hub.database.read() as db:
        return await require(db, name)


async def list_page(
    hub: HubContext, principal: Principal, *, cursor: str | None, limit: int
) -> Page[Federation]:
    """Return federations by name."""
    principal.require(Permission.READ)
    async with hub.database.read() as db:
        return await federations.list_page(db, cursor=cursor, limit=limit)
