from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fedcore.byte_stream import StreamTooLong, read_limited


async def test_a_stream_is_read_whole_up_to_its_limit():
    async def chunks() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"c"

    assert await read_limited(chunks(), 3) == b"abc"


async def test_a_stream_beyond_its_limit_is_not_read_on():
    chunk_count = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal chunk_count
        while True:
            chunk_count += 1
            yield b"x" * 10

    with pytest.raises(StreamTooLong, match="larger than 25 bytes"):
        await read_limited(endless(), 25)
    assert chunk_count == 3
