"""Pages by key: a cursor is the last row's sort key, so that rows may come and go between pages.

A cursor is opaque to callers: base64url over a JSON array.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, literal, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import Invalid

T = TypeVar("T")
_MAX_CHARS: Final = 2_000
_MAX_INT: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``next_cursor`` is None on the last."""

    items: tuple[T, ...]
    next_cursor: str | None


def encode(key: Sequence[str | int | datetime]) -> str:
    """Write a sort key as a cursor."""
    plain = [part.isoformat() if isinstance(part, datetime) else part for part in key]
    text = json.dumps(plain, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, kinds: Sequence[type]) -> list[str | int | datetime]:
    """Read a cursor back, or raise Invalid: it comes from outside and is trusted in nothing."""
    try:
        parts = _parts(cursor)
        return [_part(part, kind) for part, kind in zip(parts, kinds, strict=True)]
    except (ValueError, TypeError, RecursionError, OverflowError, binascii.Error) as error:
        raise Invalid(
            "the cursor is not one that this list gave out; leave it away to begin at the start"
        ) from error


def _parts(cursor: str) -> list[object]:
    if len(cursor) > _MAX_CHARS:
        raise ValueError("too long")
    padded = cursor + "=" * (-len(cursor) % 4)
    text = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
    parts = json.loads(text)
    if not isinstance(parts, list):
        raise TypeError("no list")
    return parts


def _part(part: object, kind: type) -> str | int | datetime:
    if kind is datetime and isinstance(part, str):
        moment = datetime.fromisoformat(part)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return moment.astimezone(UTC)
    if kind is int and type(part) is int and 0 <= part <= _MAX_INT:
        return part
    if kind is str and isinstance(part, str) and "\x00" not in part:
        part.encode()
        return part
    raise TypeError("another kind")


async def page_of(  # noqa: PLR0913 - what a page is made of
    db: AsyncSession,
    kind: Callable[..., T],
    statement: Select[Any],
    order: Sequence[ColumnElement[Any]],
    kinds: Sequence[type],
    *,
    key: Callable[[T], Sequence[str | int | datetime]],
    cursor: str | None,
    limit: int,
    descending: bool = False,
) -> Page[T]:
    """Run ``statement`` for one page in the order of ``order``, which must be unique and not null.

    ``kinds`` are the Python types of ``order``; ``key`` takes the same values from an item.
    """
    if limit < 1:
        raise Invalid("limit must be at least 1")
    if cursor is not None:
        last = [
            literal(part, column.type)
            for part, column in zip(decode(cursor, kinds), order, strict=True)
        ]
        place = tuple_(*order)
        statement = statement.where(place < tuple_(*last) if descending else place > tuple_(*last))
    sorting = [column.desc() if descending else column.asc() for column in order]
    result = await db.execute(statement.order_by(*sorting).limit(limit + 1))
    names, rows = tuple(result.keys()), result.all()
    items = tuple(kind(**dict(zip(names, row, strict=True))) for row in rows[:limit])
    return Page(items, encode(key(items[-1])) if len(rows) > limit else None)
