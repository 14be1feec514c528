"""What an apply or a removal did, or would do: a preview is the same path without the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.models import Federation, Operation
from fedhub.planner.diff import Change, DocumentDiff, diff_documents
from fedhub.planner.plan import Waiting
from fedhub.services.planning import Replanned
from fedhub.store import participants, sites


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What an apply did, or would do; no operation when nothing changes.

    ``restored``: names of participants whose removal ends with it.
    """

    federation: Federation
    created: bool
    operation: Operation | None
    replanned: Replanned
    waiting: Mapping[str, Waiting]
    names: Mapping[str, str]
    restored: tuple[str, ...] = ()
    diffs: tuple[DocumentDiff, ...] = ()


class DryRunRollback(Exception):
    """Carries a preview's result out of a transaction that must not commit."""

    def __init__(self, applied: ApplyResult) -> None:
        super().__init__("dry run")
        self.applied = applied


def end_preview(applied: ApplyResult, *, dry_run: bool) -> None:
    """Leave the transaction without a commit when this is a preview."""
    if dry_run:
        raise DryRunRollback(applied)


async def with_diffs(applied: ApplyResult) -> ApplyResult:
    """Add what changes, document by document.

    After the transaction and beside the loop: a thousand documents take seconds to write out.
    """
    return replace(applied, diffs=await asyncio.to_thread(_diffs_of, applied.replanned))


def _diffs_of(replanned: Replanned) -> tuple[DocumentDiff, ...]:
    diffs = (
        diff_documents(replanned.before.get(document.resource_id), document)
        for document in replanned.planned
    )
    return tuple(diff for diff in diffs if diff.change is not Change.UNCHANGED)


async def names_of(
    db: AsyncSession, federation: Federation, replanned: Replanned
) -> dict[str, str]:
    """Map the ids of sites, participants and endpoints to the names that people use."""
    names = await sites.names(db)
    for document in replanned.planned:
        names[document.resource_id] = f"endpoint/{names[document.site_id]}"
    for row in await participants.of_federation(db, federation.id):
        names[row.id] = row.name
    return names
