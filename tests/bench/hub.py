"""What the hub costs and how quick it is."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tests.bench.marks import Missing
from tests.support.hub import federation, party
from tests.support.hubprocess import HubProcess
from tests.support.restclient import Place, Rest, rest_of

__all__ = ["Missing", "measure"]
AGENTS: Final = 1_000
STEADY_S: Final = 30.0
INTENTS: Final = 100
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def core_percent(pid: int, seconds: float) -> float:
    """Share of one core that a process uses over some time."""
    before, started = cpu_s(pid), time.monotonic()
    await asyncio.sleep(seconds)
    return 100 * (cpu_s(pid) - before) / (time.monotonic() - started)


@dataclass(slots=True)
class SwarmProcess:
    """The agents, in a process of their own."""

    child: asyncio.subprocess.Process
    enrolled: int = 0
    connected: int = 0
    documents: dict[tuple[str, int], float] = field(default_factory=dict)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def listen(self) -> None:
        """Take in what the swarm says."""
        assert self.child.stdout is not None
        async for line in self.child.stdout:
            said = json.loads(line)
            async with self.news:
                self.enrolled = said.get("enrolled", self.enrolled)
                self.connected = said.get("connected", self.connected)
                if "document" in said:
                    self.documents[said["document"], said["generation"]] = said["at"]
                self.news.notify_all()

    async def until(self, is_so: Any, limit_s: float) -> None:
        """Wait until the swarm said what is wanted."""
        async with asyncio.timeout(limit_s), self.news:
            while not is_so():
                await self.news.wait()


@asynccontextmanager
async def swarm_of(
    place: Place, folder: Path, invited: list[list[str]]
) -> AsyncIterator[SwarmProcess]:
    """Run the swarm."""
    told = {
        "url": place.url,
        "enrol_address": place.enrol_address,
        "link_address": place.link_address,
        "ca_pem": place.ca_pem.decode(),
        "token": "",
    }
    path = folder / "place.json"
    await asyncio.to_thread(path.write_text, json.dumps(told))
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.swarm",
        str(path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=16 * 1024 * 1024,
    )
    swarm = SwarmProcess(child)
    listener = asyncio.create_task(swarm.listen())
    try:
        assert child.stdin is not None
        child.stdin.write(json.dumps(invited).encode() + b"\n")
        await child.stdin.drain()
        yield swarm
    finally:
        child.kill()
        await child.wait()
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


def quantile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of ``values`` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def intent_figures(rest: Rest, swarm: SwarmProcess, names: list[str]) -> dict[str, float]:
    """From an intent's operation to its document at the agent, with everybody connected."""
    delays = []
    for number, name in enumerate(names[:INTENTS]):
        intent = federation(
            [], name=f"f-{number}", exchange={"site": name, "namespace": f"f-{number}"}
        )
        applied = await rest.apply(intent)
        began = datetime_s(applied["operation"]["created_at"])
        wanted = [change["resource_id"] for change in applied["changes"]]
        await swarm.until(lambda w=wanted: all((one, 1) in swarm.documents for one in w), 10)
        delays += [1000 * (swarm.documents[one, 1] - began) for one in wanted]
    return {
        "intent_to_agent_p50_ms": quantile(delays, 0.5),
        "intent_to_agent_p99_ms": quantile(delays, 0.99),
    }


def datetime_s(text: str) -> float:
    """Read an RFC 3339 time as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


async def list_figures(rest: Rest) -> dict[str, float]:
    """How long lists of participants take, whole and by the page; medians of 15."""
    figures = {}
    for name, query in (("list_1000_ms", "limit=1000"), ("page_100_ms", "limit=100")):
        taken = []
        for _ in range(15):
            started = time.monotonic()
            await rest.get(f"/api/v1/participants?federation=big&{query}")
            taken.append(1000 * (time.monotonic() - started))
        figures[name] = statistics.median(taken)
    return figures


async def invite_all(rest: Rest) -> list[list[str]]:
    """Invite every site; returns [name, token] of each."""
    gate = asyncio.Semaphore(16)

    async def one(number: int) -> list[str]:
        async with gate:
            answer = await rest.invite(f"site-{number:04d}")
        return [f"site-{number:04d}", answer["token"]]

    return await asyncio.gather(*(one(number) for number in range(AGENTS)))


async def storm_figures(hub: HubProcess, rest: Rest, swarm: SwarmProcess) -> dict[str, float]:
    """Kill the hub under everybody and start it again."""
    hub.kill()
    await swarm.until(lambda: swarm.connected < AGENTS / 2, 60)
    started = time.monotonic()
    await hub.start()
    up = time.monotonic()
    await swarm.until(lambda: swarm.connected == AGENTS, 120)
    offline = await rest.kinds("&kind=site.offline")
    return {
        "storm_1000_back_s": time.monotonic() - up,
        "hub_start_s": up - started,
        "storm_1000_false_offline": float(len(offline)),
    }


async def measure(folder: Path) -> dict[str, float]:
    """Measure everything on one hub process (SQLite) with 1,000 agents in another."""
    hub = HubProcess.at(folder)
    place = await hub.start()
    try:
        async with rest_of(place) as rest:
            return await _measure(hub, rest, folder)
    finally:
        hub.kill()


async def _measure(hub: HubProcess, rest: Rest, folder: Path) -> dict[str, float]:
    assert hub.process.child is not None
    pid = hub.process.child.pid
    await asyncio.sleep(2)
    figures = {"rss_hub_mb": rss_mb(pid)}
    started = time.monotonic()
    invited = await invite_all(rest)
    async with swarm_of(rest.place, folder, invited) as swarm:
        await swarm.until(lambda: swarm.connected == AGENTS, 600)
        figures["enrol_1000_s"] = time.monotonic() - started
        await asyncio.sleep(5)
        figures["agents_1000_core_percent"] = await core_percent(pid, STEADY_S)
        figures["agents_1000_rss_mb"] = rss_mb(pid)
        names = [name for name, _ in invited]
        figures |= await intent_figures(rest, swarm, names)
        parties = [party(n + 1, site) for n, site in enumerate(names[1:])]
        big = federation(parties, name="big", exchange={"site": names[0]})
        started = time.monotonic()
        await rest.apply(big)
        figures["apply_1000_s"] = time.monotonic() - started
        figures |= await list_figures(rest)
        figures |= await storm_figures(hub, rest, swarm)
    return figures
