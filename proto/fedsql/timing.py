"""Every wait of the database layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseTiming:
    """How long the database may take before callers get ``Unavailable``."""

    transaction_limit_s: float = 60.0
    """Longest life of a transaction, the wait for a connection included. A federation of 1,000
    parties is planned and stored in about 2 s (docs/performance.md); a slow disk takes ten times
    that. Longer means that a stuck transaction keeps SQLite's only writer."""

    connect_limit_s: float = 5.0
    """Wait for PostgreSQL to accept a connection. A server in the same network answers within
    milliseconds; one that fails over takes longer than anybody should wait in a request."""

    ping_limit_s: float = 3.0
    """Wait of the readiness probe; below the 5 s that orchestrators commonly allow a probe."""

    sqlite_busy_s: float = 10.0
    """Wait for a writer in another process (PRAGMA busy_timeout): only a migration or a backup
    tool can be one, and each holds the lock for less than a second."""

    statement_limit_s: float = 30.0
    """PostgreSQL's statement_timeout; half of ``transaction_limit_s``, so that the server names
    the statement before the client gives up."""

    lock_limit_s: float = 20.0
    """PostgreSQL's lock_timeout; below ``statement_limit_s``, so that a lock that does not come is
    told apart from a slow statement."""

    idle_limit_s: float = 90.0
    """PostgreSQL's idle_in_transaction_session_timeout: ends the transaction of a client that
    died; above ``transaction_limit_s``, which ends those of clients that live."""

    @property
    def pool_limit_s(self) -> float:
        """Wait for a free connection; half of a transaction's life, so that work fits after it."""
        return self.transaction_limit_s / 2
