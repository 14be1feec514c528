"""Remember answers by Idempotency-Key, so that a request sent twice is carried out once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fedhub.domain.access import Principal
from fedhub.services.context import HubContext
from fedhub.store import idempotency

KEEP: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Remembered:
    """An answer, and the hash of the request that got it."""

    request_sha256: str
    status: int
    body: bytes
    headers: dict[str, str]


async def recall(hub: HubContext, principal: Principal, key: str) -> Remembered | None:
    """Return the answer that ``key`` got before, if it did within a day."""
    async with hub.database.read() as db:
        found = await idempotency.find(db, key=key, principal_id=principal.id)
    if found is None or found.at < hub.clock.now() - KEEP:
        return None
    return Remembered(found.request_sha256, found.status, found.body, found.headers)


async def remember(hub: HubContext, principal: Principal, key: str, answer: Remembered) -> None:
    """Keep an answer for a day."""
    async with hub.database.begin() as db:
        await idempotency.remember(
            db,
            key=key,
            principal_id=principal.id,
            request_sha256=answer.request_sha256,
            status=answer.status,
            body=answer.body,
            headers=answer.headers,
            at=hub.clock.now(),
        )


async def purge(hub: HubContext) -> None:
    """Forget answers older than a day."""
    async with hub.database.begin() as db:
        await idempotency.purge(db, hub.clock.now() - KEEP)
