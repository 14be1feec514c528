"""Loops that stand still as the hub itself notices it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.support.clock import ManualClock
from tests.support.hub import running_test_hub
from tests.support.patience import time_limit, until

from fedcore.tasks import LoopHealth
from fedhub.fleet.documents import Notifier
from fedhub.instruments import Instruments
from fedhub.services.liveness import LoopMonitor, SessionSweeper
from fedproto.agent.v1 import link_pb2


@pytest.fixture
async def slow(tmp_path, hub_template):
    clock = ManualClock()
    async with running_test_hub(tmp_path, template=hub_template, clock=clock) as lab:
        yield lab, clock


async def named(lab):
    findings = (await lab.rest.get("/api/v1/sites/alpha"))["findings"]
    return [(row["code"], row["object"]) for row in findings]


STOPPED = [("LoopStalled", "loop/link.heartbeats")]


async def test_heartbeats_that_stay_away_are_a_finding_until_the_next_one(slow):
    lab, clock = slow
    agent = await lab.connect("alpha")
    sweeper = SessionSweeper(lab.hub)
    clock.advance(lab.hub.timing.late_heartbeat_s - 1)
    await agent.tell(1)  # the stream lives
    await sweeper.turn()
    assert await named(lab) == []
    clock.advance(2)
    await sweeper.turn()
    await sweeper.turn()
    assert await named(lab) == STOPPED
    await agent.live.beat()
    assert await named(lab) == []
    told = [kind for kind in await lab.rest.kinds("&site=alpha") if "loop" in kind]
    assert told == ["site.loop_stalled", "site.loop_recovered"]


async def test_what_is_named_stays_named_in_a_new_session_until_its_first_heartbeat(slow):
    lab, _ = slow
    agent = await lab.connect("alpha")
    await agent.live.beat(1, loops=[link_pb2.LoopHealth(name="link.receive", stalled=True)])
    await agent.close()
    await agent.connect()
    assert await named(lab) == [("LoopStalled", "loop/link.receive")]
    await agent.live.beat(1, loops=[link_pb2.LoopHealth(name="link.receive")])
    assert await named(lab) == []


class HangingDatabase:
    """A database whose transactions never begin."""

    def __init__(self):
        self.reached = asyncio.Event()

    @asynccontextmanager
    async def read(self):
        self.reached.set()
        await asyncio.Event().wait()
        yield


async def test_a_session_whose_loop_hangs_in_the_hub_is_named_and_then_ended(slow):
    lab, clock = slow
    agent = await lab.connect("alpha")
    session = lab.hub.registry.of_agent(agent.agent_id)
    sweeper = SessionSweeper(lab.hub)
    await until(lambda: not session.liveness.busy_s)
    database = HangingDatabase()
    notifier = Notifier(database, lab.hub.registry, clock=clock, instruments=Instruments())
    serving = asyncio.create_task(notifier.serve(session))
    async with time_limit():
        await database.reached.wait()
    clock.advance(lab.hub.timing.work_limit_s + 1)
    await agent.live.beat()
    assert await named(lab) == [("LoopStalled", "loop/hub.documents")]
    assert not session.stream.is_ended
    clock.advance(lab.hub.timing.lease_s)
    await sweeper.turn()
    assert session.stream.is_ended
    await agent.live.end()
    await lab.rest.until("/api/v1/sites/alpha", lambda one: one["state"] == "Disconnected")
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert session.liveness.busy_s == {}


async def test_a_loop_of_the_hub_that_stands_still_is_told_once_and_so_is_its_recovery(slow):
    lab, clock = slow
    loop_health = LoopHealth(clock)
    monitor = LoopMonitor(lab.hub, loop_health)
    loop_health.heartbeat("sweep")
    clock.advance(31)
    await monitor.turn()
    await monitor.turn()
    (event,) = await lab.rest.events("&kind=hub.loop_stalled")
    assert (event["severity"], event["facts"]["loop"]) == ("error", "sweep")
    loop_health.heartbeat("sweep")
    await monitor.turn()
    await monitor.turn()
    (event,) = await lab.rest.events("&kind=hub.loop_recovered")
    assert (event["severity"], event["facts"]["loop"]) == ("info", "sweep")
