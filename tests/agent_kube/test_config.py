from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedagent.kube.config import BadConfig, load_access, read_service_account
from fedagent.kube.timing import KubeTiming

TOKEN = "hush"
TIMING = KubeTiming()


def kubeconfig(folder: Path, **user: str) -> Path:
    path = folder / "config"
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1/"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(config))
    return path


async def test_a_kubeconfig_gives_server_token_and_namespace(tmp_path: Path) -> None:
    access = await load_access(kubeconfig(tmp_path, token=TOKEN), timing=TIMING)
    assert access.url == "http://127.0.0.1:1"
    assert access.namespace == "n"
    assert await access.token.header() == f"Bearer {TOKEN}"


async def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    access = await load_access(kubeconfig(tmp_path, tokenFile=str(file)), timing=TIMING)
    assert await access.token.header() == "Bearer one"
    file.write_text("two")
    access.token.forget()
    assert await access.token.header() == "Bearer two"


async def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="there is no kubeconfig"):
        await load_access(tmp_path / "none", timing=TIMING)
    path = tmp_path / "config"
    for text in ("", "{", "[]", "current-context: x"):
        path.write_text(text)
        with pytest.raises(BadConfig, match="config"):
            await load_access(path, timing=TIMING)


async def test_an_unknown_context_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="other"):
        await load_access(kubeconfig(tmp_path, token=TOKEN), context="other", timing=TIMING)


def test_outside_a_pod_there_is_no_service_account(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="no Kubernetes pod"):
        read_service_account(tmp_path, {}, token_s=60.0)
