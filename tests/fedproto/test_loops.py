"""Proof of life: what a loop says while it works, rests, waits and fails."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from fedproto import tasks
from fedproto.tasks import LoopBoard, abide, rest, run_periodically


class Clock:
    at = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> LoopBoard:
    monkeypatch.setattr(tasks, "PULSE_S", 0.01)
    return LoopBoard(Clock())


async def beats(board: LoopBoard, name: str) -> None:
    """Wait until a loop has said again that it is well."""
    board.records.pop(name, None)
    async with asyncio.timeout(2):
        while name not in board.records:
            await asyncio.sleep(0.001)


async def test_a_loop_that_rests_for_long_says_meanwhile_that_it_is_well(board):
    wake = asyncio.Event()
    resting = asyncio.create_task(rest("x", 3600.0, board=board, wake=wake))
    await beats(board, "x")
    await beats(board, "x")
    wake.set()
    assert await resting is True
    assert not wake.is_set()
    assert await rest("x", 0.02, board=board, wake=wake) is False


async def test_what_is_awaited_without_a_limit_beats_meanwhile_and_its_end_comes_through(board):
    answer = asyncio.get_running_loop().create_future()

    async def far() -> str:
        return await answer

    waiting = asyncio.create_task(abide("x", far(), board=board))
    await beats(board, "x")
    await beats(board, "x")
    answer.set_exception(ConnectionError("over"))
    with pytest.raises(ConnectionError, match="over"):
        await waiting


async def test_cancelling_a_loop_ends_what_it_awaits(board):
    ended = asyncio.Event()

    async def far() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(abide("x", far(), board=board))
    await beats(board, "x")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_a_turn_that_hangs_or_fails_is_no_sign_of_life_and_is_tried_again_soon(board):
    turns = 0
    go = asyncio.Event()

    async def work() -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            await go.wait()
            raise RuntimeError("once")

    loop = asyncio.create_task(run_periodically("x", work, interval_s=3600.0, board=board))
    async with asyncio.timeout(2):
        while not turns:
            await asyncio.sleep(0.001)
    board.clock.at += timedelta(seconds=31)
    assert [record.name for record in board.stalled()] == ["x"]
    go.set()
    async with asyncio.timeout(2):
        while turns < 2 or board.stalled():
            await asyncio.sleep(0.001)
    loop.cancel()
