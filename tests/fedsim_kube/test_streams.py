from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import replace

import aiohttp
import pytest

from fedsim.kube import Forward, SimulatedKube

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
async def pod(client):
    return await running(client, "kubefate-0")


async def running(client, name):
    spec = {"containers": [{"name": "main", "image": "x:1"}]}
    await client.create(PODS, {"metadata": {"name": name}, "spec": spec})
    return await client.until(
        f"{PODS}/{name}", lambda body: body["status"].get("phase") == "Running"
    )


async def test_a_port_forward_lands_where_it_is_told(settings, connect, client_of) -> None:
    async def shout(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    forwards = (Forward.parse(f"default/kubefate-:8080=127.0.0.1:{port}"),)
    async with (
        server,
        SimulatedKube(replace(settings, forwards=forwards)) as kube,
        connect(kube) as session,
    ):
        await running(client_of(kube, session), "kubefate-0")
        url = f"{kube.url}{PODS}/kubefate-0/portforward?ports=8080"
        async with session.ws_connect(url, protocols=("v4.channel.k8s.io",)) as socket:
            for channel in (0, 1):
                frame = await socket.receive_bytes()
                assert frame == bytes([channel]) + struct.pack("<H", 8080)
            await socket.send_bytes(b"\x00hello\n")
            assert await socket.receive_bytes() == b"\x00HELLO\n"
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE


@pytest.mark.usefixtures("pod")
async def test_a_port_without_a_target_is_refused_on_the_error_channel(client) -> None:
    url = f"{client.kube.url}{PODS}/kubefate-0/portforward?ports=8080"
    async with client.session.ws_connect(url, protocols=("v4.channel.k8s.io",)) as socket:
        await socket.receive_bytes()
        await socket.receive_bytes()
        refusal = await socket.receive_bytes()
    assert refusal[0] == 1
    assert b"connection refused" in refusal


@pytest.mark.usefixtures("pod")
async def test_exec_is_refused_without_a_command_and_by_the_fault(client) -> None:
    url = f"{PODS}/kubefate-0/exec"
    assert (await client.call("GET", url)).status == 400
    assert (await client.call("GET", url, command="ls")).status == 400
    client.kube.faults.set("exec-fails", "kubefate-0")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.session.ws_connect(
            f"{client.kube.url}{url}?command=ls", protocols=("v4.channel.k8s.io",)
        )
    assert caught.value.status == 500


@pytest.mark.usefixtures("pod")
async def test_the_outcome_of_a_command_comes_on_its_channel(client) -> None:
    url = f"{client.kube.url}{PODS}/kubefate-0/exec?command=echo&command=hi"
    async with client.session.ws_connect(url, protocols=("v5.channel.k8s.io",)) as socket:
        frames = [message.data async for message in socket]
    assert frames[0] == b"\x01hi\n"
    assert json.loads(frames[1][1:])["status"] == "Success"


async def test_logs_of_a_container_that_waits_are_refused(client) -> None:
    client.kube.faults.set("slow-image", "600")
    spec = {"containers": [{"name": "main", "image": "x:1"}]}
    await client.create(PODS, {"metadata": {"name": "p"}, "spec": spec})
    refused = await client.call("GET", f"{PODS}/p/log", container="main")
    assert refused.status == 400
    assert "is waiting to start" in refused.body["message"]
    unknown = await client.call("GET", f"{PODS}/p/log", container="side")
    assert "container side is not valid" in unknown.body["message"]


async def test_the_last_lines_of_a_log_are_read(client, pod) -> None:
    client.kube.cluster.logs.write(pod["metadata"]["uid"], "main", "second")
    text = (await client.call("GET", f"{PODS}/kubefate-0/log", tailLines="1")).body
    assert text == "second\n"
    whole = (await client.call("GET", f"{PODS}/kubefate-0/log")).body
    assert whole.endswith("\nsecond\n")
