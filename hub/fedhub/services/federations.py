"""Federations: apply an intent, remove it, preview either, read it.

Apply and removal are one transaction of the same steps: store the intent, bring the participants in
line with it, plan, begin the operation. A removal stores an intent without members.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import Conflict, ErrorCode, FedError, FieldError, Invalid
from fedcore.ids import new_id
from fedhub.domain.access import (
    Permission,
    Principal,
    Resource,
    ResourceType,
    authorize,
    not_found,
    of_federation,
    visible,
)
from fedhub.domain.federation import FederationIntent
from fedhub.domain.models import Federation, Operation, OperationTarget, StoredDocument
from fedhub.planner.intent import check_change, check_intent, parse_intent
from fedhub.services import operations as operation_service
from fedhub.services.changes import (
    ApplyResult,
    Change,
    ChangeKind,
    DryRunRollback,
    end_preview,
    names_of,
    with_diffs,
)
from fedhub.services.context import HubContext, notify_sites
from fedhub.services.events import record
from fedhub.services.membership import Membership, drop_if_empty, sync_members
from fedhub.services.operation_outcomes import settle_all_of
from fedhub.services.planning import Replanned, load_plan_input, replan
from fedhub.store import federations, operations, sites
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

    The removal of what ``payload`` holds again, the federation itself too, ends. ``name`` is the
    name in the address, which the payload must repeat. ``if_revision`` guards against a change in
    between (ETag). Raises Invalid with every error's path and cure, Conflict where the change
    needs another one first.
    """
    # Before the body is parsed: that takes 50 ms for 1,000 parties.
    visible(principal, Permission.MANAGE_FEDERATIONS)
    intent = parse_intent(payload)
    if name is not None and name != intent.name:
        raise Invalid(
            f"the address says {name!r} and the body says {intent.name!r}: make them equal"
        )

    async def store(db: AsyncSession) -> Change:
        old = await _locked(db, intent.name)
        resource = (
            Resource(ResourceType.FEDERATION, intent.name) if old is None else of_federation(old)
        )
        # Not hidden: whoever may apply must not learn from the answer whether a name is taken.
        authorize(principal, Permission.MANAGE_FEDERATIONS, resource, hide=False)
        _check_revision(old, intent, if_revision=if_revision, must_be_new=must_be_new)
        return await _store_intent(hub, db, old, intent)

    return await _carry_out(hub, principal, store, dry_run=dry_run)


async def remove(
    hub: HubContext, principal: Principal, name: str, *, cascade: bool, dry_run: bool = False
) -> ApplyResult:
    """Remove a federation and, with ``cascade``, every participant of it.

    Without ``cascade`` Conflict names what would go. Removing twice changes nothing, and answers
    the operation that is under way.
    """

    async def store(db: AsyncSession) -> Change:
        old = await _locked(db, name)
        if old is None:
            raise not_found(ResourceType.FEDERATION, name)
        authorize(principal, Permission.MANAGE_FEDERATIONS, of_federation(old))
        return await _store_removal(hub, db, old, cascade=cascade)

    return await _carry_out(hub, principal, store, dry_run=dry_run)


async def _carry_out(
    hub: HubContext,
    principal: Principal,
    store: Callable[[AsyncSession], Awaitable[Change]],
    *,
    dry_run: bool,
) -> ApplyResult:
    try:
        async with hub.database.begin() as db:
            result = await _carry_out_in(hub, db, principal, await store(db))
            end_preview(result, dry_run=dry_run)
    except DryRunRollback as rollback:
        return await with_diffs(rollback.result)
    notify_sites(hub, result.replanned.site_ids())
    return await with_diffs(result)


async def _carry_out_in(
    hub: HubContext, db: AsyncSession, principal: Principal, change: Change
) -> ApplyResult:
    federation = change.federation
    if change.is_same_intent and change.kind is ChangeKind.DELETE:
        return await _removal_under_way(hub, db, change)
    membership = await sync_members(hub, db, change)
    plan_input = await load_plan_input(hub, db, federation, intent=change.intent)
    replanned = await replan(hub, db, plan_input)
    operation = None
    if not change.is_same_intent or replanned.changed:
        operation = await _begin(
            hub, db, principal, change, membership=membership, replanned=replanned
        )
    names = await names_of(db, federation, replanned)
    if change.kind is ChangeKind.DELETE:
        await drop_if_empty(hub, db, federation.id)
    return ApplyResult(
        change=change,
        operation=operation,
        replanned=replanned,
        names=names,
        restored=tuple(participant.name for participant in membership.restored),
    )


