from __future__ import annotations

import hashlib
from typing import Any

import pytest

from fedagent.kubefate.charts import (
    BadArchive,
    ChartMemory,
    check_archive,
    ensure_chart,
    find_chart,
)
from fedagent.kubefate.client import KubeFate

ARCHIVE = b"\x1f\x8b" + b"chart"
HUGE = b"\x1f\x8b" + b"x" * 11_000_000
DIGEST = hashlib.sha256(ARCHIVE).hexdigest()


async def ensure(client: KubeFate, memory: ChartMemory, fetched: list[int]) -> str:
    async def fetch() -> bytes:
        fetched.append(1)
        return ARCHIVE

    stored = await ensure_chart(
        client, memory, name="fate", version="v1.8.0", sha256=DIGEST, fetch=fetch
    )
    return stored.uuid


async def test_a_chart_is_uploaded_once_for_one_digest(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    fake.answer("POST /v1/chart", fake_reply({"data": {"helmUUID": "u1"}}))
    fake.answer("GET /v1/chart/u1", fake_reply({"data": {"uuid": "u1"}}))
    memory, fetched = ChartMemory(), []
    assert await ensure(client, memory, fetched) == "u1"
    assert await ensure(client, memory, fetched) == "u1"
    assert (len(fetched), fake.count("POST /v1/chart")) == (1, 1)
    assert fake.count("GET /v1/chart/") == 0


async def test_a_chart_that_the_service_lost_is_uploaded_again(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    fake.answer("POST /v1/chart", *(fake_reply({"data": {"helmUUID": u}}) for u in ("u1", "u2")))
    fake.answer("GET /v1/chart/u1", fake_reply({"error": "record not found"}, 500))
    memory, fetched = ChartMemory(), []
    await ensure(client, memory, fetched)
    assert await ensure(client, memory, fetched) == "u2"


async def test_the_newest_of_several_uploads_is_found(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    rows = [{"uuid": u, "name": "fate", "version": "v1.8.0"} for u in ("a", "b")]
    fake.answer("GET /v1/chart/", fake_reply({"data": rows}))
    row = await find_chart(client, "fate", "v1.8.0")
    assert row is not None
    assert row.uuid == "b"
    assert await find_chart(client, "fate", "v1.8.1") is None


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (b"PK\x03\x04", "no gzip"),
        (b"\x1f\x8bother", "digest"),
        (HUGE, "exceeds"),
    ],
)
def test_an_archive_that_is_not_the_pinned_one_is_refused(archive: bytes, words: str) -> None:
    with pytest.raises(BadArchive, match=words):
        check_archive(archive, DIGEST)
