from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from tests.support.controlplane import (
    SOURCE,
    ControlPlane,
    find_binaries,
    require_binaries,
    running_control_plane,
)
from tests.support.kubeapi import ApiError, KubeApi, conditions
from tests.support.kwok import Behaviour
from tests.support.patience import time_limit, until
from tests.support.processes import ProcessEndedError

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="session")]

ROOT = Path(__file__).parents[2]


def deployment(name: str, *, replicas: int = 1, annotations: dict[str, str] | None = None) -> dict:
    pod = {
        "metadata": {"labels": {"app": name}, "annotations": annotations or {}},
        "spec": {
            # The namespace controller waits for half of this before it looks again.
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "example.com/server:1"}],
        },
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": pod}
    return {"metadata": {"name": name}, "spec": spec}


async def run(cluster: ControlPlane, namespace: str, **settings) -> str:
    """Create a namespace with the Deployment `web` in it and return the Deployment's path."""
    await cluster.api.create_namespace(namespace)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await cluster.api.post(path, deployment("web", **settings))
    return f"{path}/web"


def is_available(found: dict) -> bool:
    return conditions(found).get("Available") == "True"


async def first_pod(cluster: ControlPlane, namespace: str, state: str) -> dict:
    """Wait for a pod whose only container is in the state and return its container's status."""
    pods = f"/api/v1/namespaces/{namespace}/pods"

    def first(found: dict) -> dict:
        statuses = [s for p in found["items"] for s in p["status"].get("containerStatuses", ())]
        return next((s for s in statuses if state in str(s["state"])), {})

    return first(await cluster.api.wait(pods, lambda found: bool(first(found))))


@asynccontextmanager
async def socket_to(
    api: KubeApi, path: str, protocol: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Open one of the API server's channel protocols over a WebSocket."""
    tls = ssl.create_default_context(cafile=api.ca)
    headers = {"Authorization": f"Bearer {api.token}"}
    async with (
        time_limit(),
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(api.url + path, ssl=tls, protocols=[protocol]) as socket,
    ):
        yield socket


async def test_the_api_server_reports_the_pinned_version(control_plane: ControlPlane):
    version = await control_plane.api.get("/version")

    pinned = next(
        line.split()[1]
        for line in (SOURCE / "go.mod").read_text().splitlines()
        if line.split()[:1] == ["k8s.io/kubernetes"]
    )
    assert version["gitVersion"] == pinned


async def test_a_deployment_becomes_available(control_plane: ControlPlane, fresh_name: str):
    path = await run(control_plane, fresh_name, replicas=2)

    found = await control_plane.api.wait(path, is_available)

    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]


async def test_a_job_succeeds(control_plane: ControlPlane, fresh_name: str):
    await control_plane.api.create_namespace(fresh_name)
    jobs = f"/apis/batch/v1/namespaces/{fresh_name}/jobs"
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]}
    job = {"metadata": {"name": "once"}, "spec": {"template": {"spec": pod}}}
    await control_plane.api.post(jobs, job)

    await control_plane.api.wait(
        f"{jobs}/once", lambda found: conditions(found).get("Complete") == "True"
    )


async def test_a_claim_is_bound_and_its_volume_goes_with_it(
    control_plane: ControlPlane, fresh_name: str
):
    await control_plane.api.create_namespace(fresh_name)
    claims = f"/api/v1/namespaces/{fresh_name}/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    await control_plane.api.post(claims, {"metadata": {"name": "data"}, "spec": spec})

    bound = await control_plane.api.wait(
        f"{claims}/data", lambda found: found["status"]["phase"] == "Bound"
    )
    await control_plane.api.delete(f"{claims}/data")

    volume = bound["spec"]["volumeName"]
    await control_plane.api.wait_gone(f"/api/v1/persistentvolumes/{volume}")


async def test_a_deleted_namespace_takes_its_pods_along(
    control_plane: ControlPlane, fresh_name: str
):
    path = await run(control_plane, fresh_name)
    await control_plane.api.wait(path, is_available)

    await control_plane.api.delete(f"/api/v1/namespaces/{fresh_name}")

    await control_plane.api.wait_gone(f"/api/v1/namespaces/{fresh_name}")


async def test_a_load_balancer_stays_pending_but_has_a_node_port(
    control_plane: ControlPlane, fresh_name: str
):
    await control_plane.api.create_namespace(fresh_name)
    ports = [{"name": "tls-port", "port": 6651}]
    service = {"metadata": {"name": "public"}, "spec": {"type": "LoadBalancer", "ports": ports}}

    made = await control_plane.api.post(f"/api/v1/namespaces/{fresh_name}/services", service)

    assert 30000 <= made["spec"]["ports"][0]["nodePort"] <= 32767
    assert made["status"]["loadBalancer"] == {}


