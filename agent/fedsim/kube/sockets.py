"""Accepted sockets as streams, and a look at their first bytes without taking them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

_PEEK_BYTES = 16 * 1024
_PEEK_PAUSE_S = 0.005

Parsed = TypeVar("Parsed")


async def accept_stream(
    client: socket.socket, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Wrap an accepted socket, as the server's side of TLS if a context is given."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=context)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def peek(client: socket.socket, parse: Callable[[bytes], Parsed | None]) -> Parsed:
    """Look at what has come until ``parse`` makes something of it; the caller limits the time.

    Raises `ConnectionError` when the peer closes first.
    """
    while True:
        await _readable(client)
        data = client.recv(_PEEK_BYTES, socket.MSG_PEEK)
        if not data:
            raise ConnectionResetError("closed before it sent anything")
        parsed = parse(data)
        if parsed is not None:
            return parsed
        await asyncio.sleep(_PEEK_PAUSE_S)


async def _readable(client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(client, wake)
    try:
        await ready
    finally:
        loop.remove_reader(client)
