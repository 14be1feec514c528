from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from tests.support.patience import time_limit

from fedagent.kube import errors, objects
from fedagent.kube.client import Kube
from fedagent.kube.kinds import CONFIGMAPS
from fedagent.kube.lists import read_list
from fedagent.kube.timing import WatchTiming
from fedagent.kube.watches import EventType, Informer, watch_once
from fedcore.clock import SystemClock
from fedcore.tasks import LoopHealth

pytestmark = pytest.mark.asyncio(loop_scope="session")


def config(name: str, app: str = "a", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"app": app}}, "data": data}


@asynccontextmanager
async def informer(
    kube: Kube, namespace: str, timing: WatchTiming | None = None
) -> AsyncIterator[Informer]:
    made = Informer(
        kube,
        CONFIGMAPS,
        namespace=namespace,
        labels={"app": "a"},
        loop_health=LoopHealth(SystemClock()),
        timing=timing or WatchTiming(),
    )
    task = asyncio.create_task(made.run())
    async with time_limit():
        await made.synced.wait()
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def becomes(made: Informer, accept: Callable[[dict[str, Any]], bool]) -> None:
    async with time_limit():
        while not accept({i["metadata"]["name"]: i.get("data") for i in made.items()}):
            await made.changed.wait()
            made.changed.clear()


async def test_an_informer_follows_what_happens(kube: Kube, namespace: str) -> None:
    await objects.create(kube, CONFIGMAPS, config("c1", v="1"), namespace=namespace)
    async with informer(kube, namespace) as made:
        await becomes(made, lambda found: found == {"c1": {"v": "1"}})
        await objects.create(kube, CONFIGMAPS, config("c2", v="1"), namespace=namespace)
        await objects.patch(kube, CONFIGMAPS, "c1", {"data": {"v": "2"}}, namespace=namespace)
        await becomes(made, lambda found: found == {"c1": {"v": "2"}, "c2": {"v": "1"}})
        await objects.delete(kube, CONFIGMAPS, "c1", namespace=namespace)
        await becomes(made, lambda found: set(found) == {"c2"})


async def test_what_no_longer_bears_the_labels_is_gone_from_the_copy(
    kube: Kube, namespace: str
) -> None:
    await objects.create(kube, CONFIGMAPS, config("c1"), namespace=namespace)
    async with informer(kube, namespace) as made:
        await becomes(made, lambda found: set(found) == {"c1"})
        change = {"metadata": {"labels": {"app": "b"}}}
        await objects.patch(kube, CONFIGMAPS, "c1", change, namespace=namespace)
        await becomes(made, lambda found: not found)


async def test_an_informer_misses_nothing_between_two_watches(kube: Kube, namespace: str) -> None:
    async with informer(kube, namespace, WatchTiming(window_s=1.0, grace_s=5.0)) as made:
        for number in range(12):
            body = config(f"c{number}")
            await objects.create(kube, CONFIGMAPS, body, namespace=namespace)
            await asyncio.sleep(0.1)
        await becomes(made, lambda found: len(found) == 12)


async def test_the_server_ends_a_watch_in_time(kube: Kube, namespace: str) -> None:
    _items, version = await read_list(kube, CONFIGMAPS, namespace, {})
    timing = WatchTiming(window_s=1.0, grace_s=5.0)
    async with time_limit():
        seen = [
            event.type
            async for event in watch_once(kube, CONFIGMAPS, namespace, {}, version, timing=timing)
        ]
    assert set(seen) <= {EventType.BOOKMARK}


async def test_a_watch_from_before_the_servers_memory_is_gone(
    kube: Kube, namespace: str, cluster: Any
) -> None:
    await objects.create(kube, CONFIGMAPS, config("c1"), namespace=namespace)
    _items, version = await read_list(kube, CONFIGMAPS, namespace, {})
    await objects.create(kube, CONFIGMAPS, config("c2"), namespace=namespace)
    await cluster.forget_history()

    async def drain() -> None:
        async with aclosing(watch_once(kube, CONFIGMAPS, namespace, {}, version)) as events:
            async for _event in events:
                pass

    async with time_limit():
        with pytest.raises(errors.Gone):
            await drain()


async def test_an_informer_outlives_a_server_that_forgets(
    kube: Kube, namespace: str, cluster: Any
) -> None:
    async with informer(kube, namespace, WatchTiming(window_s=1.0, grace_s=5.0)) as made:
        await objects.create(kube, CONFIGMAPS, config("c1"), namespace=namespace)
        await becomes(made, lambda found: set(found) == {"c1"})
        await cluster.forget_history()
        await objects.create(kube, CONFIGMAPS, config("c2"), namespace=namespace)
        await becomes(made, lambda found: set(found) == {"c1", "c2"})


async def test_an_informer_outlives_a_server_that_falls_silent(
    kube: Kube, namespace: str, cluster: Any
) -> None:
    async with informer(kube, namespace, WatchTiming(window_s=1.0, grace_s=0.5)) as made:
        await objects.create(kube, CONFIGMAPS, config("c1"), namespace=namespace)
        await becomes(made, lambda found: set(found) == {"c1"})
        with cluster.silent():
            await asyncio.sleep(2.0)
        await objects.create(kube, CONFIGMAPS, config("c2"), namespace=namespace)
        await becomes(made, lambda found: set(found) == {"c1", "c2"})
