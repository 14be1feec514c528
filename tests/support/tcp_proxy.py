"""A TCP proxy that ill-treats the connections through it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self

_CHUNK = 64 * 1024


class Cutter:
    """Forwards a port of its own to a port of this machine, as long as it is not told otherwise.

    `cut` breaks every connection and refuses new ones; `freeze` keeps connections open and
    forwards nothing, and accepts new ones as dead (half-open); `heal` ends both. `delay_s` holds
    everything back, `double` opens a second connection to the target for each, which gets the same
    bytes and whose answers go nowhere.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.delay_s = 0.0
        self.double = False
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._refuses = False
        self.on_bytes: Callable[[bytes], None] | None = None

    async def __aenter__(self) -> Self:
        self._flows.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def cut(self) -> None:
        """Break every connection (reset) and refuse new ones."""
        self._refuses = True
        self.drop()

    def drop(self) -> None:
        """Break every connection (reset); new ones are welcome."""
        for writer in tuple(self._writers):
            if writer.transport is not None:
                writer.transport.abort()

    def freeze(self) -> None:
        """Forward nothing more, in either direction, on old and new connections alike."""
        self._flows.clear()

    def heal(self) -> None:
        """Be an honest proxy again. Connections that were frozen go on."""
        self._refuses = False
        self._flows.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if not self._refuses:
                self.accepted += 1
                await self._join(reader, writer)
        except (ConnectionError, OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._end(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flows.wait()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers.add(far_writer)
        shadow = None
        if self.double:
            shadow_reader, shadow = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(shadow)
            self._start(self._swallow(shadow_reader))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer, shadow))
                group.create_task(self._pump(far_reader, writer, None))
        except* (ConnectionError, OSError):
            pass
        finally:
            for one in (far_writer, shadow):
                if one is not None:
                    self._end(one)

    def _start(self, work: object) -> None:
        assert asyncio.iscoroutine(work)
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError, OSError):
            while await reader.read(_CHUNK):
                pass

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        shadow: asyncio.StreamWriter | None,
    ) -> None:
        while data := await reader.read(_CHUNK):
            await self._flows.wait()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.on_bytes is not None:
                self.on_bytes(data)
            writer.write(data)
            await writer.drain()
            if shadow is not None and not shadow.is_closing():
                shadow.write(data)
        raise ConnectionResetError

    def _end(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        if writer.transport is not None:
            writer.transport.abort()
