from __future__ import annotations

import pytest
import yaml
from kubernetes.aio import client as k8s
from kubernetes.aio import config, watch
from kubernetes.aio.stream import WsApiClient


@pytest.fixture
async def official(kube, tmp_path):
    path = tmp_path / "kubeconfig"
    kube.write_kubeconfig(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(path.read_text()) == kube.kubeconfig
    settings = k8s.Configuration()
    await config.load_kube_config(str(path), client_configuration=settings)
    return settings


async def test_the_official_client_writes_reads_and_watches(official) -> None:
    async with k8s.ApiClient(official) as api:
        core = k8s.CoreV1Api(api)
        body = k8s.V1ConfigMap(metadata=k8s.V1ObjectMeta(name="a"), data={"x": "1"})
        made = await core.create_namespaced_config_map("default", body)
        start = made.metadata.resource_version
        merge = "application/merge-patch+json"
        await core.patch_namespaced_config_map(
            "a", "default", {"data": {"x": "2"}}, _content_type=merge
        )
        await core.delete_namespaced_config_map("a", "default")
        async with watch.Watch() as watching:
            stream = watching.stream(
                core.list_namespaced_config_map,
                "default",
                resource_version=start,
                timeout_seconds=1,
            )
            seen = [event["type"] async for event in stream]
        assert seen == ["MODIFIED", "DELETED"]
        with pytest.raises(k8s.ApiException) as caught:
            await core.read_namespaced_config_map("a", "default")
        assert caught.value.status == 404


async def test_the_official_client_applies_on_the_server(official) -> None:
    async with k8s.ApiClient(official) as api:
        core = k8s.CoreV1Api(api)
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s"},
            "data": {"k": "aGVsbG8="},
        }
        for _ in range(2):
            applied = await core.patch_namespaced_secret(
                "s",
                "default",
                body,
                field_manager="fedagent",
                force=True,
                _content_type="application/apply-patch+yaml",
            )
        assert applied.data == {"k": "aGVsbG8="}
        assert applied.metadata.managed_fields[0].manager == "fedagent"


async def test_the_official_client_runs_commands_in_pods(official, client, deployment) -> None:
    await client.namespace()
    mounted = deployment(
        container={"volumeMounts": [{"name": "c", "mountPath": "/etc/conf"}]},
        volumes=[{"name": "c", "configMap": {"name": "conf"}}],
    )
    maps = "/api/v1/namespaces/demo/configmaps"
    await client.create(maps, {"metadata": {"name": "conf"}, "data": {"a.txt": "hello"}})
    await client.create("/apis/apps/v1/namespaces/demo/deployments", mounted)
    found = await client.until(
        "/api/v1/namespaces/demo/pods",
        lambda body: body["items"],
        fieldSelector="status.phase=Running",
    )
    name = found["items"][0]["metadata"]["name"]
    async with WsApiClient(official) as api:
        core = k8s.CoreV1Api(api)
        text = await core.connect_get_namespaced_pod_exec(
            name, "demo", command=["cat", "/etc/conf/a.txt"], stdout=True, stderr=True
        )
        assert text == "hello"
        session = await core.connect_get_namespaced_pod_exec_without_preload_content(
            name, "demo", command=["nope"], stdout=True, stderr=True
        )
        async with session as socket:
            frames = [message.data async for message in socket]
    outcome = next(frame[1:] for frame in frames if frame[:1] == b"\x03")
    assert WsApiClient.parse_error_data(outcome) == 127
    async with k8s.ApiClient(official) as api:
        log = await k8s.CoreV1Api(api).read_namespaced_pod_log(name, "demo")
        assert "simulated container" in log
