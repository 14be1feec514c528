from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.patience import patient, time_limit, until

from fedagent.kube import errors, inventory, objects
from fedagent.kube.client import Kube
from fedagent.kube.forward import LocalAddress, pod_selector, port_forward
from fedagent.kube.inventory import Permission
from fedagent.kube.kinds import DEPLOYMENTS, PODS, SECRETS
from fedagent.kube.streams import ExecFailed, execute

pytestmark = pytest.mark.asyncio(loop_scope="session")
LABELS = {"app": "web"}


async def ask(address: LocalAddress, text: bytes) -> bytes:
    async with time_limit():
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(text)
            await writer.drain()
            return await reader.readexactly(len(text))
        except asyncio.IncompleteReadError:
            return b""
        finally:
            writer.close()
            await writer.wait_closed()


async def ask_until_answered(address: LocalAddress, text: bytes) -> bytes:
    return await until(lambda: ask(address, text), "an answer")


async def test_a_command_runs_in_a_pod(
    kube: Kube, namespace: str, cluster: Any, deploy: Any
) -> None:
    await cluster.allow_exec(namespace)
    await deploy()
    pod = await pod_selector(kube, namespace, LABELS)()
    result = await execute_when_allowed(kube, namespace, pod, ["echo", "hello", "there"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, b"hello there\n", b"")


async def execute_when_allowed(kube: Kube, namespace: str, pod: str, command: list[str]) -> Any:
    # kwok hears of the permission a moment later.
    async def attempt() -> Any:
        try:
            return await execute(kube, namespace, pod, command, limit_s=30)
        except (ExecFailed, errors.Unavailable, errors.Invalid):
            return None

    return await until(attempt, "the command may run")


async def test_a_program_that_is_not_there_never_succeeds(
    kube: Kube, namespace: str, cluster: Any, deploy: Any
) -> None:
    await cluster.allow_exec(namespace)
    await deploy()
    pod = await pod_selector(kube, namespace, LABELS)()
    await execute_when_allowed(kube, namespace, pod, ["true"])
    try:
        result = await execute(kube, namespace, pod, ["no-such-program"], limit_s=30)
    except ExecFailed:
        return  # a kubelet that could not start it
    assert result.exit_code not in {0, None}


async def test_a_command_in_a_pod_that_is_not_there_is_not_found(
    kube: Kube, namespace: str
) -> None:
    with pytest.raises(errors.NotFound):
        await execute(kube, namespace, "nobody", ["true"], limit_s=30)


async def test_a_forward_carries_bytes_both_ways_on_many_connections(
    kube: Kube, namespace: str, cluster: Any, deploy: Any, echo_port: int
) -> None:
    await cluster.forward(namespace, 8080, echo_port)
    await deploy()
    choose = pod_selector(kube, namespace, LABELS)
    async with port_forward(kube, namespace, choose, 8080) as address:
        assert await ask_until_answered(address, b"hello") == b"HELLO"
        many = [ask(address, b"x" * 100_000) for _ in range(5)]
        assert await asyncio.gather(*many) == [b"X" * 100_000] * 5


async def test_a_forward_outlives_its_pod(
    kube: Kube, namespace: str, cluster: Any, deploy: Any, echo_port: int
) -> None:
    await cluster.forward(namespace, 8080, echo_port)
    await deploy()
    choose = pod_selector(kube, namespace, LABELS)
    async with port_forward(kube, namespace, choose, 8080) as address:
        await ask_until_answered(address, b"one")
        first = await choose()
        await objects.delete(kube, PODS, first, namespace=namespace)
        assert await objects.wait_gone(kube, PODS, first, namespace=namespace, limit_s=patient())
        assert await ask_until_answered(address, b"two") == b"TWO"
        assert await choose() != first


async def test_a_forward_to_no_pod_closes_the_connection(kube: Kube, namespace: str) -> None:
    choose = pod_selector(kube, namespace, LABELS)
    async with port_forward(kube, namespace, choose, 8080) as address:
        assert await ask(address, b"hello") == b""


async def test_the_inventory_names_the_cluster(kube: Kube) -> None:
    found = await inventory.read_inventory(kube)
    assert len(found.cluster_uid) == 36
    assert found.kubernetes_version.startswith("v1.")
    assert found.default_storage_class == "standard"
    assert found.nodes[0].is_ready
    assert found.nodes[0].addresses
    message = found.to_proto("linux/amd64")
    assert message.node_count == len(found.nodes)
    assert message.kubernetes_version == found.kubernetes_version


async def test_the_agent_can_ask_what_it_may_do(kube: Kube, namespace: str) -> None:
    permissions = [
        Permission("create", SECRETS, namespace),
        Permission("create", PODS, namespace, subresource="exec"),
        Permission("delete", DEPLOYMENTS),
    ]
    assert all([await inventory.may(kube, permission) for permission in permissions])
    assert str(permissions[1]) == f"create pods/exec in {namespace}"
