"""The connection between agent and hub ill-treated: cut, frozen, delayed, doubled, away."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.clock import running_clock
from tests.support.federation import Federation
from tests.support.lifecycle import DEFAULT_TIMING, Part
from tests.support.patience import time_limit, until
from tests.support.place import simulated_place

from fedagent.reconcile.timing import ReconcileTiming
from fedagent.run import running_agent
from fedagent.settings import AgentSettings
from fedhub.services import certificates
from fedproto.agent.v1 import status_pb2

PARTIES = ((9999, "hq"),)
HEARTBEAT_S = 1.0
"""A session ends after three: a slow machine must not be silent for so long."""
STEPS = ("namespace", "certificates", "install", "components", "proxies")


@pytest.fixture
async def fed(tmp_path: Path) -> AsyncIterator[Federation]:
    async with Federation(
        tmp_path, sites=("hq",), cuttable=True, heartbeat_s=HEARTBEAT_S
    ) as federation:
        yield federation


async def wait_step(fed: Federation, key: int | str, step: str) -> None:
    """Wait until a participant's agent works at a step, by the agent's own record."""
    identity = (await fed.participant(key))["id"]

    async def is_there() -> bool:
        status = await fed.agent("hq").journal.statuses.get(identity)
        return status is not None and any(
            row.name == step and row.HasField("started_at") for row in status.steps
        )

    await fed.until(is_there, f"{key} is at step {step}")


@pytest.mark.parametrize("step", STEPS)
async def test_a_site_cut_off_in_a_step_goes_on(fed: Federation, step: str) -> None:
    await fed.apply(fed.intent(PARTIES))
    await wait_step(fed, "exchange", step)
    fed.cutters["hq"].cut()
    await fed.wait_site("hq", "Disconnected")
    fed.cutters["hq"].heal()
    await fed.wait_site("hq", "Online")
    await fed.wait_ready()
    assert await fed.places["hq"].submissions("ClusterInstall") == {
        "fate-exchange 1.1": 1,
        "fate-9999 1.1": 1,
    }
    await fed.check_events()


async def test_a_half_open_connection_is_found_dead_by_both_sides(fed: Federation) -> None:
    await fed.apply(fed.intent(PARTIES))
    await wait_step(fed, "exchange", "install")
    before = fed.cutters["hq"].accepted
    fed.cutters["hq"].freeze()

    async def redials() -> bool:
        return fed.cutters["hq"].accepted > before

    await fed.until(redials, "the agent gives the dead connection up")
    await fed.wait_site("hq", "Disconnected")
    assert len(fed.running_hub.hub.registry) == 0, "the hub has given it up, too"
    assert await fed.events(site="hq", kind="site.disconnected")
    fed.cutters["hq"].heal()
    await fed.wait_site("hq", "Online")
    await fed.wait_ready()
    await fed.check_events()


async def test_delayed_and_broken_connections_lose_nothing(fed: Federation) -> None:
    fed.cutters["hq"].delay_s = 0.02
    await fed.apply(fed.intent(PARTIES))
    for _ in range(8):
        await asyncio.sleep(0.3)
        fed.cutters["hq"].drop()
    await fed.wait_ready()
    assert set((await fed.places["hq"].submissions("ClusterInstall")).values()) == {1}
    await fed.check_events()


async def test_a_doubled_connection_disturbs_nobody(fed: Federation) -> None:
    fed.cutters["hq"].double = True
    fed.cutters["hq"].drop()
    await fed.apply(fed.intent(PARTIES))
    await fed.wait_ready()
    await fed.check_events()


async def test_a_hub_away_for_an_hour_finds_the_work_done(tmp_path: Path) -> None:
    # TLS goes by the machine's clock: so the hour before is the one that is made up.
    clock = running_clock(timedelta(hours=-1))
    async with Federation(tmp_path, sites=("hq",), clock=clock) as fed:
        await fed.apply(fed.intent(PARTIES))
        await wait_step(fed, 9999, "install")
        identities = {key: row["id"] for key, row in (await fed.participants()).items()}
        await fed.hub.stop()
        clock.advance(timedelta(hours=1))

        async def is_done() -> bool:
            status = await fed.agent("hq").journal.statuses.get(identities["9999"])
            return status is not None and status.phase == status_pb2.PHASE_READY

        await until(is_done, "the site works on without its hub")
        await fed.start_hub()
        await fed.wait_ready()
        await fed.check_events()
        assert "site.offline" not in {event["kind"] for event in await fed.events()}


async def test_an_agent_goes_on_when_its_hub_is_back_without_waiting_for_its_next_try(
    tmp_path: Path,
) -> None:
    # No try comes by itself: the next one after a failure is an hour away.
    never = ReconcileTiming(action_backoff_s=(3_600.0,), max_wait_s=3_600.0)
    timing = replace(DEFAULT_TIMING, reconcile=never)
    opened = Federation(
        tmp_path, sites=("hq",), cuttable=True, heartbeat_s=HEARTBEAT_S, timing=timing
    )
    async with opened as fed:
        await check_going_on(fed)


async def check_going_on(fed: Federation) -> None:
    """Cut the hub off while the agent needs a certificate of it, and connect it again."""
    await fed.apply(fed.intent(()))
    await wait_step(fed, "exchange", "namespace")
    fed.cutters["hq"].cut()
    identity = (await fed.participant("exchange"))["id"]
    journal = fed.agent("hq").journal

    async def reason() -> str:
        status = await journal.statuses.get(identity)
        return "" if status is None else status.reason

    async def is_waiting() -> bool:
        return await reason() == "HubUnavailable"

    await fed.until(is_waiting, "the agent says that it waits for its hub")
    fed.cutters["hq"].heal()

    async def goes_on() -> bool:
        return not await is_waiting()

    await fed.until(goes_on, "the agent goes on")
    await fed.wait_ready()


async def test_a_copied_identity_in_another_cluster_is_refused_and_told(
    fed: Federation, tmp_path: Path
) -> None:
    await fed.apply(fed.intent(PARTIES))
    await fed.wait_ready()
    epoch = fed.running_hub.hub.registry
    (before,) = [(session.session_id, session.epoch) for session in epoch]
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(simulated_place("thief", tmp_path / "thief"))
        stolen = tmp_path / "thief" / "agent"
        stolen.mkdir()
        shutil.copy(tmp_path / "hq" / "agent" / "identity.json", stolen)
        identity = json.loads((stolen / "identity.json").read_text())
        identity["link_address"] = f"127.0.0.1:{fed.link_port}"
        (stolen / "identity.json").write_text(json.dumps(identity))
        settings = AgentSettings(state=stolen, **place.agent_settings())
        thief = Part("thief", lambda: running_agent(settings))
        await thief.start()
        stack.push_async_callback(thief.stop)

        async def is_told() -> bool:
            return bool(await fed.events(kind="site.duplicate_identity"))

        await fed.until(is_told, "the copy is told of")
        assert not thief.value.connection.connected.is_set()
        assert await thief.value.journal.documents.all() == ()
    (after,) = [(session.session_id, session.epoch) for session in epoch]
    assert after == before
    row = (await fed.events(kind="site.duplicate_identity"))[0]
    assert row["severity"] == "error"
    assert row["facts"]["cluster_uid"] != row["facts"]["expected_cluster_uid"]
    assert (await fed.api.get("sites/hq"))["state"] == "Online"
    await fed.check_events()


async def test_a_call_that_is_under_way_when_the_agent_redials_is_made_again(
    fed: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = certificates.issue_for_resource
    begun, never = asyncio.Event(), asyncio.Event()

    async def hang_once(*args: Any, **kwargs: Any) -> Any:
        if not begun.is_set():
            begun.set()
            await never.wait()
        return await original(*args, **kwargs)

    monkeypatch.setattr(certificates, "issue_for_resource", hang_once)
    await fed.apply(fed.intent(()))
    async with time_limit():
        await begun.wait()
    fed.agent("hq").connection._redial.set()
    await fed.wait_ready()
