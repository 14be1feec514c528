"""Watches that fall silent or are refused, while the process looks alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.clock import ManualClock, advance_by_turns
from tests.support.federation import Federation
from tests.support.lifecycle import QUICK_DIALS

from fedagent.kube.kinds import CONFIGMAPS
from fedagent.kube.objects import patch
from fedagent.kube.timing import KubeTiming, WatchTiming
from fedagent.timing import AgentTiming
from fedcore.tasks import TaskTiming
from fedsim.faults import FaultName

QUICK = WatchTiming(window_s=0.6, grace_s=0.4, pulse_s=0.05)
PAUSE_S = 0.05
STEP_S = 1.0
"""Of the clock that judges the loops: one is late after thirty seconds, which takes 1.5 s."""
EVIL = "sni:\n  - fqdn: evil.example.com\n    tunnel_route: 10.0.0.1:443\n"


@pytest.fixture
async def fed(tmp_path: Path) -> AsyncIterator[Federation]:
    """A Ready exchange, watched in short windows."""
    timing = AgentTiming(
        kube=KubeTiming(watch=QUICK), link=QUICK_DIALS, tasks=TaskTiming(pulse_s=0.05)
    )
    async with Federation(tmp_path, sites=("hq",), heartbeat_s=1.0, timing=timing) as federation:
        await federation.apply(federation.intent(()))
        await federation.wait_ready()
        yield federation


async def named_loops(fed: Federation) -> set[str]:
    findings = (await fed.api.get("sites/hq"))["findings"]
    assert all(row["code"] == "LoopStalled" and row["hint"] for row in findings)
    return {row["object"].removeprefix("loop/") for row in findings}


@asynccontextmanager
async def hurried_loop_checks(fed: Federation) -> AsyncIterator[None]:
    """Let time pass faster for what judges the agent's loops, and for nothing else."""
    clock = ManualClock()
    fed.agent("hq").loop_health.clock = clock
    hurrying = asyncio.create_task(advance_by_turns(clock, step_s=STEP_S, pause_s=PAUSE_S))
    yield
    hurrying.cancel()
    await asyncio.gather(hurrying, return_exceptions=True)


async def test_watches_that_cannot_list_are_named_and_get_well(fed: Federation) -> None:
    faults = fed.place("hq").simulated.faults
    faults.set(FaultName.FORBIDDEN, "*/configmaps")

    async def is_named() -> bool:
        return await named_loops(fed) == {"watch.configmaps.fate-exchange"}

    async with hurried_loop_checks(fed):
        await fed.until(is_named, "the watch, and no other loop, is a finding of its site")
    faults.clear(FaultName.FORBIDDEN)

    async def is_well() -> bool:
        return not await named_loops(fed)

    await fed.until(is_well, "the finding goes away")
    assert await fed.events(kind="site.loop_recovered")


@pytest.mark.parametrize("fault", ["watch-silent", "watch-gone=1000", "watch-cut=0.2"])
async def test_a_change_is_seen_though_the_watches_fail(fed: Federation, fault: str) -> None:
    name, _, argument = fault.partition("=")
    place = fed.place("hq")
    place.simulated.faults.set(name, argument)
    await asyncio.sleep(QUICK.silent_s + 0.2)  # watches begun before the order have ended
    change = {"data": {"sni.yaml": EVIL}}
    await patch(place.kube, CONFIGMAPS, "traffic-server-sni", change, namespace="fate-exchange")

    async def is_seen() -> bool:
        return "drift.found" in {event["kind"] for event in await fed.events()}

    await fed.until(is_seen, "the hand-edited table is noticed")

    async def is_right() -> bool:
        data = await fed.config_map("hq", "fate-exchange", "traffic-server-sni")
        return "sentinel." in data["sni.yaml"]

    await fed.until(is_right, "the table is put right")
    assert await named_loops(fed) == set()


async def test_a_compacted_history_is_listed_anew(fed: Federation) -> None:
    place = fed.place("hq")
    place.simulated.store.compact()
    change = {"data": {"sni.yaml": EVIL}}
    await patch(place.kube, CONFIGMAPS, "traffic-server-sni", change, namespace="fate-exchange")

    async def is_seen() -> bool:
        return "drift.found" in {event["kind"] for event in await fed.events()}

    await fed.until(is_seen, "the hand-edited table is noticed")
    await fed.wait_ready()
