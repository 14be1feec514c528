from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.clock import ManualClock
from tests.support.hub import running_test_hub
from tests.support.patience import until

from fedcore.errors import Unavailable
from fedcore.ids import new_id
from fedhub.services import liveness
from fedhub.services.liveness import SessionSweeper
from fedhub.store import agent_sessions, replicas, sites
from fedproto.agent.v1 import link_pb2


@pytest.fixture
async def slow(tmp_path, hub_template):
    clock = ManualClock()
    async with running_test_hub(tmp_path, template=hub_template, clock=clock) as lab:
        yield lab, clock


async def state(lab, name="alpha"):
    return (await lab.rest.get(f"/api/v1/sites/{name}"))["state"]


class AwayDatabase:
    """A database that does not answer."""

    is_sqlite = True

    def begin(self):
        raise Unavailable("away")

    read = begin


class SometimesAway:
    """A database that a test takes away and gives back."""

    def __init__(self, database):
        self._database = database
        self.is_away = False

    def __getattr__(self, name):
        return getattr(AwayDatabase() if self.is_away else self._database, name)


async def test_heartbeats_reach_the_database_in_batches_and_survive_a_failed_flush(slow):
    lab, clock = slow
    agent = await lab.connect("alpha")
    await liveness.flush_heartbeats(lab.hub)
    clock.advance(30)
    await agent.live.beat()

    with pytest.raises(Unavailable):
        await liveness.flush_heartbeats(replace(lab.hub, database=AwayDatabase()))
    await liveness.flush_heartbeats(lab.hub)
    async with lab.hub.database.read() as db:
        row = await agent_sessions.get(db, agent.agent_id)
    assert row.last_seen_at == clock.now()


async def test_a_stream_that_went_silent_is_ended_and_the_site_comes_back_by_a_new_one(slow):
    lab, clock = slow
    agent = await lab.connect("alpha")
    sweeper = SessionSweeper(lab.hub)
    clock.advance(200)
    await sweeper.turn()
    await agent.live.end()
    await lab.rest.until("/api/v1/sites/alpha", lambda one: one["state"] != "Online")
    await liveness.mark_offline(lab.hub)
    assert await state(lab) == "Offline"
    await agent.connect()
    assert await state(lab) == "Online"


async def test_a_failure_of_the_sweep_begins_the_grace_period_anew(slow):
    lab, clock = slow
    agent = await lab.connect("alpha")
    await agent.close()
    await lab.rest.until("/api/v1/sites/alpha", lambda one: one["state"] == "Disconnected")
    database = SometimesAway(lab.hub.database)
    sweeper = SessionSweeper(replace(lab.hub, database=database))
    clock.advance(500)
    database.is_away = True
    with pytest.raises(Unavailable):
        await sweeper.turn()
    database.is_away = False
    await sweeper.turn()
    assert await state(lab) == "Disconnected"
    clock.advance(121)
    await sweeper.turn()
    assert await state(lab) == "Offline"


async def test_a_row_whose_stream_is_gone_is_closed_at_the_second_sweep(slow):
    """The close of a stream could not be stored: the database was away."""
    lab, _ = slow
    agent = await lab.connect("alpha")
    session = lab.hub.registry.of_agent(agent.agent_id)
    lab.hub.registry.unregister(session)
    sweeper = SessionSweeper(lab.hub)
    await sweeper.turn()
    assert await state(lab) == "Online"
    await sweeper.turn()
    assert await state(lab) == "Disconnected"


async def test_a_stream_whose_session_another_process_took_is_ended(slow):
    lab, clock = slow
    agent = await lab.connect("alpha")
    async with lab.hub.database.begin() as db:
        await agent_sessions.open(
            db,
            agent_id=agent.agent_id,
            site_id=agent.site_id,
            replica_id="another",
            session_id=new_id(),
            instance_id=agent.instance_id,
            cluster_uid=agent.cluster_uid,
            at=clock.now(),
        )
    await SessionSweeper(lab.hub).turn()
    await agent.live.end()
    assert await state(lab) == "Online", "it is online at the other process"


async def test_sessions_of_a_process_that_was_killed_are_released_at_the_next_start(slow):
    lab, clock = slow
    agent = await lab.join("alpha")
    async with lab.hub.database.begin() as db:
        await replicas.heartbeat(db, "killed", clock.now())
        await agent_sessions.open(
            db,
            agent_id=agent.agent_id,
            site_id=agent.site_id,
            replica_id="killed",
            session_id=new_id(),
            instance_id="i",
            cluster_uid="c",
            at=clock.now(),
        )
        await sites.set_state(db, agent.site_id, "Online", clock.now())
    clock.advance(1)
    await liveness.start(lab.hub)
    assert await state(lab) == "Disconnected"
    assert (await lab.rest.kinds("&kind=hub.stopped")) == ["hub.stopped"]


async def test_a_site_that_is_heard_is_never_offline_though_its_heartbeats_wait(slow):
    lab, clock = slow
    agent = await lab.connect("alpha")
    sweeper = SessionSweeper(lab.hub)
    live = lab.hub.registry.of_agent(agent.agent_id)
    for _ in range(10):
        clock.advance(20)
        await agent.live.send(inventory=link_pb2.Inventory())
        await until(lambda: not live.liveness.silent_s)
        await liveness.flush_heartbeats(lab.hub)
        await sweeper.turn()
    assert await state(lab) == "Online"
