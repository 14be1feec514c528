"""Every loop of agent and hub proves that it lives; one that stops is named where people look.

Time runs faster for the judges of the loops, and for them alone: a minute takes two seconds.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.support.clock import ManualClock, advance_by_turns
from tests.support.federation import Federation
from tests.support.lifecycle import QUICK_DIALS

import fedagent
import fedhub
import fedproto
from fedagent.kube.timing import KubeTiming, WatchTiming
from fedagent.reconcile.timing import ReconcileTiming
from fedagent.timing import AgentTiming
from fedcore import limits
from fedcore.tasks import LoopHealth, TaskTiming, run_periodically
from fedhub.timing import HubTiming
from fedlink.connection import HubConnection
from fedlink.identity import Identity

pytestmark = pytest.mark.asyncio(loop_scope="module")

PULSE_S = 0.05
PULSING = functools.partial(LoopHealth, timing=TaskTiming(pulse_s=PULSE_S))
PAUSE_S = 0.02
STEP_S = 1.0
QUICK_S = 0.1
NAMED_WITHIN_S = 60.0
START = datetime(2030, 1, 1, tzinfo=UTC)
HUB_TIMING = HubTiming(heartbeat_interval_s=0.3, late_heartbeat_intervals=10, work_limit_s=2.0)
"""Limits well below the lease, which ends a session, and above the pauses of a loaded machine."""

WATCHES = (
    "watch.deployments.fate-exchange",
    "watch.statefulsets.fate-exchange",
    "watch.pods.fate-exchange",
    "watch.services.fate-exchange",
    "watch.configmaps.fate-exchange",
    "watch.persistentvolumeclaims.fate-exchange",
    "watch.secrets.fate-exchange.traffic-server-cert",
)
AGENT = {
    "link.sessions": "asyncio:wait",
    "link.renewal": "",
    "link.receive": "fedagent.link.session:Session._handle",
    "link.statuses": "fedagent.journal.statuses:Statuses.unsent",
    "link.events": "fedagent.journal.spool:Spool.batch",
    "link.heartbeats": "fedagent.link.session:Session._heartbeat",
    "reconcile.documents": "fedagent.journal.documents:Documents.all",
    "reconcile.journal": "",
    "resolve": "",
    "reconcile.exchange": "fedagent.journal.documents:Documents.get",
    "reconcile.endpoint": "fedagent.journal.documents:Documents.get",
    **dict.fromkeys(WATCHES, "fedagent.kube.watches:_next_chunk"),
}
"""Loop -> a function that it calls in each round; none: its work itself is what hangs."""
HUB = (
    "certificates",
    "documents",
    "events",
    "heartbeats",
    "idempotency",
    "sweep",
    "trust",
    "monitor",
)


class Gate:
    """Where a loop hangs, as if what it awaits never came: the task of this name, and no other."""

    def __init__(self) -> None:
        self.shut_for: set[str] = set()
        self.reached: set[str] = set()
        self._opened = asyncio.Event()

    def shut(self, *names: str) -> None:
        self.shut_for, self.reached = set(names), set()
        self._opened.clear()

    def open(self) -> None:
        self.shut_for = set()
        self._opened.set()

    async def come_by(self) -> None:
        task = asyncio.current_task()
        if task is not None and task.get_name() in self.shut_for:
            self.reached.add(task.get_name())
            await self._opened.wait()

    def before(self, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(work)
        async def gated(*args: Any, **kwargs: Any) -> Any:
            await self.come_by()
            return await work(*args, **kwargs)

        return gated

    def put_before(self, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
        module, _, path = where.partition(":")
        owner: Any = importlib.import_module(module)
        *parents, name = path.split(".")
        for parent in parents:
            owner = getattr(owner, parent)
        monkeypatch.setattr(owner, name, self.before(getattr(owner, name)))

    async def periodically(
        self, name: str, work: Callable[[], Awaitable[object]], **how: Any
    ) -> None:
        """Run as `run_periodically`, in quick rounds through this gate."""
        await run_periodically(name, self.before(work), **(how | {"interval_s": QUICK_S}))


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fed(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    """A Ready exchange whose loops turn often."""
    timing = AgentTiming(
        reconcile=ReconcileTiming(documents_poll_s=QUICK_S, max_wait_s=QUICK_S),
        kube=KubeTiming(watch=WatchTiming(window_s=0.6, grace_s=2.0, pulse_s=PULSE_S)),
        link=replace(QUICK_DIALS, silence_intervals=20, outbox_poll_s=QUICK_S),
        tasks=TaskTiming(pulse_s=PULSE_S),
    )
    with pytest.MonkeyPatch.context() as patch:
        for where, value in {
            "fedhub.run.LoopHealth": PULSING,
            "fedcore.limits.LEASE_INTERVALS": 20,
            "fedagent.reconcile.manager.run_periodically": gate.periodically,
            "fedlink.connection.run_periodically": gate.periodically,
            "fedhub.loops.run_periodically": gate.periodically,
        }.items():
            patch.setattr(where, value)
        folder = tmp_path_factory.mktemp("loops")
        opened = Federation(
            folder, sites=("hq",), hub_settings={"timing": HUB_TIMING}, timing=timing
        )
        async with opened as federation:
            await federation.apply(federation.intent(()))
            await federation.wait_ready()
            clock = ManualClock(START)
            for loop_health in boards(federation):
                loop_health.clock = clock
                for record in loop_health.records.values():
                    record.last_success_at = clock.now()
            ticking = asyncio.create_task(advance_by_turns(clock, step_s=STEP_S, pause_s=PAUSE_S))
            yield federation
            ticking.cancel()


def boards(fed: Federation) -> tuple[LoopHealth, LoopHealth]:
    return fed.agent("hq").loop_health, fed.running_hub.loop_health


async def named_at_site(fed: Federation) -> set[str]:
    findings = (await fed.api.get("sites/hq"))["findings"]
    assert all(row["code"] == "LoopStalled" and row["hint"] for row in findings)
    return {row["object"].removeprefix("loop/") for row in findings}


async def named_by_hub(fed: Federation) -> set[str]:
    status, answer = await fed.api.call("GET", "../../readyz")
    return set(re.findall(r"loop (\S+) has stood still", answer["detail"] if status == 503 else ""))


async def names_here(fed: Federation, loop: str) -> str:
    """Return a loop's name with the ids that this federation has."""
    if loop == "reconcile.exchange":
        return f"reconcile.{(await fed.participant('exchange'))['id']}"
    if loop == "reconcile.endpoint":
        (row,) = await fed.api.items("endpoints")
        return f"reconcile.{row['id']}"
    return loop


