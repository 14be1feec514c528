"""Column types that read and write the same values on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import JSON, DateTime, Dialect, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator

PlainText: Final = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text that sorts by code point on both databases, so that pages have one order."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with its zone. SQLite knows none: there it is stored as UTC without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn into UTC; a time without a zone is a programming error."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone cannot be stored: {value}")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.replace(tzinfo=UTC)


def sqlite_text(moment: datetime) -> str:
    """Write a time as SQLAlchemy's SQLite dialect stores it, for statements in plain SQL."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


class EnumText(TypeDecorator[StrEnum]):
    """A StrEnum stored as its value: a new word needs no migration.

    ``sa.Enum(native_enum=False)`` would make VARCHAR of today's longest word, which PostgreSQL
    enforces: a longer word would need a migration. And it reads an unknown word as LookupError
    where callers of the store expect ValueError, as for every value that does not fit.
    """

    impl = Text
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: StrEnum | None, _dialect: Dialect) -> str | None:
        """Store the value."""
        return None if value is None else self.words(value).value

    def process_result_value(self, value: str | None, _dialect: Dialect) -> StrEnum | None:
        """Read the word; an unknown one is a database of a newer hub, and an error."""
        return None if value is None else self.words(value)


class JsonTuple(TypeDecorator[Sequence[Any]]):
    """A tuple of JSON values, stored as an array."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Sequence[Any] | None, _dialect: Dialect) -> Any:
        """Store an array."""
        return None if value is None else list(value)

    def process_result_value(self, value: Any, _dialect: Dialect) -> tuple[Any, ...] | None:
        """Read a tuple."""
        return None if value is None else tuple(value)


def storable(text: str) -> str:
    """Replace NUL, which PostgreSQL's text cannot hold; for text that sites wrote."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
