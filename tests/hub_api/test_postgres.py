"""The same story on PostgreSQL, with two hub processes' worth of state and a lost database."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.hub import federation, party, running_test_hub
from tests.support.patience import until
from tests.support.postgres import postgres_cluster, running_postgres

from fedproto.agent.v1 import document_pb2

__all__ = ["postgres_cluster"]
pytestmark = pytest.mark.postgres


def table(spec, kind):
    found = next(one for one in spec.tables if one.kind == kind)
    return {entry.key: entry.host for entry in found.entries}


async def test_the_whole_story_on_postgresql(tmp_path, postgres_cluster):
    url = postgres_cluster.new_database()
    async with running_test_hub(tmp_path, database_url=url) as lab:
        hq, alpha, beta = [await lab.good_site(name) for name in ("hq", "alpha", "beta")]
        applied = await lab.rest.apply(federation([party(9999, "alpha"), party(7, "beta")]))
        ended = await lab.rest.operation_ends(applied["operation"]["id"])
        assert ended["state"] == "Succeeded"
        found = await lab.rest.get("/api/v1/participants")
        exchange = next(one["id"] for one in found["items"] if one["key"] == "exchange")
        nginx = table(hq.spec(exchange), document_pb2.TABLE_KIND_NGINX)
        assert (nginx["9999"], nginx["7"]) == (alpha.ip, beta.ip)
        await alpha.agent.tell(3)
        removed = await lab.rest.good("DELETE", "/api/v1/federations/credit-risk?cascade=true")
        assert (await lab.rest.operation_ends(removed["operation"]["id"]))["state"] == "Succeeded"
    async with running_test_hub(tmp_path, database_url=url) as lab:
        assert "federation.gone" in await lab.rest.kinds()


async def test_two_hubs_on_one_database_fence_and_find_each_others_changes(
    tmp_path,
    postgres_cluster,
):
    url = postgres_cluster.new_database()
    async with running_test_hub(tmp_path, database_url=url) as one:
        agent = await one.connect("hq")
        async with running_test_hub(tmp_path, database_url=url) as two:
            await two.rest.apply(federation([]))
            await agent.live.holds(lambda held: len(held) == 2, "what the other hub planned")
            epoch = agent.live.epoch
            await agent.close()
            agent.place = two.place
            session = await agent.connect()
            assert session.epoch == epoch + 1
            site = await one.rest.get("/api/v1/sites/hq")
            assert site["state"] == "Online"
            await agent.close()


@pytest.mark.slow
async def test_an_outage_of_the_database_restarts_nothing_and_loses_nothing(tmp_path):
    await outage(tmp_path, 30.0)


async def test_a_short_outage_of_the_database_restarts_nothing_and_loses_nothing(tmp_path):
    await outage(tmp_path, 1.5)


async def outage(tmp_path, seconds):
    with running_postgres() as cluster:
        async with running_test_hub(tmp_path, database_url=cluster.new_database()) as lab:
            agent = await lab.connect("alpha")
            await agent.tell(2)
            cluster.stop(crash=True)
            agent.happen()
            await agent.live.send(events=agent.batch())
            answer = await lab.rest.call("GET", "/api/v1/sites")
            assert (answer.status, answer.body["retryable"]) == (503, True)
            assert (await lab.rest.call("GET", "/readyz")).status == 503
            assert (await lab.rest.call("GET", "/livez")).status == 200
            await asyncio.sleep(seconds)
            assert not agent.live.ended.is_set(), "the stream stays"
            # Not in a thread: the kernel ends a server with the thread that started it.
            cluster.start()
            await agent.live.acked(3)
            await lab.rest.until("/api/v1/sites/alpha", lambda site: site["state"] == "Online")

            async def is_ready():
                return (await lab.rest.call("GET", "/readyz")).status == 200

            await until(is_ready)
            events = await lab.rest.events("&site=alpha&kind=participant.step")
            assert len(events) == 3
            assert "site.disconnected" not in await lab.rest.kinds()
