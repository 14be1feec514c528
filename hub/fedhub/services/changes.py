"""A change of a federation's intent, what it did, and its preview.

A preview takes the same path without the commit: it cannot say anything else than what happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.federation import FederationIntent
from fedhub.domain.models import Federation, Operation
from fedhub.planner.diff import Change as DocumentChange
from fedhub.planner.diff import DocumentDiff, diff_documents
from fedhub.services.planning import Replanned
from fedhub.store import participants, sites


class ChangeKind(StrEnum):
    """What is done to a federation; the ``kind`` of its operation."""

    CREATE = "create"
    APPLY = "apply"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a stored intent. Each intent was parsed once, and goes along parsed.

    ``old`` and ``old_intent`` are as they were stored (None for a new federation), ``federation``
    and ``intent`` as they are stored now, in the transaction of the change.
    """

    kind: ChangeKind
    old: Federation | None
    old_intent: FederationIntent | None
    federation: Federation
    intent: FederationIntent

    @property
    def is_same_intent(self) -> bool:
        """Return whether nothing was stored: the intent was the same already."""
        return self.old is not None and self.federation is self.old

    @property
    def ends_removal(self) -> bool:
        """Return whether the federation was being removed and stays by this change."""
        return self.old is not None and self.old.removing and not self.federation.removing


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What a change did, or would do; no operation when nothing changes.

    ``names`` are those of the sites and resources in it, by id; ``restored`` those of participants
    whose removal ends with it.
    """

    change: Change
    operation: Operation | None
    replanned: Replanned
    names: Mapping[str, str]
    restored: tuple[str, ...] = ()
    diffs: tuple[DocumentDiff, ...] = ()


class DryRunRollback(Exception):
    """Carries a preview's result out of a transaction that must not commit."""

    def __init__(self, result: ApplyResult) -> None:
        super().__init__("dry run")
        self.result = result


def end_preview(result: ApplyResult, *, dry_run: bool) -> None:
    """Leave the transaction without a commit when this is a preview."""
    if dry_run:
        raise DryRunRollback(result)


async def with_diffs(result: ApplyResult) -> ApplyResult:
    """Add what changes, document by document.

    After the transaction and beside the loop: a thousand documents take seconds to write out.
    """
    return replace(result, diffs=await asyncio.to_thread(_diffs_of, result.replanned))


def _diffs_of(replanned: Replanned) -> tuple[DocumentDiff, ...]:
    diffs = (
        diff_documents(replanned.before.get(document.resource_id), document)
        for document in replanned.planned
    )
    return tuple(diff for diff in diffs if diff.change is not DocumentChange.UNCHANGED)


async def names_of(
    db: AsyncSession, federation: Federation, replanned: Replanned
) -> dict[str, str]:
    """Map the ids of sites, participants and endpoints to the names that people use."""
    names = await sites.names(db)
    for document in replanned.planned:
        names[document.resource_id] = f"endpoint/{names[document.site_id]}"
    for participant in await participants.of_federation(db, federation.id):
        names[participant.id] = participant.name
    return names
