"""What a principal may see, as a condition on the rows of a list."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, false, or_, true
from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.access import Visibility
from fedsql.statements import in_list


def is_visible(
    db: AsyncSession,
    visibility: Visibility,
    *,
    federation_id: Column[Any] | None = None,
    site_id: Column[Any] | None = None,
) -> ColumnElement[bool]:
    """Build the condition that a row's federation or site is visible.

    A table names the columns that say to whom its rows belong; one without any is for those alone
    who see everything.
    """
    if visibility.everything:
        return true()
    owned = [
        in_list(db, column, sorted(ids))
        for column, ids in (
            (federation_id, visibility.federation_ids),
            (site_id, visibility.site_ids),
        )
        if column is not None and ids
    ]
    return or_(false(), *owned)
