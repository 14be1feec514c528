"""A TCP proxy whose connections can fall silent: they stay open, and no answer arrives any more."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

_CHUNK = 64 * 1024


class Mute:
    """Forwards a port of its own to a port of this machine.

    `hush` is what a forgetful middlebox does: connections that are open now stay so and bring
    nothing more, new ones work.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._silent: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    def hush(self) -> int:
        """Silence the connections of this moment; return how many there are."""
        self._silent |= self._open
        return len(self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        far = None
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far))
                group.create_task(self._pump(far_reader, writer))
        except* OSError:
            pass
        finally:
            for each in (writer, far):
                if each is not None:
                    each.transport.abort()
            self._open.discard(writer)
            self._silent.discard(writer)
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                if writer not in self._silent:
                    writer.write(data)
                    await writer.drain()
        raise ConnectionResetError