async def _locked(db: AsyncSession, name: str) -> Federation | None:
    """Return a federation as it is once nobody else may change it."""
    federation_id = await federations.id_of(db, name)
    if federation_id is None:
        return None
    await federations.lock(db, federation_id)
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
    hub: HubContext, db: AsyncSession, old: FederationIntent | None, intent: FederationIntent
) -> None:
    errors = check_intent(
        intent,
        release=hub.catalogue.find(intent.release, intent.engine),
        known_sites=frozenset((await sites.names(db)).values()),
        known_releases=hub.catalogue.names(),
    )
    if old is not None:
        errors = (*errors, *check_change(old, intent))
    if not errors:
        errors = _overlapping_domains(intent, await federations.domains(db))
    if errors:
        raise Invalid(f"federation {intent.name} cannot be applied", errors=errors)


def _overlapping_domains(
    intent: FederationIntent, domains: Iterable[tuple[str, str]]
) -> tuple[FieldError, ...]:
    """List the domain as an error if another federation's CA could name hosts in it."""
    for name, domain in domains:
        if name != intent.name and (
            domain == intent.domain
            or domain.endswith(f".{intent.domain}")
            or intent.domain.endswith(f".{domain}")
        ):
            message = (
                f"{intent.domain} overlaps with {domain} of federation {name}: "
                "choose a domain beside it"
            )
            return (FieldError("domain", message),)
    return ()


async def _store_intent(
    hub: HubContext, db: AsyncSession, old: Federation | None, intent: FederationIntent
) -> Change:
    # A stored intent may be refused by today's rules; it is compared with all the same.
    old_intent = None if old is None else hub.intents.of(old).intent
    await _check(hub, db, old_intent, intent)
    kind = ChangeKind.CREATE if old is None else ChangeKind.APPLY
    written = intent.model_dump(mode="json")
    now = hub.clock.now()
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
    elif old.intent == written and not old.removing:
        federation = old
    else:
        federation = await federations.update(
            db,
            old.id,
            release=intent.release,
            intent=written,
            revision=old.revision + 1,
            updated_at=now,
            removing=False,
        )
    hub.intents.remember(federation, intent)
    return Change(kind, old, old_intent, federation, intent)


