"""Remember answers by Idempotency-Key, so that a request sent twice is carried out once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fedhub.domain.access import Principal
from fedhub.services.context import HubContext
from fedhub.store import idempotency


@dataclass(frozen=True, slots=True)
class Remembered:
    """An answer, and the hash of the request that got it."""

    request_sha256: str
    status: int
    body: bytes
    headers: dict[str, str]


def _life(hub: HubContext) -> timedelta:
    return timedelta(seconds=hub.timing.answer_life_s)


async def recall(hub: HubContext, principal: Principal, key: str) -> Remembered | None:
    """Return the answer that ``key`` got before, if it is kept still."""
    async with hub.database.read() as db:
        stored = await idempotency.find(db, key=key, principal_id=principal.id)
    if stored is None or stored.at < hub.clock.now() - _life(hub):
        return None
    return Remembered(stored.request_sha256, stored.status, stored.body, stored.headers)


async def remember(hub: HubContext, principal: Principal, key: str, answer: Remembered) -> None:
    """Keep an answer."""
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
    """Forget answers that are too old."""
    async with hub.database.begin() as db:
        await idempotency.purge(db, hub.clock.now() - _life(hub))
