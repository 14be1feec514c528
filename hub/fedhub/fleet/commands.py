"""Commands that an agent was sent, and that wait for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from fedcore.errors import FedError
from fedproto.agent.v1 import command_pb2


class PendingCommands:
    """The commands of one session: only the session that got a command can answer it."""

    def __init__(self) -> None:
        self._results: dict[str, asyncio.Future[command_pb2.CommandResult]] = {}

    @contextmanager
    def expect(self, command_id: str) -> Iterator[asyncio.Future[command_pb2.CommandResult]]:
        """Expect an answer while in the block."""
        result: asyncio.Future[command_pb2.CommandResult] = (
            asyncio.get_running_loop().create_future()
        )
        self._results[command_id] = result
        try:
            yield result
        finally:
            self._results.pop(command_id, None)

    def complete(self, result: command_pb2.CommandResult) -> None:
        """Hand an answer to whoever expects it; one that nobody expects is dropped."""
        expected = self._results.get(result.command_id)
        if expected is not None and not expected.done():
            expected.set_result(result)

    def fail(self, error: FedError) -> None:
        """Fail every expected answer: the session ended."""
        for expected in self._results.values():
            if not expected.done():
                expected.set_exception(error)
