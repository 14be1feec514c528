"""Histories that are gone and watches that say nothing, on the real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import structlog
from tests.kube.silent_server import Mute
from tests.support.controlplane import ControlPlane, Planes, running_control_plane
from tests.support.federation import Federation
from tests.support.kubeapi import KubeApi, kubeconfig
from tests.support.kubetier import RealPlace, Service, real_place
from tests.support.lifecycle import QUICK_DIALS
from tests.support.patience import time_limit

from fedagent.kube import errors, objects
from fedagent.kube.client import Kube, connect
from fedagent.kube.kinds import CONFIGMAPS
from fedagent.kube.lists import read_list
from fedagent.kube.timing import KubeTiming, WatchTiming
from fedagent.kube.watches import Informer, watch_once
from fedagent.timing import AgentTiming
from fedcore.clock import SystemClock
from fedcore.tasks import LoopHealth

pytestmark = [
    pytest.mark.kube,
    pytest.mark.asyncio(loop_scope="module"),
]

SPACE = "default"
WATCHED = "watched"
EVIL = "sni:\n  - fqdn: evil.example.com\n    tunnel_route: 10.0.0.1:443\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forgetful() -> AsyncIterator[ControlPlane]:
    """An API server that remembers no more than etcd: compaction alone makes a version too old.

    With its cache a server answers from that, for a while.
    """
    async with running_control_plane(api_only=True, watch_cache=False) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kube(forgetful: ControlPlane) -> AsyncIterator[Kube]:
    async with connect(forgetful.kubeconfig) as opened:
        yield opened


async def create(kube: Kube, *names: str) -> None:
    for name in names:
        body = {"metadata": {"name": name, "labels": {"test": name.partition("-")[0]}}}
        await objects.create(kube, CONFIGMAPS, body, namespace=SPACE)


async def test_a_watch_from_before_a_compaction_is_gone(forgetful: ControlPlane, kube: Kube):
    _items, version = await read_list(kube, CONFIGMAPS, SPACE, {})
    await create(kube, "gone-1", "gone-2")
    await forgetful.compact()

    async with time_limit():
        with pytest.raises(errors.Gone):
            async with aclosing(watch_once(kube, CONFIGMAPS, SPACE, {}, version)) as events:
                async for _event in events:
                    pass


async def test_a_list_whose_pages_outlive_the_history_is_begun_again(
    forgetful: ControlPlane, kube: Kube, monkeypatch: pytest.MonkeyPatch
):
    await create(kube, "page-1", "page-2", "page-3")
    asked: list[bool] = []
    request = kube.request

    async def compact_after_the_first(method: str, path: str, **more: Any) -> Any:
        if method != "GET":
            return await request(method, path, **more)
        asked.append("continue" in more["query"])
        answer = await request(method, path, **more)
        if len(asked) == 1:
            await create(kube, "page-4")
            await forgetful.compact()
        return answer

    monkeypatch.setattr(kube, "request", compact_after_the_first)
    items, _version = await read_list(
        kube, CONFIGMAPS, SPACE, {"labelSelector": "test=page"}, page_size=1
    )

    assert [item["metadata"]["name"] for item in items] == [f"page-{n}" for n in range(1, 5)]
    # The second page is refused, and all four are asked for anew.
    assert asked == [False, True, False, True, True, True]


async def test_an_informer_whose_version_was_compacted_lists_anew(
    forgetful: ControlPlane, kube: Kube
):
    made = Informer(
        kube,
        CONFIGMAPS,
        namespace=SPACE,
        labels={"test": "seen"},
        loop_health=LoopHealth(SystemClock()),
        timing=WatchTiming(window_s=2.0, grace_s=3.0),
    )
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(made.run())
        try:
            async with time_limit():
                await made.synced.wait()
                while not any("too old" in row.get("error", "") for row in logs):
                    # Heard of in this window, and too old for the next.
                    await create(kube, f"seen-{len(made.items())}")
                    await follows(made, kube)
                    await create(kube, *(f"other-{len(made.items())}-{n}" for n in range(3)))
                    await forgetful.compact()
                    await asyncio.sleep(2.0)
                await create(kube, "seen-last")
                await follows(made, kube)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def follows(made: Informer, kube: Kube) -> None:
    """Wait until the informer's copy is what the server holds."""
    query = {"labelSelector": "test=seen"}
    there = {
        item["metadata"]["name"] for item in (await read_list(kube, CONFIGMAPS, SPACE, query))[0]
    }
    while {item["metadata"]["name"] for item in made.items()} != there:
        await made.changed.wait()
        made.changed.clear()


@pytest_asyncio.fixture(loop_scope="module")
async def muted(planes: Planes, tmp_path: Path) -> AsyncIterator[tuple[Federation, Mute]]:
    """A Ready exchange whose agent speaks to its cluster through a proxy, in short watches."""
    watch = WatchTiming(window_s=1.0, grace_s=1.0)
    timing = AgentTiming(kube=KubeTiming(request_limit_s=4.0, watch=watch), link=QUICK_DIALS)
    plane = await planes.get(3)
    port = urlsplit(plane.url).port
    assert port is not None
    async with Mute(port) as proxy:
        config = tmp_path / "muted.kubeconfig"
        config.touch(mode=0o600)
        there = KubeApi(f"https://127.0.0.1:{proxy.port}", plane.token, plane.api.ca)
        config.write_text(kubeconfig(there))

        @asynccontextmanager
        async def opener(name: str, folder: Path) -> AsyncIterator[RealPlace]:
            async with real_place(name, folder, plane, Service.BY_URL) as place:
                place.agent_kubeconfig = config
                await place.allow_exec(WATCHED)
                yield place

        opened = Federation(tmp_path, sites=("hq",), open_place=opener, timing=timing)
        async with opened as federation:
            exchange = {"site": "hq", "namespace": WATCHED}
            await federation.apply(federation.intent((), exchange=exchange))
            await federation.wait_ready()
            yield federation, proxy
            await federation.remove()
            await federation.wait_gone()


async def test_a_change_is_seen_though_the_agents_connections_have_fallen_silent(
    muted: tuple[Federation, Mute],
):
    federation, proxy = muted
    there = federation.places["hq"]
    assert isinstance(there, RealPlace)
    right = await there.text(WATCHED, "traffic-server-sni", "sni.yaml")
    assert proxy.hush() >= 5

    config = f"/api/v1/namespaces/{WATCHED}/configmaps/traffic-server-sni"
    await there.plane.api.patch(config, {"data": {"sni.yaml": EVIL}})

    async def is_seen() -> bool:
        return "drift.found" in {event["kind"] for event in await federation.events()}

    await federation.until(is_seen, "the hand-edited table is noticed")
    await there.plane.api.wait(config, lambda body: body["data"]["sni.yaml"] == right)
    await federation.wait_ready()
    assert (await federation.api.get("sites/hq"))["findings"] == []
