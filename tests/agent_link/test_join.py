from __future__ import annotations

import stat
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest
from tests.support.principals import administrator

from fedagent.link.enrolment import AgentEnrolment
from fedca.csr import parse_csr
from fedcore.errors import Denied, ErrorCode, FedError, Invalid, Unavailable
from fedhub.run import running_hub
from fedhub.services import sites
from fedhub.settings import HubSettings
from fedlink import enrolment
from fedlink.identity import IdentityFile, make_csr, make_key
from fedlink.timing import LinkTiming


@pytest.fixture
async def hub(tmp_path):
    settings = HubSettings(
        state=tmp_path / "hub",
        listen="127.0.0.1:0",
        enrol_listen="127.0.0.1:0",
        link_listen="127.0.0.1:0",
    )
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_hub(settings))
        yield running.hub


@pytest.fixture
def identities(tmp_path):
    return IdentityFile(tmp_path / "agent", program="fedagent")


@dataclass(frozen=True)
class Joining:
    hub_address: str
    token: str
    ca_fingerprint: str


async def join(joining, store):
    calls = AgentEnrolment(
        token=joining.token,
        cluster_uid="cluster-1",
        instance_id="instance-1",
        agent_version="0.1.0",
        limit_s=20.0,
    )
    request = enrolment.JoinRequest(joining.hub_address, joining.ca_fingerprint)
    return await enrolment.join(request, calls, store, common_name="fedagent", timing=LinkTiming())


async def request(hub, **changes):
    invitation = await sites.invite(hub, administrator(), "alpha")
    return replace(
        Joining(
            hub_address=invitation.enrol_address,
            token=invitation.token,
            ca_fingerprint=invitation.ca_fingerprint,
        ),
        **changes,
    )


async def test_joining_leaves_an_identity_that_only_its_owner_can_read(hub, identities, tmp_path):
    identity = await join(await request(hub), identities)
    assert (identity.site_name, identity.hub_name) == ("alpha", "hub.federation.internal")
    path = tmp_path / "agent" / "identity.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await identities.load() == identity
    assert not (tmp_path / "agent" / "join.key").exists()


async def test_a_join_that_lost_its_answer_is_repeated_with_the_same_key(hub, identities):
    asked = await request(hub)
    key = await identities.pending_key()
    first = await join(asked, identities)
    assert first.key_pem == key
    (identities._path.with_name("join.key")).write_bytes(key)
    again = await join(asked, identities)
    assert (again.agent_id, again.chain_pem) == (first.agent_id, first.chain_pem)


async def test_a_used_token_with_another_key_is_refused(hub, identities, tmp_path):
    asked = await request(hub)
    await join(asked, identities)
    with pytest.raises(FedError) as refused:
        await join(asked, IdentityFile(tmp_path / "thief", program="fedagent"))
    assert refused.value.code is ErrorCode.UNAUTHENTICATED


async def test_the_token_is_not_sent_to_a_hub_with_another_root(hub, identities, tmp_path):
    asked = await request(hub)
    with pytest.raises(Denied, match="not sent"):
        await join(replace(asked, ca_fingerprint="sha256:" + "0" * 64), identities)
    # The token is still good: nobody has seen it.
    assert (await join(asked, identities)).site_name == "alpha"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ca_fingerprint", "sha256:xyz"),
        ("ca_fingerprint", ""),
        ("hub_address", "nowhere"),
        ("hub_address", ":8444"),
    ],
)
async def test_what_the_administrator_mistypes_is_named(hub, identities, field, value):
    with pytest.raises(Invalid):
        await join(await request(hub, **{field: value}), identities)


async def test_a_hub_that_is_not_there_is_named(hub, identities):
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await join(await request(hub, hub_address="127.0.0.1:1"), identities)


def test_a_request_holds_the_key_and_nothing_that_counts():
    key = parse_csr(make_csr(make_key(), "x" * 200))
    assert key.kind.value.lower() == "p256"
