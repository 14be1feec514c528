from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import replace

import aiohttp
import pytest
import yaml
from tests.support.patience import time_limit, until

from fedsim.kube import Forward, SimulatedKube

MAPS = "/api/v1/namespaces/default/configmaps"


async def test_a_state_file_keeps_the_cluster_over_a_restart(
    settings, connect, client_of, tmp_path, deployment
) -> None:
    kept = replace(settings, state=tmp_path / "kube.db")
    deployments = "/apis/apps/v1/namespaces/default/deployments"

    def available(obj):
        return (obj.get("status") or {}).get("availableReplicas")

    async with SimulatedKube(kept) as first, connect(first) as session:
        client = client_of(first, session)
        made = await client.create(MAPS, {"metadata": {"name": "a"}, "data": {"x": "1"}})
        await client.create(deployments, deployment())
        await client.until(f"{deployments}/web", available)
        space = await client.get("/api/v1/namespaces/kube-system")
        kubeconfig, version = first.kubeconfig, first.store.version
    assert (tmp_path / "kube.db").stat().st_mode & 0o777 == 0o600
    async with SimulatedKube(kept) as second, connect(second) as session:
        client = client_of(second, session)
        assert second.kubeconfig == kubeconfig
        assert await client.get(f"{MAPS}/a") == made
        assert await client.get("/api/v1/namespaces/kube-system") == space
        later = await client.create(MAPS, {"metadata": {"name": "b"}})
        assert int(later["metadata"]["resourceVersion"]) > version
        pods = "/api/v1/namespaces/default/pods"
        (pod,) = (await client.get(pods))["items"]
        assert pod["status"]["phase"] == "Running"
        await client.call("DELETE", f"{pods}/{pod['metadata']['name']}")
        await client.until(
            pods,
            lambda body: [
                p for p in body["items"] if p["metadata"]["uid"] != pod["metadata"]["uid"]
            ],
        )


async def test_the_admin_endpoint_orders_faults(client) -> None:
    url = client.kube.admin_url
    async with aiohttp.ClientSession() as admin:
        async with admin.put(f"{url}/faults/slow-image", data="5:web") as answer:
            assert await answer.json() == {"name": "slow-image", "argument": "5:web"}
        async with admin.get(f"{url}/faults") as answer:
            assert (await answer.json())["ordered"] == {"slow-image": "5:web"}
        async with admin.put(f"{url}/faults/job-hang") as answer:
            assert answer.status == 400
            assert "no fault of kube" in (await answer.json())["error"]
        async with admin.put(f"{url}/faults/slow-image", data="soon") as answer:
            assert answer.status == 400
        async with admin.delete(f"{url}/faults/slow-image") as answer:
            assert answer.status == 200
        async with admin.get(f"{url}/faults/slow-image") as answer:
            assert answer.status == 404


async def test_requests_fail_as_ordered(client) -> None:
    faults = client.kube.faults
    faults.set("api-errors", "2")
    assert [(await client.call("GET", MAPS)).status for _ in range(3)] == [500, 500, 200]
    faults.set("api-throttled", "1")
    assert (await client.call("GET", MAPS)).status == 429
    faults.set("forbidden", "create/configmaps")
    refused = await client.call("POST", MAPS, {"kind": "ConfigMap", "metadata": {"name": "a"}})
    assert (refused.status, refused.body["reason"]) == (403, "Forbidden")
    assert (await client.call("GET", MAPS)).status == 200
    faults.clear_all()
    await client.create(MAPS, {"metadata": {"name": "a"}})
    faults.set("conflicts", "1")
    patch = {"data": {"x": "1"}}
    kind = "application/merge-patch+json"
    assert (await client.send("PATCH", f"{MAPS}/a", patch, kind)).status == 409
    assert (await client.send("PATCH", f"{MAPS}/a", patch, kind)).status == 200


@pytest.mark.parametrize("text", ["a", "a/b", "a/b:1", "a/b:x=c:1", "a/b:1=c", "a/b:1=:2"])
def test_a_forward_that_makes_no_sense_is_refused(text) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Forward.parse(text)


async def test_the_program_serves_until_it_is_told_to_stop(tmp_path) -> None:
    ready, kubeconfig = tmp_path / "ready.json", tmp_path / "kubeconfig"
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import typer; from fedsim.kube.serve import command; typer.run(command)",
        f"--kubeconfig={kubeconfig}",
        f"--ready-file={ready}",
        "--admin-port=0",
        "--fault=slow-image=3",
        "--ready-delay=0-0.1",
    )
    try:
        await until(ready.exists)
        facts = json.loads(ready.read_text())
        assert facts["node_ip"] == "127.0.0.1"
        config = yaml.safe_load(kubeconfig.read_text())
        assert config["clusters"][0]["cluster"]["server"] == facts["url"]
        async with (
            aiohttp.ClientSession() as admin,
            admin.get(f"{facts['admin_url']}/faults") as got,
        ):
            assert (await got.json())["ordered"] == {"slow-image": "3"}
        program.send_signal(signal.SIGTERM)
        async with time_limit():
            assert await program.wait() == 0
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
