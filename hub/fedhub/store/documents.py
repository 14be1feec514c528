"""Desired documents. A document that differs from the stored one gets the next generation.

Only ``services.planning`` calls ``put`` and ``put_all``; a test holds it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete as delete_from
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.models import PlannedDocument, StoredDocument
from fedhub.store.tables import DocumentTable, table_of
from fedsql.statements import fetch_all, fetch_one, in_list, upsert

_T: Final = table_of(DocumentTable)


async def get(db: AsyncSession, resource_id: str) -> StoredDocument | None:
    """Return the document of a resource, or None."""
    return await fetch_one(db, StoredDocument, select(_T).where(_T.c.resource_id == resource_id))


async def of_resources(
    db: AsyncSession, resource_ids: Collection[str]
) -> dict[str, StoredDocument]:
    """Return the documents of ``resource_ids`` by resource; those that have none are left out."""
    if not resource_ids:
        return {}
    statement = select(_T).where(in_list(db, _T.c.resource_id, resource_ids))
    return {
        document.resource_id: document
        for document in await fetch_all(db, StoredDocument, statement)
    }


async def existing(db: AsyncSession, resource_ids: Collection[str]) -> frozenset[str]:
    """Return those of ``resource_ids`` that have a document; no body is read."""
    if not resource_ids:
        return frozenset()
    statement = select(_T.c.resource_id).where(in_list(db, _T.c.resource_id, resource_ids))
    return frozenset((await db.scalars(statement)).all())


async def of_site(db: AsyncSession, site_id: str) -> tuple[StoredDocument, ...]:
    """Return every document of a site."""
    statement = select(_T).where(_T.c.site_id == site_id).order_by(_T.c.resource_id)
    return await fetch_all(db, StoredDocument, statement)


async def put(db: AsyncSession, planned: PlannedDocument, at: datetime) -> StoredDocument:
    """Store a planned document: generation + 1 where digest or absence differ, else unchanged.

    One statement decides, so that two replicas that plan the same at once make one generation.
    """
    statement = upsert(db, _T).values(
        resource_id=planned.resource_id,
        site_id=planned.site_id,
        kind=planned.kind,
        generation=1,
        digest=planned.digest,
        absent=planned.absent,
        spec_bytes=planned.spec.SerializeToString(deterministic=True),
        updated_at=at,
    )
    new = statement.excluded
    stored = statement.on_conflict_do_update(
        index_elements=["resource_id"],
        set_={
            "site_id": new.site_id,
            "generation": _T.c.generation + 1,
            "digest": new.digest,
            "absent": new.absent,
            "spec_bytes": new.spec_bytes,
            "updated_at": new.updated_at,
        },
        where=or_(_T.c.digest != new.digest, _T.c.absent != new.absent),
    ).returning(*_T.c)
    row = (await db.execute(stored)).mappings().first()
    if row is None:
        # Another transaction put the same; nothing was updated, so nothing was returned.
        row = (
            (await db.execute(select(_T).where(_T.c.resource_id == planned.resource_id)))
            .mappings()
            .one()
        )
    return StoredDocument(**row)


async def put_all(
    db: AsyncSession,
    planned: Collection[PlannedDocument],
    before: Mapping[str, StoredDocument],
    at: datetime,
) -> dict[str, StoredDocument]:
    """Store planned documents as ``put`` does, writing only those that differ from ``before``.

    ``before`` holds the stored documents of all ``planned`` that have one, by resource.
    """
    stored = {}
    for document in planned:
        old = before.get(document.resource_id)
        if old is None or (old.digest, old.absent) != (document.digest, document.absent):
            old = await put(db, document, at)
        stored[document.resource_id] = old
    return stored


async def generations_of_sites(
    db: AsyncSession, site_ids: Collection[str]
) -> dict[str, dict[str, int]]:
    """Map each site that has documents to the generations by resource; no body is read."""
    statement = select(_T.c.site_id, _T.c.resource_id, _T.c.generation).where(
        in_list(db, _T.c.site_id, site_ids)
    )
    generations: dict[str, dict[str, int]] = {}
    rows: Any = await db.execute(statement)
    for site_id, resource_id, generation in rows:
        generations.setdefault(site_id, {})[resource_id] = generation
    return generations


async def delete(db: AsyncSession, resource_id: str) -> None:
    """Forget the document of a resource."""
    await db.execute(delete_from(_T).where(_T.c.resource_id == resource_id))
