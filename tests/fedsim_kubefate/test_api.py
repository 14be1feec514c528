from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import sys
from datetime import datetime

import aiohttp
import pytest
from tests.contract.kubefate.client import exchange_spec
from tests.support.patience import time_limit, until

from fedsim.kubefate.kubeconfig import KubeconfigError, load_access

PROGRAM = "import typer; from fedsim.kubefate.serve import command; typer.run(command)"


async def test_a_token_lives_half_an_hour(bench):
    bench.clock.move(minutes=29)
    assert (await bench.client.call("GET", "/v1/version/")).status == 200
    bench.clock.move(minutes=2)
    answer = await bench.client.call("GET", "/v1/version/")
    assert answer.status == 401
    assert answer.json["message"].startswith("token is expired by ")


@pytest.mark.parametrize("token", ["x", "a.b.c", "e30.e30.", "..", "e30.bnVsbA.x"])
async def test_a_token_that_is_none_is_refused(bench, token):
    assert (await bench.client.call("GET", "/v1/version/", token=token)).status == 401


async def test_other_authorization_schemes_are_not_looked_at(bench):
    headers = {"Authorization": f"Token {bench.client.token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{bench.service.url}/v1/version/", headers=headers) as answer,
    ):
        assert (await answer.json())["message"] == "cookie token is empty"


async def test_an_unreachable_kubernetes_fails_the_job(bench, monkeypatch):
    await bench.api.__aexit__()
    monkeypatch.setattr(type(bench.api), "__aexit__", _nothing)
    job = await bench.client.finish("POST", exchange_spec("site", {}))
    states = await bench.states_of(job["uuid"], "helm install error, ")
    assert states[-1].startswith("helm install error, Kubernetes cluster unreachable: ")


async def _nothing(*_):
    return None


async def test_times_are_written_as_go_writes_them(bench):
    job = await bench.client.finish("POST", exchange_spec("site", {}))
    assert datetime.fromisoformat(job["start_time"]).utcoffset() is not None
    assert job["start_time"].endswith("Z")


def test_a_kubeconfig_with_a_client_certificate_is_read(tmp_path):
    path = tmp_path / "config"
    path.write_text("current-context: nothing\n")
    with pytest.raises(KubeconfigError, match="contexts: no entry named 'nothing'"):
        load_access(path)
    path.write_text("a: [")
    with pytest.raises(KubeconfigError):
        load_access(path)
    with pytest.raises(KubeconfigError):
        load_access(tmp_path / "absent")


@pytest.mark.parametrize(
    ("cluster", "user", "text"),
    [
        ({"server": "ftp://x"}, {}, "is no URL"),
        ({"server": "https://x"}, {"exec": {}}, "plugins are not supported"),
        ({"server": "https://x", "certificate-authority-data": "%"}, {}, "certificate-authority"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_names_the_field(tmp_path, cluster, user, text):
    path = tmp_path / "config"
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(json.dumps(document))
    with pytest.raises(KubeconfigError, match=text):
        load_access(path)


def test_verification_can_be_switched_off_by_the_kubeconfig_alone(tmp_path):
    path = tmp_path / "config"
    cluster = {"server": "https://x", "insecure-skip-tls-verify": True}
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(json.dumps(document))
    access = load_access(path)
    assert access.tls is not None
    assert access.tls.verify_mode is ssl.CERT_NONE
    assert access.token == "t"
    assert "'t'" not in repr(access)


async def test_the_program_writes_its_ready_file_and_stops_cleanly_on_sigterm(api, tmp_path):
    ready = tmp_path / "ready.json"
    options = ["--kubeconfig", str(api.kubeconfig(tmp_path)), "--ready-file", str(ready)]
    options += ["--admin-port", "0", "--fault", "job-hang=a", "--fault", "job-hang=b"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, *options, stdout=asyncio.subprocess.PIPE
    )
    try:
        await until(ready.exists)
        async with time_limit():
            found = json.loads(ready.read_text())
            async with aiohttp.ClientSession() as session:
                async with session.get(found["url"]) as answer:
                    assert answer.status == 200
                async with session.get(f"{found['admin_url']}/faults") as answer:
                    assert (await answer.json())["ordered"]["job-hang"] == "a,b"
            assert found["pid"] == process.pid
            os.kill(process.pid, signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_program_refuses_a_fault_of_another_service(tmp_path, api):
    options = ["--kubeconfig", str(api.kubeconfig(tmp_path)), "--fault", "slow-image"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, *options, stderr=asyncio.subprocess.PIPE
    )
    async with time_limit():
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"slow-image" in errors
