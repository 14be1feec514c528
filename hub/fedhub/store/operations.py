"""Operations and the generations that they wait for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, insert, select
from sqlalchemy import update as update_of
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import NotFound
from fedhub.domain.access import Visibility
from fedhub.domain.models import Operation, OperationTarget
from fedhub.domain.phases import OPERATION_FINAL, OperationState
from fedhub.store.tables import OperationTable, TargetTable, table_of
from fedhub.store.visibility import is_visible
from fedsql.cursors import Page, page_of
from fedsql.statements import fetch_all, in_list, upsert

_T: Final = table_of(OperationTable)
_TARGET: Final = table_of(TargetTable)
_OPEN: Final = tuple(state for state in OperationState if state not in OPERATION_FINAL)


async def add(db: AsyncSession, operation: Operation) -> None:
    """Store a new operation with its targets."""
    columns = {c.name: getattr(operation, c.name) for c in _T.c}
    await db.execute(insert(_T).values(columns))
    if operation.targets:
        rows = [
            {
                "operation_id": operation.id,
                "resource_id": target.resource_id,
                "generation": target.generation,
                "done": target.done,
                "name": target.name or None,
            }
            for target in operation.targets
        ]
        await db.execute(insert(_TARGET), rows)


async def _with_targets(db: AsyncSession, operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """Give operations their targets, ordered by resource, in one more query."""
    if not operations:
        return ()
    columns = (_TARGET.c.operation_id, _TARGET.c.resource_id, _TARGET.c.generation)
    statement = (
        select(*columns, _TARGET.c.done, _TARGET.c.name)
        .where(in_list(db, _TARGET.c.operation_id, [operation.id for operation in operations]))
        .order_by(_TARGET.c.resource_id)
    )
    targets: dict[str, list[OperationTarget]] = {}
    for operation_id, resource_id, generation, done, name in await db.execute(statement):
        of_operation = targets.setdefault(operation_id, [])
        of_operation.append(OperationTarget(resource_id, generation, done, name or ""))
    return tuple(
        replace(operation, targets=tuple(targets.get(operation.id, ()))) for operation in operations
    )


async def _read(db: AsyncSession, statement: Select[Any]) -> tuple[Operation, ...]:
    return await _with_targets(db, await fetch_all(db, Operation, statement))


async def find(db: AsyncSession, operation_id: str) -> Operation | None:
    """Return an operation, or None."""
    operations = await _read(db, select(_T).where(_T.c.id == operation_id))
    return operations[0] if operations else None


async def get(db: AsyncSession, operation_id: str) -> Operation:
    """Return an operation, or raise NotFound."""
    operation = await find(db, operation_id)
    if operation is None:
        raise NotFound(f"there is no operation {operation_id}; `fedctl get operations` lists them")
    return operation


async def list_page(
    db: AsyncSession,
    visibility: Visibility,
    *,
    federation_id: str | None = None,
    state: OperationState | None = None,
    cursor: str | None,
    limit: int,
) -> Page[Operation]:
    """Return one page of the visible operations, newest first."""
    statement = select(_T).where(is_visible(db, visibility, federation_id=_T.c.federation_id))
    if federation_id is not None:
        statement = statement.where(_T.c.federation_id == federation_id)
    if state is not None:
        statement = statement.where(_T.c.state == state)
    page = await page_of(
        db,
        Operation,
        statement,
        [_T.c.created_at, _T.c.id],
        [datetime, str],
        key=lambda operation: [operation.created_at, operation.id],
        cursor=cursor,
        limit=limit,
        descending=True,
    )
    return Page(await _with_targets(db, page.items), page.next_cursor)


async def open_all(db: AsyncSession) -> tuple[Operation, ...]:
    """Return every operation that has not ended, oldest first."""
    statement = select(_T).where(_T.c.state.in_(_OPEN)).order_by(_T.c.created_at, _T.c.id)
    return await _read(db, statement)


async def is_any(db: AsyncSession, state: OperationState) -> bool:
    """Return whether an operation is in this state."""
    return await db.scalar(select(_T.c.id).where(_T.c.state == state).limit(1)) is not None


async def open_of_federation(db: AsyncSession, federation_id: str) -> tuple[str, ...]:
    """Return the ids of a federation's operations that have not ended, oldest first."""
    statement = select(_T.c.id).where(_T.c.federation_id == federation_id, _T.c.state.in_(_OPEN))
    return tuple((await db.scalars(statement.order_by(_T.c.created_at, _T.c.id))).all())