async def _store_removal(
    hub: HubContext, db: AsyncSession, old: Federation, *, cascade: bool
) -> Change:
    old_intent = hub.intents.of(old).intent
    if old.removing:
        return Change(ChangeKind.DELETE, old, old_intent, old, old_intent)
    going = [f"party {party.id} at {party.site}" for party in old_intent.parties]
    if old_intent.exchange is not None:
        going.append(f"exchange at {old_intent.exchange.site}")
    if going and not cascade:
        raise Conflict(
            f"removing {old.name} removes {', '.join(going)}: say so with --cascade (cascade=true)",
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
    intent = old_intent.model_copy(update={"exchange": None, "parties": ()})
    return Change(ChangeKind.DELETE, old, old_intent, federation, intent)


async def _removal_under_way(hub: HubContext, db: AsyncSession, change: Change) -> ApplyResult:
    """Answer a repeated removal: the operation that is under way, and no change."""
    federation = change.federation
    plan_input = await load_plan_input(hub, db, federation, intent=change.intent)
    removals = [
        operation
        for operation in await operations.open_all(db)
        if operation.federation_id == federation.id and operation.kind == ChangeKind.DELETE
    ]
    return ApplyResult(
        change=change,
        operation=removals[-1] if removals else None,
        replanned=await replan(hub, db, plan_input, scope=frozenset()),
        names={},
    )


async def _begin(
    hub: HubContext,
    db: AsyncSession,
    principal: Principal,
    change: Change,
    *,
    membership: Membership,
    replanned: Replanned,
) -> Operation:
    federation = change.federation
    is_removal = change.kind is ChangeKind.DELETE
    remaining = frozenset(participant.id for participant in membership.remaining)
    operation = await operation_service.begin(
        hub,
        db,
        principal,
        kind=change.kind.value,
        subject=f"federation/{federation.name}",
        federation_id=federation.id,
        targets=(
            _targets_of_removal(membership, replanned)
            if is_removal
            else _targets_of_apply(membership, replanned)
        ),
    )
    await operation_service.supersede(
        hub, db, federation.id, remaining if is_removal else membership.touched, operation.id
    )
    kind, message = _event_of(change, principal, membership)
    await record(
        hub,
        db,
        kind,
        message,
        actor=principal,
        federation_id=federation.id,
        operation_id=operation.id,
        facts={"revision": str(federation.revision)},
    )
    await _record_restored(hub, db, principal, membership, operation)
    await settle_all_of(hub, db, operation)
    return operation


def _targets_of_apply(membership: Membership, replanned: Replanned) -> list[OperationTarget]:
    """Wait for every document that changed, for the restored, and for those without a document."""
    targets = {
        document.resource_id: OperationTarget(document.resource_id, document.generation)
        for document in replanned.changed
    }
    for participant in membership.restored:
        # One whose removal had not begun has its document still, and is waited for all the same.
        before = replanned.before.get(participant.id)
        if before is not None:
            targets.setdefault(participant.id, OperationTarget(participant.id, before.generation))
    for participant_id in replanned.plan.waiting:
        targets.setdefault(participant_id, OperationTarget(participant_id, 1))
    return list(targets.values())


def _targets_of_removal(membership: Membership, replanned: Replanned) -> list[OperationTarget]:
    """Wait for every participant that has something at its site to be gone."""
    generations = {document.resource_id: document.generation for document in replanned.changed}
    return [
        OperationTarget(
            participant.id,
            generations.get(participant.id)
            or _removal_generation(replanned.before[participant.id]),
        )
        for participant in membership.remaining
    ]


def _removal_generation(document: StoredDocument) -> int:
    """Return the generation that asks for the removal: this one, or the next.

    The next where it is not absent yet: an exchange waits for its clusters.
    """
    return document.generation if document.absent else document.generation + 1


def _event_of(change: Change, principal: Principal, membership: Membership) -> tuple[str, str]:
    """Return the kind and the message of the event that tells of a change."""
    name = change.federation.name
    if change.kind is ChangeKind.DELETE:
        return "federation.removing", f"{principal.name} removes {name}"
    message = f"{principal.name} applied {name}: {membership.summary()}"
    if change.old is None:
        return "federation.created", message
    return ("federation.restored" if change.ends_removal else "federation.changed"), message


async def _record_restored(
    hub: HubContext,
    db: AsyncSession,
    principal: Principal,
    membership: Membership,
    operation: Operation,
) -> None:
    for participant in membership.restored:
        await record(
            hub,
            db,
            "participant.restored",
            f"the removal of {participant.name} is taken back",
            actor=principal,
            site_id=participant.site_id,
            federation_id=participant.federation_id,
            resource_id=participant.id,
            operation_id=operation.id,
        )


async def require(db: AsyncSession, name: str) -> Federation:
    """Return the federation called ``name`` or raise NotFound."""
    federation = await federations.by_name(db, name)
    if federation is None:
        raise not_found(ResourceType.FEDERATION, name)
    return federation


async def get(hub: HubContext, principal: Principal, name: str) -> Federation:
    """Return one federation."""
    async with hub.database.read() as db:
        federation = await require(db, name)
    authorize(principal, Permission.READ, of_federation(federation))
    return federation


async def list_page(
    hub: HubContext, principal: Principal, *, cursor: str | None, limit: int
) -> Page[Federation]:
    """Return federations by name."""
    visibility = visible(principal, Permission.READ)
    async with hub.database.read() as db:
        return await federations.list_page(db, visibility, cursor=cursor, limit=limit)
