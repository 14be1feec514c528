"""Bodies of strangers, read whole and within a limit."""

from __future__ import annotations

from collections.abc import AsyncIterable


class StreamTooLong(Exception):
    """A stream has more bytes than its reader takes."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"it is larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


async def read_limited(chunks: AsyncIterable[bytes], limit_bytes: int) -> bytes:
    """Read a stream to its end; raise StreamTooLong as soon as it exceeds ``limit_bytes``.

    The stream is left where it is then: its owner closes it.
    """
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) > limit_bytes:
            raise StreamTooLong(limit_bytes)
    return bytes(content)
