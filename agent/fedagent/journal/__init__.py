"""The agent's memory on disk: where link and reconcile meet. Written before acknowledged."""

from __future__ import annotations

from fedagent.journal.journal import Journal, open_journal
from fedagent.journal.spool import SpoolFull, SpoolPosition

__all__ = ["Journal", "SpoolFull", "SpoolPosition", "open_journal"]