async def test_exec_runs_a_command_found_in_the_bin_folder(
    control_plane: ControlPlane, fresh_name: str, tmp_path: Path
):
    path = await run(control_plane, fresh_name)
    script = control_plane.bin / "greet"
    script.write_text('#!/bin/sh\necho "$GREETING from $PWD"\n')
    script.chmod(0o755)
    await control_plane.kwok.allow_exec(fresh_name, folder=tmp_path, env={"GREETING": "hello"})
    await control_plane.api.wait(path, is_available)
    pods = await control_plane.api.get(f"/api/v1/namespaces/{fresh_name}/pods")
    name = pods["items"][0]["metadata"]["name"]

    output = await output_of(control_plane.api, f"/api/v1/namespaces/{fresh_name}/pods/{name}")

    assert output.decode() == f"hello from {tmp_path}\n"


async def output_of(api: KubeApi, pod: str) -> bytes:
    """Return what the command `greet` writes to its standard output in a pod."""
    path = f"{pod}/exec?command=greet&stdout=true&stderr=true"
    output = b""
    async with socket_to(api, path, "v4.channel.k8s.io") as socket:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY and message.data[:1] == b"\x01":
                output += message.data[1:]
    return output


@asynccontextmanager
async def running_echo() -> AsyncIterator[asyncio.Server]:
    """Answer a line to each connection, and leave none open: kwok may keep its end."""
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(b"echo " + await reader.readline())
        await writer.drain()
        writer.write_eof()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server
        for writer in writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def test_a_port_forward_reaches_a_port_of_the_host(
    control_plane: ControlPlane, fresh_name: str
):
    path = await run(control_plane, fresh_name)
    async with running_echo() as server:
        port = server.sockets[0].getsockname()[1]
        await control_plane.kwok.forward(fresh_name, {8080: port})
        await control_plane.api.wait(path, is_available)
        pods = await control_plane.api.get(f"/api/v1/namespaces/{fresh_name}/pods")
        name = quote(pods["items"][0]["metadata"]["name"])
        forward = f"/api/v1/namespaces/{fresh_name}/pods/{name}/portforward?ports=8080"
        received = b""
        async with socket_to(control_plane.api, forward, "v4.channel.k8s.io") as socket:
            await socket.send_bytes(b"\x00hello\n")
            async for message in socket:
                # The first message of each channel names its port.
                if message.data[:1] == b"\x00" and len(message.data) != 3:
                    received += message.data[1:]
                if received.endswith(b"\n"):
                    break

    assert received == b"echo hello\n"


@pytest.mark.parametrize(
    ("behaviour", "sign"),
    [
        (Behaviour.CRASH, "CrashLoopBackOff"),
        (Behaviour.IMAGE_PULL, "ErrImagePull"),
        (Behaviour.FAILED_MOUNT, "ContainerCreating"),
        (Behaviour.NEVER_READY, "running"),
    ],
)
async def test_an_annotation_makes_a_pod_misbehave(
    control_plane: ControlPlane, fresh_name: str, behaviour: Behaviour, sign: str
):
    annotations = {"fate.test/behaviour": behaviour}

    path = await run(control_plane, fresh_name, annotations=annotations)

    status = await first_pod(control_plane, fresh_name, sign)
    assert not status["ready"]
    assert not is_available(await control_plane.api.get(path))
    events = f"/api/v1/namespaces/{fresh_name}/events"
    await control_plane.api.wait(
        events, lambda found: any(e["type"] == "Warning" for e in found["items"])
    )


async def test_pods_misbehave_while_a_test_wants_it_and_are_well_again_afterwards(
    control_plane: ControlPlane, fresh_name: str
):
    path = await run(control_plane, fresh_name)
    await control_plane.api.wait(path, is_available)

    async with control_plane.kwok.misbehaving(Behaviour.CRASH, namespace=fresh_name):
        await control_plane.api.wait(path, lambda found: not is_available(found))

    await control_plane.api.wait(path, is_available)


async def test_only_pods_with_the_labels_are_slow(control_plane: ControlPlane, fresh_name: str):
    await control_plane.api.create_namespace(fresh_name)
    deployments = f"/apis/apps/v1/namespaces/{fresh_name}/deployments"

    async with control_plane.kwok.slow(600, namespace=fresh_name, labels={"app": "slow"}):
        await control_plane.api.post(deployments, deployment("slow"))
        await control_plane.api.post(deployments, deployment("quick"))
        await control_plane.api.wait(f"{deployments}/quick", is_available)
        slow = await control_plane.api.get(f"{deployments}/slow")

    assert not is_available(slow)
    await control_plane.api.wait(f"{deployments}/slow", is_available)


