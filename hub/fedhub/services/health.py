"""Is the hub fit to serve? Asked by ``/readyz``; ``/livez`` asks nothing."""

from __future__ import annotations

from dataclasses import dataclass

from fedcore.errors import FedError
from fedcore.tasks import LoopHealth
from fedsql.engine import Database


@dataclass(frozen=True, slots=True)
class Health:
    """The database and the loops that must turn."""

    database: Database
    loop_health: LoopHealth

    async def causes(self) -> list[str]:
        """Return why requests should go elsewhere; empty when all is well."""
        causes = [
            f"loop {record.name} has stood still since {record.last_success_at.isoformat()}"
            for record in self.loop_health.stalled()
        ]
        try:
            await self.database.ping()
        except FedError as error:
            causes.append(f"the database does not answer: {error.message}")
        return causes
