"""What can be wrong with the journal's file, with the act that mends it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fedcore.errors import ErrorCode, FedError


class JournalTooNew(FedError):
    """The file was written by a newer agent; that agent must go on with it."""

    code = ErrorCode.PRECONDITION_FAILED


class JournalUnusable(FedError):
    """The file cannot be read or written; until a person mends that nothing can be noted."""

    code = ErrorCode.UNAVAILABLE


_CURES: Final = {
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_CORRUPT: "it is damaged: put a backup in its place, or move it away; the agent"
    " then begins anew, and the hub sends its documents again",
    sqlite3.SQLITE_NOTADB: "it is no SQLite file: move it away",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check the rights of its folder",
    sqlite3.SQLITE_READONLY: "it may not be written: check its owner and its rights",
    sqlite3.SQLITE_BUSY: "another process holds it: is a second agent running?",
    sqlite3.SQLITE_IOERR: "the disk fails",
}
_PRIMARY_MASK: Final = 0xFF
"""SQLite's extended codes carry the primary one in their lowest byte."""


@contextmanager
def named_failures(path: Path) -> Iterator[None]:
    """Make failures of the file JournalUnusable; broken constraints are the caller's, and pass."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_MASK
        if code not in _CURES:
            raise
        raise JournalUnusable(f"the journal {path} cannot be used: {_CURES[code]}") from error
    except OSError as error:
        text = f"the journal {path} cannot be made: {error.strerror or error}"
        raise JournalUnusable(text) from error
