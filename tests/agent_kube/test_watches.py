from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.patience import until

from fedagent.kube.client import Kube
from fedagent.kube.kinds import CONFIGMAPS
from fedagent.kube.timing import WatchTiming
from fedagent.kube.watches import Informer
from fedcore.backoff import Backoff
from fedcore.tasks import LoopHealth

RNG = random.Random(0)


@pytest.fixture
def loop_health(clock: Any) -> LoopHealth:
    return LoopHealth(clock)


QUICK = WatchTiming(backoff=Backoff(base_s=0.001, cap_s=0.01))


@asynccontextmanager
async def informer(
    kube: Kube, loop_health: LoopHealth, timing: WatchTiming = QUICK
) -> AsyncIterator[Informer]:
    made = Informer(
        kube, CONFIGMAPS, namespace="ns", loop_health=loop_health, rng=RNG, timing=timing
    )
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def becomes(made: Informer, accept: Callable[[set[str]], bool]) -> None:
    await until(lambda: accept(names(made)))


def names(made: Informer) -> set[str]:
    return {item["metadata"]["name"] for item in made.items()}


async def test_the_copy_follows_what_is_added_changed_and_deleted(
    kube: Kube, api: Any, answers: Any, loop_health: LoopHealth
) -> None:
    events = [("ADDED", "b", "2"), ("DELETED", "a", "3"), ("BOOKMARK", "", "9")]
    api.answer(answers.items("a"), answers.watch(*events, end="silent"))
    async with informer(kube, loop_health) as made:
        await becomes(made, lambda found: found == {"b"})
        assert made.synced.is_set()
        assert made.changed.is_set()
        assert made.get("b") is not None
        assert made.get("a") is None


async def test_a_watch_goes_on_from_the_last_version_it_heard_of(
    kube: Kube, api: Any, answers: Any, loop_health: LoopHealth
) -> None:
    api.answer(
        answers.items("a", version="5"),
        answers.watch(("ADDED", "b", "6"), ("BOOKMARK", "", "8")),
        answers.watch(("ADDED", "c", "9"), end="silent"),
    )
    async with informer(kube, loop_health) as made:
        await becomes(made, lambda found: found == {"a", "b", "c"})
    assert [request.query["resourceVersion"] for request in api.watches()] == ["5", "8"]


async def test_an_expired_version_makes_a_new_list(
    kube: Kube, api: Any, answers: Any, loop_health: LoopHealth
) -> None:
    api.answer(
        answers.items("a"),
        answers.failure(410, "Expired"),
        answers.items("b", version="7"),
        answers.watch(end="silent"),
    )
    async with informer(kube, loop_health) as made:
        await becomes(made, lambda found: found == {"b"})


async def test_an_error_event_of_410_makes_a_new_list(
    kube: Kube, api: Any, answers: Any, loop_health: LoopHealth
) -> None:
    error = '{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}'

    async def expired(request: Any) -> Any:
        response = await answers.watch()(request)
        await response.write(error.encode() + b"\n")
        return response

    api.answer(answers.items("a"), expired, answers.items("b"), answers.watch(end="silent"))
    async with informer(kube, loop_health) as made:
        await becomes(made, lambda found: found == {"b"})


async def test_a_silent_watch_is_cut_and_everything_is_listed_again(
    kube: Kube, api: Any, answers: Any, loop_health: LoopHealth
) -> None:
    api.answer(
        answers.items("a"),
        answers.watch(end="silent"),
        answers.items("b", version="7"),
        answers.watch(end="silent"),
    )
    async with informer(
        kube, loop_health, WatchTiming(window_s=0.05, grace_s=0.05, backoff=QUICK.backoff)
    ) as made:
        await becomes(made, lambda found: found == {"b"})


async def test_after_a_watch_that_ended_without_a_word_everything_is_listed_again(
    kube: Kube, api: Any, answers: Any, loop_health: LoopHealth
) -> None:
    async def deaf(request: Any) -> Any:
        await asyncio.sleep(0.06)
        return await answers.watch()(request)

    api.answer(
        answers.items("a"), deaf, answers.items("b", version="7"), answers.watch(end="silent")
    )
    async with informer(
        kube, loop_health, WatchTiming(window_s=0.1, grace_s=5.0, backoff=QUICK.backoff)
    ) as made:
        await becomes(made, lambda found: found == {"b"})


async def test_a_cut_connection_and_a_failing_server_are_waited_out(
    kube: Kube, api: Any, answers: Any, loop_health: LoopHealth
) -> None:
    api.answer(
        answers.items("a"),
        answers.watch(("ADDED", "b", "2"), end="cut"),
        answers.failure(500, "InternalError"),
        answers.failure(503, "Unavailable"),
        answers.items("c"),
        answers.watch(end="silent"),
    )
    async with informer(kube, loop_health) as made:
        await becomes(made, lambda found: found == {"c"})


async def test_the_board_shows_a_loop_whose_server_is_gone(
    kube: Kube, api: Any, answers: Any, loop_health: LoopHealth, clock: Any
) -> None:
    api.answer(answers.items("a"), answers.failure(500, "InternalError"))
    async with informer(kube, loop_health) as made:
        await becomes(made, lambda found: found == {"a"})
        assert loop_health.stalled() == []
        clock.seconds = 61
        assert [record.name for record in loop_health.stalled()] == ["watch.configmaps.ns"]
        made.stop()
        assert loop_health.stalled() == []


async def test_each_sign_of_life_reaches_the_board(
    kube: Kube, api: Any, answers: Any, loop_health: LoopHealth, clock: Any
) -> None:
    step = asyncio.Event()

    async def later(request: Any) -> Any:
        await step.wait()
        return await answers.watch(("BOOKMARK", "", "5"), end="silent")(request)

    api.answer(answers.items("a"), later)
    async with informer(kube, loop_health) as made:
        await becomes(made, lambda found: found == {"a"})
        clock.seconds = 61
        step.set()
        await until(lambda: not (loop_health.stalled()))


async def test_watches_that_fail_at_once_do_not_make_a_busy_loop(
    kube: Kube, api: Any, answers: Any, loop_health: LoopHealth, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []

    def wait(_backoff: Backoff, attempt: int, _rng: random.Random) -> float:
        attempts.append(attempt)
        return 0.0 if attempt < 3 else 60.0

    monkeypatch.setattr(Backoff, "jittered_s", wait)
    api.answer(*[answers.items("a"), answers.failure(410, "Expired")] * 4)
    async with informer(kube, loop_health):
        await until(lambda: len(attempts) >= 4)
    assert attempts == [0, 1, 2, 3]
