"""Tell the fake kubelet what its pods do: run, misbehave, forward ports, execute, log.

kwok takes all of it from objects in the cluster (group `kwok.x-k8s.io`), so a test may change it
while pods run.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import yaml
from tests.support.kubeapi import ApiError, KubeApi, conditions
from tests.support.patience import until

Json = dict[str, Any]

GROUP: Final = "/apis/kwok.x-k8s.io/v1alpha1"
TOUCH_S: Final = 0.3
PLURALS: Final = {
    "Stage": "stages",
    "ClusterPortForward": "clusterportforwards",
    "ClusterExec": "clusterexecs",
    "ClusterLogs": "clusterlogs",
}


class Behaviour(StrEnum):
    """How a pod may misbehave. On a single pod: the annotation `fate.test/behaviour`."""

    NEVER_READY = "never-ready"
    CRASH = "crash"
    IMAGE_PULL = "image-pull"
    FAILED_MOUNT = "failed-mount"


class Kwok:
    """The fake kubelets of one control plane, on one loopback address that all nodes share."""

    def __init__(self, api: KubeApi, port: int, node_ip: str = "127.0.0.1") -> None:
        self._api = api
        self._port = port
        self._node_ip = node_ip
        self._stages: dict[str, Json] = {}
        self._count = 0

    def flags(self) -> tuple[str, ...]:
        """Return the command line, without the kubeconfig."""
        return (
            "--manage-all-nodes",
            f"--node-ip={self._node_ip}",
            f"--node-port={self._port}",
            f"--server-address={self._node_ip}:{self._port}",
            "--node-lease-duration-seconds=40",
            "--cidr=10.244.0.0/16",
            f"--enable-crds={','.join(PLURALS)}",
        )

    async def prepare(self, stages: Path) -> None:
        """Define kwok's kinds and apply every object of the files."""
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for kind, plural in PLURALS.items():
            await self._api.post(crds, definition(kind, plural))
        for kind in PLURALS.values():
            await self._api.wait(f"{GROUP}/{kind}")
        for document in load(stages):
            if document["kind"] == "Stage":
                self._stages[document["metadata"]["name"]] = document
                await self._create(document)
            else:
                await self._api.post("/apis/storage.k8s.io/v1/storageclasses", document)

    @asynccontextmanager
    async def misbehaving(
        self, behaviour: Behaviour, *, namespace: str, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[None]:
        """Make the namespace's pods (those with the labels) misbehave, new and running ones alike.

        Afterwards they are well again: kwok looks at a pod when it changes, so each is touched.
        """
        stage = copy.deepcopy(self._stages[f"pod-{behaviour}"])
        stage["spec"]["selector"]["matchExpressions"][1:] = matches(namespace, labels)
        async with self._stage(stage, namespace, labels or {}):
            yield

    @asynccontextmanager
    async def slow(
        self, delay_s: float, *, namespace: str, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[None]:
        """Let the namespace's pods (those with the labels) become ready only after `delay_s`."""
        stage = copy.deepcopy(self._stages["pod-ready"])
        stage["spec"]["weight"] = 1
        stage["spec"]["delay"] = {"durationMilliseconds": int(delay_s * 1000)}
        stage["spec"]["selector"]["matchExpressions"] += matches(namespace, labels)
        async with self._stage(stage, namespace, labels or {}):
            yield

    async def forward(self, namespace: str, ports: Mapping[int, int]) -> None:
        """Let port-forwards to the namespace's pods end at host ports: {pod port: host port}."""
        forwards = [
            {"ports": [pod], "target": {"address": "127.0.0.1", "port": host}}
            for pod, host in ports.items()
        ]
        await self._replace("ClusterPortForward", namespace, {"forwards": forwards})

    async def allow_exec(
        self, namespace: str, *, folder: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Let `exec` in the namespace's pods run commands on this machine, in `folder`.

        A command is looked up in `ControlPlane.bin` first. Its output arrives, its exit code is
        lost, and a command that reads its input to the end hangs (kwok 0.8).
        """
        local: Json = {"workDir": str(folder)}
        local["envs"] = [{"name": name, "value": value} for name, value in (env or {}).items()]
        await self._replace("ClusterExec", namespace, {"execs": [{"local": local}]})

    async def serve_logs(self, namespace: str, file: Path) -> None:
        """Give a file (of CRI log lines) as the log of every container of the namespace."""
        await self._replace("ClusterLogs", namespace, {"logs": [{"logsFile": str(file)}]})

    async def touch(self, namespace: str) -> None:
        """Change an annotation of every pod, so that kwok looks at it again."""
        self._count += 1
        pods = f"/api/v1/namespaces/{namespace}/pods"
        change = {"metadata": {"annotations": {"fate.test/touched": str(self._count)}}}
        for pod in (await self._api.get(pods))["items"]:
            try:
                await self._api.patch(f"{pods}/{pod['metadata']['name']}", change)
            except ApiError as error:
                if error.status != 404:  # deleted since the list
                    raise

    @asynccontextmanager
    async def _stage(
        self, stage: Json, namespace: str, labels: Mapping[str, str]
    ) -> AsyncIterator[None]:
        self._count += 1
        name = f"{stage['metadata']['name']}-{self._count}"
        stage["metadata"]["name"] = name
        await self._create(stage)
        await self.touch(namespace)
        try:
            yield
        finally:
            await self._api.delete(f"{GROUP}/stages/{name}")
            await self._settle(namespace, labels)

    async def _settle(self, namespace: str, labels: Mapping[str, str]) -> None:
        # kwok hears of the removed stage a moment later, and says nothing when it has: touch until
        # every pod of these labels that should be ready is.
        query = "&labelSelector=" + ",".join(f"{key}={value}" for key, value in labels.items())
        pods = f"/api/v1/namespaces/{namespace}/pods?limit=500{query if labels else ''}"

        async def are_ready() -> bool:
            if not any(map(is_unready, (await self._api.get(pods))["items"])):
                return True
            await self.touch(namespace)
            await asyncio.sleep(TOUCH_S)
            return False

        await until(are_ready, f"the pods of {namespace} are ready")

    async def _create(self, document: Json) -> None:
        await self._api.post(f"{GROUP}/{PLURALS[document['kind']]}", document)

    async def _replace(self, kind: str, namespace: str, spec: Json) -> None:
        body = {
            "apiVersion": "kwok.x-k8s.io/v1alpha1",
            "kind": kind,
            "metadata": {"name": namespace},
            "spec": {"selector": {"matchNamespaces": [namespace]}} | spec,
        }
        await self._api.apply(f"{GROUP}/{PLURALS[kind]}/{namespace}", body)


def matches(namespace: str, labels: Mapping[str, str] | None) -> list[Json]:
    """Return the selector expressions for a namespace's pods, or those of them with the labels."""
    wanted = {".metadata.namespace": namespace}
    wanted |= {f'.metadata.labels["{key}"]': value for key, value in (labels or {}).items()}
    return [
        {"jq": {"key": key, "operator": "In", "values": [value]}} for key, value in wanted.items()
    ]


def is_unready(pod: Json) -> bool:
    """Say whether a pod is not ready though it should be (its own annotations excuse it)."""
    meta = pod["metadata"]
    excused = "fate.test/behaviour" in meta.get("annotations", {}) or "deletionTimestamp" in meta
    if excused or "nodeName" not in pod["spec"] or pod["status"]["phase"] == "Succeeded":
        return False
    return conditions(pod).get("Ready") != "True"


def definition(kind: str, plural: str) -> Json:
    """Return a CustomResourceDefinition that takes whatever kwok itself understands."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "metadata": {"name": f"{plural}.kwok.x-k8s.io"},
        "spec": {
            "group": "kwok.x-k8s.io",
            "scope": "Cluster",
            "names": names,
            "versions": [version],
        },
    }


def load(folder: Path) -> list[Json]:
    """Read every document of the folder's YAML files, in the files' order."""
    documents: list[Json] = []
    for file in sorted(folder.glob("*.yaml")):
        documents += yaml.safe_load_all(file.read_text())
    return documents
