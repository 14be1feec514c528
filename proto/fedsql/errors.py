"""Turn the errors of databases into ours; done once, at the edge of a transaction."""

from __future__ import annotations

import sqlite3
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from fedcore.errors import Conflict, FedError, Invalid, Unavailable

AWAY: Final = "the database does not answer; nothing was changed, try again shortly"
_SQLITE_AWAY: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
    }
)
_POSTGRES_AWAY: Final = ("08", "25P0", "40", "53", "55P03", "57", "58")
"""SQLSTATE classes that say "not now": connection, deadlock, resources, lock, shutdown, disk."""
_POSTGRES_BAD_DATA: Final = "22"
log = structlog.get_logger()


def translate(error: SQLAlchemyError) -> FedError | None:
    """Return the error that callers know, or None for a defect of ours, which stays as it is."""
    if isinstance(error, PoolTimeoutError):
        return unavailable(error)
    if not isinstance(error, DBAPIError):
        return None
    if isinstance(error, IntegrityError):
        return Conflict(
            "this contradicts what is stored by now: read it again, then decide",
            constraint=_constraint(error),
        )
    if error.connection_invalidated or _is_away(error):
        return unavailable(error)
    if _sqlstate(error).startswith(_POSTGRES_BAD_DATA) or _is_refused_argument(error):
        return Invalid("a value holds characters or a size that cannot be stored")
    return None


def unavailable(error: BaseException) -> Unavailable:
    """Build Unavailable and log the cause: the database's own text may hold values."""
    cause = getattr(error, "orig", None) or error
    log.warning("database.unavailable", cause=type(cause).__name__, text=str(cause)[:300])
    return Unavailable(AWAY)


def _is_away(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF in _SQLITE_AWAY
    state = _sqlstate(error)
    if state:
        return state.startswith(_POSTGRES_AWAY)
    return isinstance(error, InterfaceError) and not _is_refused_argument(error)


def _is_refused_argument(error: DBAPIError) -> bool:
    """Return whether asyncpg refused an argument before sending it, with its kind of ValueError."""
    return error.orig is not None and isinstance(error.orig.__cause__, ValueError)


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _constraint(error: IntegrityError) -> str:
    cause = getattr(error.orig, "__cause__", None)
    return str(getattr(cause, "constraint_name", None) or error.orig)
