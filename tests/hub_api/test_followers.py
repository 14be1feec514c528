from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest

from fedcore import limits
from fedhub.api.events import PIECE_BYTES, pieces
from fedhub.domain.models import Event
from fedhub.services.event_feed import NamedEvent


async def test_a_follower_too_many_is_told_to_come_later(lab):
    url = f"{lab.place.url}/api/v1/events?follow=true"
    headers = {"Authorization": f"Bearer {lab.place.token}"}
    async with AsyncExitStack() as lines:
        for _ in range(limits.MAX_FOLLOWERS_PER_PRINCIPAL):
            answer = await lines.enter_async_context(lab.rest.session.get(url, headers=headers))
            assert answer.status == 200
        answer = await lines.enter_async_context(lab.rest.session.get(url, headers=headers))
        assert answer.status == 429
        assert (await answer.json())["code"] == "too_many"


def test_what_a_follower_gets_is_written_in_bounded_pieces():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    event = Event(
        id=1,
        occurred_at=now,
        recorded_at=now,
        kind="x",
        severity="info",
        message="m" * 100_000,
        facts={},
    )
    found = list(pieces([NamedEvent(event, None)] * 5))
    assert all(len(piece) <= PIECE_BYTES for piece in found)
    assert b"".join(found).count(b"\n") == 5
    assert list(pieces([])) == []


@pytest.mark.parametrize(
    "moment", ["2026-01-01T00:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "1e30"]
)
async def test_a_time_without_zone_or_beyond_reason_is_refused(lab, moment):
    answer = await lab.rest.call("GET", f"/api/v1/certificates?expiring_before={moment}")
    assert answer.status == 422


async def test_a_time_of_expiry_with_its_zone_is_taken(lab):
    await lab.rest.get("/api/v1/certificates?expiring_before=2026-01-01T00:00:00Z")
