"""Names and ids of participants and endpoints, of gone ones too: operations keep their names."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.access import ResourceType, not_found
from fedhub.store import federations, operations, participants


async def names_of(db: AsyncSession, resource_ids: Collection[str]) -> dict[str, str]:
    """Map resources to the names that people use; one that nobody ever named is left out."""
    names = await participants.names_of_resources(db, resource_ids)
    gone = [resource_id for resource_id in resource_ids if resource_id not in names]
    return names | await operations.names_of(db, gone)


async def participant_ids_for_name(db: AsyncSession, name: str) -> frozenset[str]:
    """Return the ids that a participant's name has stood for, or its own id; else NotFound."""
    ids = {row.id for row in await participants.called(db, name)}
    ids |= await operations.resources_called(db, name)
    if not ids and await names_of(db, [name]):
        ids.add(name)
    if not ids:
        raise not_found(ResourceType.PARTICIPANT, name)
    return frozenset(ids)


async def federation_ids_for_name(db: AsyncSession, name: str) -> frozenset[str]:
    """Return the ids that a federation's name has stood for; NotFound where there is none."""
    present = await federations.id_of(db, name)
    ids = await operations.federation_ids_for_name(db, name)
    if present is not None:
        ids |= {present}
    if not ids:
        raise not_found(ResourceType.FEDERATION, name)
    return ids