async def open_targets(
    db: AsyncSession, resource_id: str
) -> tuple[tuple[str, OperationTarget], ...]:
    """Return (operation id, target) of each operation that has not ended and names a resource.

    Of an operation's targets this one alone is read: there may be thousands.
    """
    statement = (
        select(_T.c.id, _TARGET.c.generation, _TARGET.c.done, _TARGET.c.name)
        .join(_TARGET, _TARGET.c.operation_id == _T.c.id)
        .where(_TARGET.c.resource_id == resource_id, _T.c.state.in_(_OPEN))
        .order_by(_T.c.created_at, _T.c.id)
    )
    return tuple(
        (operation_id, OperationTarget(resource_id, generation, done, name or ""))
        for operation_id, generation, done, name in await db.execute(statement)
    )


async def newest_with_target(db: AsyncSession, resource_id: str) -> Operation | None:
    """Return the newest operation, ended or not, that names a resource."""
    naming = select(_TARGET.c.operation_id).where(_TARGET.c.resource_id == resource_id)
    newest = select(_T).where(_T.c.id.in_(naming)).order_by(_T.c.created_at.desc(), _T.c.id.desc())
    operations = await _read(db, newest.limit(1))
    return operations[0] if operations else None


async def mark_target_gone(db: AsyncSession, resource_id: str) -> None:
    """Note a resource as reached in every operation that is open or failed."""
    states = (*_OPEN, OperationState.FAILED)
    waiting = select(_T.c.id).where(_T.c.state.in_(states))
    await db.execute(
        update_of(_TARGET)
        .where(
            _TARGET.c.resource_id == resource_id,
            _TARGET.c.done.is_(False),
            _TARGET.c.operation_id.in_(waiting),
        )
        .values(done=True)
    )


async def has_unmet(db: AsyncSession, operation_id: str) -> bool:
    """Return whether an operation still waits for a resource."""
    statement = select(_TARGET.c.resource_id).where(
        _TARGET.c.operation_id == operation_id, _TARGET.c.done.is_(False)
    )
    return await db.scalar(statement.limit(1)) is not None


async def update(
    db: AsyncSession,
    operation_id: str,
    *,
    state: OperationState,
    message: str,
    ended_at: datetime | None,
) -> None:
    """Set an operation's outcome."""
    await db.execute(
        update_of(_T)
        .where(_T.c.id == operation_id)
        .values(state=state, message=message, ended_at=ended_at)
    )


async def mark_target(db: AsyncSession, operation_id: str, resource_id: str, *, done: bool) -> None:
    """Note whether a resource is where the operation wants it."""
    await db.execute(
        update_of(_TARGET)
        .where(_TARGET.c.operation_id == operation_id, _TARGET.c.resource_id == resource_id)
        .values(done=done)
    )


async def replace_target(db: AsyncSession, operation_id: str, target: OperationTarget) -> None:
    """Make an operation wait for a (newer) generation of a resource."""
    statement = upsert(db, _TARGET).values(
        operation_id=operation_id,
        resource_id=target.resource_id,
        generation=target.generation,
        done=False,
        name=target.name or None,
    )
    await db.execute(
        statement.on_conflict_do_update(
            index_elements=["operation_id", "resource_id"],
            set_={"generation": statement.excluded.generation, "done": False},
        )
    )


async def names_of(db: AsyncSession, resource_ids: Collection[str]) -> dict[str, str]:
    """Map resources, gone ones too, to the names that operations kept of them."""
    if not resource_ids:
        return {}
    statement = (
        select(_TARGET.c.resource_id, _TARGET.c.name)
        .where(in_list(db, _TARGET.c.resource_id, resource_ids), _TARGET.c.name.is_not(None))
        .distinct()
    )
    return {row.resource_id: row.name for row in await db.execute(statement)}


async def resources_called(db: AsyncSession, name: str) -> frozenset[str]:
    """Return the ids of resources, gone ones too, that operations know by this name."""
    statement = select(_TARGET.c.resource_id).where(_TARGET.c.name == name)
    return frozenset((await db.scalars(statement)).all())


async def federation_ids_for_name(db: AsyncSession, name: str) -> frozenset[str]:
    """Return the ids of federations, gone ones too, that operations were about."""
    statement = select(_T.c.federation_id).where(_T.c.subject == f"federation/{name}")
    return frozenset(
        federation_id for federation_id in (await db.scalars(statement)).all() if federation_id
    )
