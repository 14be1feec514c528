"""Proof of life: what a loop says while it works, rests, waits and fails."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.patience import until

from fedcore.tasks import (
    LoopHealth,
    TaskTiming,
    await_with_heartbeat,
    run_periodically,
    sleep_with_heartbeat,
)


class Clock:
    at = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


@pytest.fixture
def loop_health() -> LoopHealth:
    return LoopHealth(Clock(), TaskTiming(pulse_s=0.01))


async def beats(loop_health: LoopHealth, name: str) -> None:
    """Wait until a loop has said again that it is well."""
    loop_health.records.pop(name, None)
    await until(lambda: name in loop_health.records)


async def test_a_loop_that_rests_for_long_says_meanwhile_that_it_is_well(loop_health):
    wake = asyncio.Event()
    resting = asyncio.create_task(
        sleep_with_heartbeat("x", 3600.0, loop_health=loop_health, wake=wake)
    )
    await beats(loop_health, "x")
    await beats(loop_health, "x")
    wake.set()
    assert await resting is True
    assert not wake.is_set()
    assert await sleep_with_heartbeat("x", 0.02, loop_health=loop_health, wake=wake) is False


async def test_what_is_awaited_without_a_limit_beats_meanwhile_and_its_end_comes_through(
    loop_health,
):
    answer = asyncio.get_running_loop().create_future()

    async def far() -> str:
        return await answer

    waiting = asyncio.create_task(await_with_heartbeat("x", far(), loop_health=loop_health))
    await beats(loop_health, "x")
    await beats(loop_health, "x")
    answer.set_exception(ConnectionError("over"))
    with pytest.raises(ConnectionError, match="over"):
        await waiting


async def test_cancelling_a_loop_ends_what_it_awaits(loop_health):
    ended = asyncio.Event()

    async def far() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(await_with_heartbeat("x", far(), loop_health=loop_health))
    await beats(loop_health, "x")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_a_turn_that_hangs_or_fails_is_no_sign_of_life_and_is_tried_again_soon(loop_health):
    turns = 0
    go = asyncio.Event()

    async def work() -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            await go.wait()
            raise RuntimeError("once")

    loop = asyncio.create_task(
        run_periodically("x", work, interval_s=3600.0, loop_health=loop_health)
    )
    await until(lambda: turns)
    loop_health.clock.at += timedelta(seconds=31)
    assert [record.name for record in loop_health.stalled()] == ["x"]
    go.set()
    await until(lambda: turns >= 2 and not loop_health.stalled())
    loop.cancel()