async def check_named(
    fed: Federation, gate: Gate, look: Callable[[], Awaitable[set[str]]], loop: str
) -> None:
    """A loop stops and is named alone; it goes on and the name goes."""

    async def is_well() -> bool:
        return not await look()

    async def hangs() -> bool:
        return gate.reached == {loop}

    async def is_named() -> bool:
        return await look() == {loop}

    await fed.until(is_well, "nothing is named before")
    gate.shut(loop)
    try:
        await fed.until(hangs, f"{loop} comes to the gate")
        await fed.until(is_named, f"{loop} and no other is named")
        assert (await fed.api.call("GET", "../../livez"))[0] == 200
    finally:
        gate.open()
    await fed.until(is_well, f"{loop} is well again")


@pytest.mark.parametrize("loop", AGENT)
async def test_a_loop_of_the_agent_that_stops_is_a_finding_of_its_site(
    fed: Federation, gate: Gate, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    if loop == "link.renewal":
        force_renewals(monkeypatch)
    if AGENT[loop]:
        gate.put_before(monkeypatch, AGENT[loop])
    before = (await fed.events())[-1]["id"]
    look = functools.partial(named_at_site, fed)
    await check_named(fed, gate, look, await names_here(fed, loop))
    told = [event["kind"] for event in await fed.events() if event["id"] > before]
    assert {"site.loop_stalled", "site.loop_recovered"} <= set(told)
    await fed.wait_site("hq", "Online")


def force_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    async def renew(_: HubConnection) -> None:
        """Do nothing: each would make the agent dial again."""

    monkeypatch.setattr(Identity, "renew_at", lambda _: datetime(2000, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(HubConnection, "renew", renew)


@pytest.mark.parametrize("loop", HUB)
async def test_a_loop_of_the_hub_that_stops_makes_it_unready_and_is_an_event(
    fed: Federation, gate: Gate, loop: str
) -> None:
    before = (await fed.events())[-1]["id"]

    async def told() -> list[str]:
        rows = [event for event in await fed.events() if event["facts"].get("loop") == loop]
        return [event["kind"] for event in rows if event["id"] > before]

    async def named() -> set[str]:
        is_told = loop == "monitor" or (await told())[-1:] == ["hub.loop_stalled"]
        return await named_by_hub(fed) if is_told else set()

    async def is_recovered() -> bool:
        return (await told())[-1] == "hub.loop_recovered"

    await check_named(fed, gate, named, loop)
    if loop != "monitor":  # that is the one that writes them
        await fed.until(is_recovered, "the recovery is told")


SESSION = {
    "hub.read": ("read.hq", "fedhub.services.agent_sessions:heartbeat"),
    "hub.documents": ("documents.hq", "fedhub.store.documents:of_site"),
}


@pytest.mark.parametrize("loop", SESSION)
async def test_a_loop_of_the_hub_that_serves_one_site_is_a_finding_of_that_site(
    fed: Federation, gate: Gate, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    task, where = SESSION[loop]
    gate.put_before(monkeypatch, where)
    gate.shut(task)
    for session in fed.running_hub.hub.registry:
        session.documents.mark_stale()

    async def is_named() -> bool:
        return await named_at_site(fed) == {loop}

    async def is_well() -> bool:
        return not await named_at_site(fed)

    await fed.until(is_named, f"{loop} is named")
    gate.open()
    await fed.until(is_well, f"{loop} is well again")
    await fed.wait_site("hq", "Online")


async def test_a_session_whose_loop_hangs_on_is_ended_and_the_site_comes_back(
    fed: Federation, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.put_before(monkeypatch, "fedhub.store.documents:of_site")
    (before,) = fed.running_hub.hub.registry
    gate.shut("documents.hq")
    before.documents.mark_stale()

    async def has_a_new_session() -> bool:
        return any(one.epoch > before.epoch for one in fed.running_hub.hub.registry)

    await fed.until(has_a_new_session, "the agent has a new session")
    gate.open()
    await fed.wait_site("hq", "Online")


# --- no loop is forgotten ------------------------------------------------------------------------

OURS = tuple(str(Path(package.__file__ or "").parent) for package in (fedagent, fedhub, fedproto))
NO_LOOPS = {
    r"reconcile|link|link\.session|watch\.fate-exchange": "only waits for the loops in it",
    r".* awaits": "awaited by a loop that beats meanwhile (`await_with_heartbeat`)",
    r"forward\.[a-z.-]+": "carries one connection through a port-forward, and ends with it",
    r"(read|documents)\.hq": "the hub's two of a session: `SessionSweeper` checks them",
}
"""Tasks that are no loops of their own, and why."""


def our_tasks() -> set[str]:
    """Return the names of the tasks of this process that run our code, but not the tests'."""
    found = set()
    for task in asyncio.all_tasks():
        work = task.get_coro()
        file = work.cr_code.co_filename if inspect.iscoroutine(work) else ""
        if file.startswith(OURS) or "periodically" in str(work):
            found.add(task.get_name())
    return found


async def test_every_task_that_runs_for_long_proves_that_it_lives(fed: Federation) -> None:
    known = {name for loop_health in boards(fed) for name in loop_health.records}
    seen = our_tasks()
    for _ in range(20):  # what is gone a moment later was no loop
        await asyncio.sleep(PULSE_S)
        seen &= our_tasks()
    assert seen & known, "the tasks are looked at"
    silent = {
        name
        for name in seen - known
        if not any(re.fullmatch(pattern, name) for pattern in NO_LOOPS)
    }
    assert not silent, (
        "a loop without a beat: give it one (fedcore.tasks.rest, await_with_heartbeat)"
    )


async def test_every_loop_that_beats_is_made_to_hang_here(fed: Federation) -> None:
    agent, hub = boards(fed)
    assert set(agent.records) == {await names_here(fed, loop) for loop in AGENT}
    assert set(hub.records) == set(HUB)


async def test_every_loop_that_stops_is_named_within_a_minute(fed: Federation) -> None:
    agent, hub = boards(fed)
    timing = HubTiming()
    told_after = {
        **{one.name: one.limit_s + limits.HEARTBEAT_INTERVAL_S for one in agent.records.values()},
        **{one.name: one.limit_s + timing.loop_check_s for one in hub.records.values()},
        "link.heartbeats": timing.late_heartbeat_s + timing.sweep_s,
        "hub.read": timing.work_limit_s + timing.sweep_s,
        "hub.documents": timing.work_limit_s + timing.sweep_s,
    }
    assert {name: s for name, s in told_after.items() if s > NAMED_WITHIN_S} == {}
    assert agent.timing.pulse_s == hub.timing.pulse_s == PULSE_S, "these loops beat faster"