async def test_a_service_account_may_do_what_its_rules_say_and_no_more(
    control_plane: ControlPlane, fresh_name: str
):
    await control_plane.api.create_namespace(fresh_name)
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]

    token = await control_plane.api.create_service_account(
        "reader", namespace=fresh_name, rules=rules
    )

    api = KubeApi(control_plane.url, token, control_plane.api.ca)
    await api.get(f"/api/v1/namespaces/{fresh_name}/configmaps")
    with pytest.raises(ApiError, match="403"):
        await api.get(f"/api/v1/namespaces/{fresh_name}/secrets")
    with pytest.raises(ApiError, match="403"):
        await api.get("/api/v1/namespaces/default/configmaps")


async def test_a_service_account_gets_a_kubeconfig_only_its_owner_can_read(
    control_plane: ControlPlane, fresh_name: str
):
    await control_plane.api.create_namespace(fresh_name)

    path = await control_plane.create_service_account(
        "agent", namespace=fresh_name, rules=[], cluster_wide=False
    )

    assert path.stat().st_mode & 0o777 == 0o600
    assert control_plane.token not in path.read_text()


async def test_an_api_server_that_was_killed_comes_back_with_its_objects():
    async with running_control_plane(api_only=True) as cluster:
        await cluster.api.post("/api/v1/namespaces", {"metadata": {"name": "kept"}})

        cluster.kill("kube-apiserver")
        with pytest.raises(aiohttp.ClientConnectionError):
            await cluster.api.get("/api/v1/namespaces/kept")
        await cluster.restart("kube-apiserver")

        await cluster.api.get("/api/v1/namespaces/kept")


async def test_a_frozen_api_server_accepts_and_does_not_answer(control_plane: ControlPlane):
    control_plane.pause("kube-apiserver")
    try:
        assert not await control_plane.api.is_ready()
    finally:
        control_plane.resume("kube-apiserver")

    await control_plane.wait_ready()


async def test_stop_leaves_no_process_and_no_folder():
    async with running_control_plane(api_only=True) as cluster:
        groups = [process.child.pid for process in cluster.processes.values()]
        assert len(groups) == 2

    for group in groups:
        with pytest.raises(ProcessLookupError):
            os.killpg(group, 0)
    assert not cluster.folder.exists()


async def test_nothing_survives_the_death_of_the_test_process(tmp_path: Path):
    require_binaries(api_only=True)
    script = tmp_path / "holder.py"
    script.write_text(
        "import asyncio\n"
        "from tests.support.controlplane import running_control_plane\n"
        "async def main():\n"
        "    async with running_control_plane(api_only=True) as cluster:\n"
        "        print(*(p.child.pid for p in cluster.processes.values()), flush=True)\n"
        "        print(cluster.folder, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    holder = await asyncio.create_subprocess_exec(
        sys.executable,
        script,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    pids = [int(pid) for pid in (await holder.stdout.readline()).split()]
    await holder.stdout.readline()

    holder.kill()
    await holder.wait()

    await until(lambda: not any(is_running(pid) for pid in pids))


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_clusters_run_side_by_side():
    async with (
        running_control_plane(api_only=True) as one,
        running_control_plane(api_only=True) as two,
    ):
        await one.api.post("/api/v1/namespaces", {"metadata": {"name": "mine"}})

        with pytest.raises(ApiError, match="404"):
            await two.api.get("/api/v1/namespaces/mine")


async def test_a_program_that_cannot_start_is_named_with_its_log():
    cluster = ControlPlane(require_binaries(api_only=True), api_only=True)
    try:
        cluster._apiserver_flags = lambda: ["--no-such-flag"]
        with pytest.raises(ProcessEndedError, match=r"kube-apiserver[\s\S]*no-such-flag"):
            await cluster.start()
    finally:
        cluster.stop()


async def test_where_the_programs_are_missing_the_command_that_builds_them_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)

    with pytest.raises(pytest.skip.Exception, match="make controlplane"):
        require_binaries()


async def test_the_assets_of_envtest_serve_when_only_the_api_is_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for name in ("etcd", "kube-apiserver"):
        (tmp_path / name).touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    assert find_binaries(api_only=True) == tmp_path
    assert find_binaries() is None
