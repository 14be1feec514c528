"""One suite for both places where an agent keeps who it is: a file, and a Secret of its cluster."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedagent.kube import objects
from fedagent.kube.client import Kube, connect
from fedagent.kube.kinds import NAMESPACES, SECRETS
from fedagent.link.identity_secret import IdentitySecret
from fedcore.errors import ErrorCode, FedError, Invalid, NotFound
from fedlink.identity import Identity, IdentityFile, IdentityStore, make_key
from fedsim.kube import Delays, KubeSettings, SimulatedKube

PLACE, NAME = "agents", "fedagent-identity"
WHO = Identity(
    hub_id="hub-1",
    site_id="site-1",
    site_name="alpha",
    agent_id="agent-1",
    link_address="hub.example.com:8445",
    trust_domain="federation.internal",
    key_pem=b"key\n",
    chain_pem=b"chain\n",
    roots_pem=b"roots\n",
    trust_version=1,
)
RENEWED = replace(WHO, key_pem=b"new key\n", chain_pem=b"new chain\n")


@pytest.fixture
async def simulated() -> AsyncIterator[SimulatedKube]:
    async with SimulatedKube(KubeSettings(delays=Delays.none(), data_plane=False)) as opened:
        yield opened


@pytest.fixture
async def kube(simulated: SimulatedKube, tmp_path: Path) -> AsyncIterator[Kube]:
    simulated.write_kubeconfig(tmp_path / "kubeconfig")
    async with connect(tmp_path / "kubeconfig") as opened:
        await objects.create(opened, NAMESPACES, {"metadata": {"name": PLACE}})
        yield opened


@pytest.fixture(params=["file", "secret"])
def opened(request: Any, kube: Kube, tmp_path: Path) -> Callable[[], IdentityStore]:
    """Open the same place anew, as another process does."""
    if request.param == "file":
        return lambda: IdentityFile(tmp_path / "state", program="fedagent")
    return lambda: IdentitySecret(kube, PLACE, NAME)


async def test_where_nobody_joined_there_is_no_identity(opened: Any) -> None:
    assert not await opened().exists()
    with pytest.raises(NotFound, match="fedagent join"):
        await opened().load()


async def test_an_identity_is_found_again_by_the_next_process(opened: Any) -> None:
    await opened().save(WHO)
    assert await opened().exists()
    assert await opened().load() == WHO


async def test_the_key_of_a_join_under_way_is_the_same_after_a_crash(opened: Any) -> None:
    key = await opened().pending_key()
    assert key.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert await opened().pending_key() == key
    assert not await opened().exists()
    await opened().drop_pending_key()
    assert await opened().pending_key() != key


async def test_a_join_that_is_complete_leaves_no_key_behind(opened: Any) -> None:
    store = opened()
    key = await store.pending_key()
    await store.save(replace(WHO, key_pem=key))
    await store.drop_pending_key()
    assert (await opened().load()).key_pem == key
    assert await opened().pending_key() != key


async def test_a_renewal_replaces_key_and_certificate_together(opened: Any) -> None:
    await opened().save(WHO)
    store = opened()
    await store.load()
    await store.save(RENEWED)
    await store.save(replace(RENEWED, trust_version=2))
    found = await opened().load()
    assert (found.key_pem, found.chain_pem) == (RENEWED.key_pem, RENEWED.chain_pem)
    assert found.trust_version == 2


async def test_the_place_is_named_for_people(opened: Any, tmp_path: Path) -> None:
    assert opened().place in {f"Secret {PLACE}/{NAME}", f"file {tmp_path}/state/identity.json"}


def secret(kube: Kube) -> IdentitySecret:
    return IdentitySecret(kube, PLACE, NAME)


async def test_the_secret_is_opaque_and_labelled_as_ours(kube: Kube) -> None:
    await secret(kube).save(WHO)
    body = await objects.get(kube, SECRETS, NAME, namespace=PLACE)
    assert body["type"] == "Opaque"
    assert body["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "fate-lifecycle-manager",
        "fate-lifecycle-manager.io/hub": "hub-1",
    }


async def test_a_renewal_is_one_put(kube: Kube) -> None:
    store = secret(kube)
    await store.save(WHO)
    before = kube.requests
    await store.save(RENEWED)
    assert kube.requests == before + 1


async def test_two_agents_cannot_both_write(kube: Kube) -> None:
    await secret(kube).save(WHO)
    one, other = secret(kube), secret(kube)
    await one.load()
    await other.load()
    await one.save(RENEWED)
    with pytest.raises(FedError, match=f"{PLACE}/{NAME}") as refused:
        await other.save(replace(WHO, key_pem=make_key()))
    assert refused.value.code is ErrorCode.CONFLICT
    assert await secret(kube).load() == RENEWED


async def test_a_label_that_somebody_adds_is_no_other_agent(kube: Kube) -> None:
    store = secret(kube)
    await store.save(WHO)
    change = {"metadata": {"labels": {"team": "platform"}}}
    await objects.patch(kube, SECRETS, NAME, change, namespace=PLACE)
    await store.save(RENEWED)
    assert await secret(kube).load() == RENEWED
    body = await objects.get(kube, SECRETS, NAME, namespace=PLACE)
    assert body["metadata"]["labels"]["team"] == "platform"


async def test_an_empty_secret_made_beforehand_is_used(kube: Kube) -> None:
    body = {"metadata": {"name": NAME}, "type": "Opaque"}
    await objects.create(kube, SECRETS, body, namespace=PLACE)
    assert not await secret(kube).exists()
    store = secret(kube)
    await store.pending_key()
    await store.save(WHO)
    assert await secret(kube).load() == WHO


async def test_a_secret_of_something_else_is_left_alone(kube: Kube) -> None:
    data = {"password": base64.b64encode(b"precious").decode()}
    body = {"metadata": {"name": NAME}, "data": data}
    await objects.create(kube, SECRETS, body, namespace=PLACE)
    for act in (secret(kube).exists, secret(kube).pending_key, lambda: secret(kube).save(WHO)):
        with pytest.raises(Invalid, match="something else"):
            await act()
    found = await objects.get(kube, SECRETS, NAME, namespace=PLACE)
    assert found["data"] == data


async def test_a_file_becomes_a_secret_by_kubectl(kube: Kube, tmp_path: Path) -> None:
    file = IdentityFile(tmp_path / "state", program="fedagent")
    await file.save(WHO)
    text = (tmp_path / "state" / "identity.json").read_bytes()
    data = {"identity.json": base64.b64encode(text).decode()}
    await objects.create(kube, SECRETS, {"metadata": {"name": NAME}, "data": data}, namespace=PLACE)
    assert await secret(kube).load() == WHO


@pytest.mark.parametrize("content", [b"nonsense", b"{}", json.dumps([1]).encode()])
async def test_an_identity_that_cannot_be_read_is_named(kube: Kube, content: bytes) -> None:
    data = {"identity.json": base64.b64encode(content).decode()}
    await objects.create(kube, SECRETS, {"metadata": {"name": NAME}, "data": data}, namespace=PLACE)
    with pytest.raises(Invalid, match=f"{PLACE}/{NAME}"):
        await secret(kube).load()


async def test_a_missing_right_names_the_rule(kube: Kube, simulated: SimulatedKube) -> None:
    simulated.faults.set("forbidden", "*/secrets")
    with pytest.raises(FedError, match="deploy/rbac") as refused:
        await secret(kube).exists()
    assert refused.value.code is ErrorCode.DENIED
