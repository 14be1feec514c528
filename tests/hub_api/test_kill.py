"""The hub as a process, killed while agents talk to it: what was acknowledged is there, once."""

from __future__ import annotations

import asyncio
import random

import grpc
import pytest
from tests.support.fakeagent import FakeAgent, connect_again
from tests.support.hub import federation, party
from tests.support.hubprocess import HubProcess
from tests.support.restclient import rest_of
from tests.support.scripted_site import GoodSite

from fedcore.errors import FedError

SITES = ("hq", "alpha", "beta")


@pytest.fixture
async def process(tmp_path):
    hub = HubProcess.at(tmp_path)
    yield hub
    hub.kill()


async def join_all(rest):
    agents = []
    for name in SITES:
        agent = FakeAgent(rest.place, name)
        await agent.enrol((await rest.invite(name))["token"])
        agents.append(agent)
    return agents


async def talk(agent, stop):
    """Send events for as long as the test runs; after each break go on where the hub says."""
    while not stop.is_set():
        session = await connect_again(agent)
        resume = session.welcome.resume_after_seq
        agent.unacked = [event for event in agent.unacked if event.seq > resume]
        try:
            while not stop.is_set() and not session.ended.is_set():
                agent.happen()
                await session.send(events=agent.batch())
                await session.acked(agent.seq)
                await asyncio.sleep(0)
        except (AssertionError, FedError, grpc.aio.UsageError, grpc.aio.AioRpcError):
            continue
        except asyncio.InvalidStateError:
            continue


async def test_no_acknowledged_event_is_lost_and_none_is_doubled_however_the_hub_is_killed(process):
    rng = random.Random(20260101)
    place = await process.start()
    async with rest_of(place) as rest:
        agents = await join_all(rest)
        stop = asyncio.Event()
        tasks = [asyncio.create_task(talk(agent, stop)) for agent in agents]
        applied = None
        for _ in range(3):
            await asyncio.sleep(rng.uniform(0.05, 0.6))
            process.kill()
            await process.start()
            if applied is None:
                applied = await rest.apply(federation([party(9999, "alpha"), party(7, "beta")]))
        await asyncio.sleep(0.2)
        stop.set()
        await asyncio.gather(*tasks)
        for agent in agents:
            session = await connect_again(agent)
            acked = session.welcome.resume_after_seq
            assert acked >= agent.seq - len(agent.unacked)
            agent.unacked = [event for event in agent.unacked if event.seq > acked]
            await agent.tell(1)
            events = await rest.events(f"&site={agent.name}&kind=participant.step")
            assert [e["message"] for e in events] == [
                f"participant.step {seq}" for seq in range(1, agent.seq + 1)
            ]
        sites = [GoodSite(agent, n) for n, agent in enumerate(agents, start=1)]
        ended = await rest.operation_ends(applied["operation"]["id"])
        assert ended["state"] == "Succeeded"
        kinds = await rest.kinds()
        assert "site.offline" not in kinds
        for site, agent in zip(sites, agents, strict=True):
            await site.stop()
            await agent.close()


async def test_a_hub_that_is_told_to_stop_says_goodbye_and_ends_well(process):
    place = await process.start()
    async with rest_of(place) as rest:
        agents = await join_all(rest)
        for agent in agents:
            await agent.connect()
        code = await process.stop()
        assert code == 0
        for agent in agents:
            await agent.live.frame(lambda frame: frame.HasField("go_away"))
            await agent.live.end()
        await process.start()
        states = [site["state"] for site in (await rest.get("/api/v1/sites"))["items"]]
        assert states == ["Disconnected"] * 3
        for agent in agents:
            await connect_again(agent)
            await agent.close()
