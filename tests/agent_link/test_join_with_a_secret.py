"""The whole way with a Secret: join, run from it, join again refused, renewal found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.support.patience import time_limit
from tests.support.principals import administrator

from fedagent.journal import open_journal
from fedagent.kube import objects
from fedagent.kube.client import connect
from fedagent.kube.kinds import NAMESPACES, SECRETS
from fedagent.link.calls import AgentCalls, AgentFacts
from fedagent.run import has_joined, join, running_agent
from fedagent.settings import AgentSettings
from fedcore.clock import SystemClock
from fedcore.errors import Invalid
from fedcore.tasks import LoopHealth
from fedhub.run import running_hub
from fedhub.services import sites
from fedhub.settings import HubSettings
from fedlink.channel import LiveChannel
from fedlink.connection import HubConnection
from fedlink.identity import CurrentIdentity, IdentityFile
from fedlink.timing import LinkTiming
from fedproto.agent.v1 import link_pb2
from fedsim.kube import Delays, KubeSettings, SimulatedKube

LOOPBACK = "127.0.0.1:0"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Any]:
    settings = HubSettings(
        state=tmp_path / "hub", listen=LOOPBACK, enrol_listen=LOOPBACK, link_listen=LOOPBACK
    )
    async with running_hub(settings) as running:
        yield running.hub


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[AgentSettings]:
    async with AsyncExitStack() as stack:
        simulated = SimulatedKube(KubeSettings(delays=Delays.none(), data_plane=False))
        await stack.enter_async_context(simulated)
        simulated.write_kubeconfig(tmp_path / "kubeconfig")
        kube = await stack.enter_async_context(connect(tmp_path / "kubeconfig"))
        await objects.create(kube, NAMESPACES, {"metadata": {"name": "agents"}})
        yield AgentSettings(
            state=tmp_path / "agent",
            kubeconfig=tmp_path / "kubeconfig",
            identity_secret="agents/fedagent-identity",
        )


async def test_an_agent_joins_and_runs_with_a_secret(
    hub: Any, settings: AgentSettings, tmp_path: Path
) -> None:
    asked = await sites.invite(hub, administrator(), "alpha")
    given = (settings, asked.enrol_address, asked.token, asked.ca_fingerprint)
    assert not await has_joined(settings)
    identity = await join(*given)
    assert await has_joined(settings)
    assert {path.name for path in (tmp_path / "agent").iterdir()} <= {
        "journal.sqlite",
        "journal.sqlite-wal",
        "journal.sqlite-shm",
    }
    with pytest.raises(Invalid, match=r"remove Secret agents/fedagent-identity to join again"):
        await join(*given)
    async with running_agent(settings) as agent, time_limit():
        assert agent.identity.value == identity
        await agent.connection.connected.wait()
    async with connect(settings.kubeconfig) as kube:
        body = await objects.get(kube, SECRETS, "fedagent-identity", namespace="agents")
    assert set(body["data"]) == {"identity.json"}


@pytest.mark.parametrize("name", ["a/b/c", "Upper", "a/", "/b", "", "a b"])
def test_a_name_that_no_secret_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="identity_secret"):
        AgentSettings(identity_secret=name)


async def test_a_renewal_that_another_process_stored_is_taken_up(
    hub: Any, settings: AgentSettings, tmp_path: Path
) -> None:
    asked = await sites.invite(hub, administrator(), "alpha")
    own = settings.model_copy(update={"identity_secret": None})
    identity = await join(own, asked.enrol_address, asked.token, asked.ca_fingerprint)
    store, clock = IdentityFile(tmp_path / "agent", program="fedagent"), SystemClock()

    async def nothing() -> link_pb2.Inventory:
        return link_pb2.Inventory()

    async def commands(command: Any) -> Any:
        raise AssertionError(command)

    async with open_journal(own.journal_path, clock=clock) as journal:
        current, timing, loop_health = (
            CurrentIdentity(identity, store),
            LinkTiming(),
            LoopHealth(clock),
        )
        calls = AgentCalls(
            journal,
            current,
            AgentFacts("0", "uid", nothing),
            commands,
            loop_health=loop_health,
            clock=clock,
            timing=timing,
        )
        connection = HubConnection(
            current, calls, LiveChannel(), loop_health=loop_health, clock=clock, timing=timing
        )
        renewed = replace(identity, chain_pem=identity.chain_pem + b"\n")
        await store.save(renewed)
        await connection.renew()
        assert current.value == renewed
