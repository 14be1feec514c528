"""Speak to a Kubernetes API server in the plainest way: a path, a JSON body, a JSON answer."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from tests.support.patience import time_limit, until

Json = dict[str, Any]

POLL_S: Final = 0.05
WATCH_S: Final = 3600
LONGEST_LINE: Final = 1 << 20
JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"


class ApiError(RuntimeError):
    """The API server refused a request."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class KubeApi:
    """The API server as the bearer of one token sees it."""

    url: str
    token: str
    ca: Path

    async def request(
        self, method: str, path: str, body: Json | None = None, *, content_type: str = JSON
    ) -> Json:
        """Send one request, again while the server says "too many" (429).

        Raises ApiError for every other status of 400 or more.
        """
        async with time_limit():
            while True:
                status, answer = await self._send(method, path, body, content_type)
                if status < 400:
                    return answer
                if status != 429:
                    raise ApiError(status, answer.get("reason", ""), answer.get("message", ""))
                await asyncio.sleep(POLL_S)

    async def get(self, path: str) -> Json:
        """Read an object or a list."""
        return await self.request("GET", path)

    async def post(self, path: str, body: Json) -> Json:
        """Create an object."""
        return await self.request("POST", path, body)

    async def patch(self, path: str, body: Json) -> Json:
        """Change an object by a JSON merge patch."""
        return await self.request("PATCH", path, body, content_type=MERGE_PATCH)

    async def apply(self, path: str, body: Json) -> Json:
        """Apply an object (server-side, as field manager `test`, with force)."""
        query = "?fieldManager=test&force=true"
        return await self.request("PATCH", path + query, body, content_type=APPLY_PATCH)

    async def delete(self, path: str) -> Json:
        """Delete an object."""
        return await self.request("DELETE", path)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Callable[[str], Awaitable[Json]]]:
        """Give what reads paths over one connection, for who asks often; no answer is tried twice.

        Raises aiohttp.ClientResponseError for a status of 400 or more.
        """

        async def ask(path: str) -> Json:
            async with time_limit(), session.get(self.url + path) as response:
                found: Json = await response.json()
                return found

        async with self._session(raise_for_status=True) as session:
            yield ask

    async def watch(self, path: str, version: str) -> AsyncIterator[Json]:
        """Give every change of a collection since a resource version, for an hour at most."""
        query = f"?watch=true&resourceVersion={version}&timeoutSeconds={WATCH_S}"
        async with (
            self._session(raise_for_status=True, read_bufsize=LONGEST_LINE) as session,
            session.get(self.url + path + query, timeout=None) as response,
        ):
            async for line in response.content:
                yield json.loads(line)

    async def is_ready(self) -> bool:
        """Say whether the server answers and says that it is ready."""
        if not self.ca.exists():
            return False
        try:
            async with time_limit(2.0):
                await self.get("/readyz")
        except (aiohttp.ClientError, ApiError, TimeoutError):
            return False
        return True

    async def wait(self, path: str, accept: Callable[[Json], bool] = bool) -> Json:
        """Read an object until it is accepted; one that is not there yet is waited for."""
        latest: Json = {}

        async def accepted() -> Json | None:
            nonlocal latest
            latest = await self._find(path)
            return latest if latest and accept(latest) else None

        def status() -> str:
            return json.dumps(latest.get("status", latest))[:2000]

        return await until(accepted, path, describe=status)

    async def wait_gone(self, path: str) -> None:
        """Return when the object does not exist any more."""

        async def is_gone() -> bool:
            return not await self._find(path)

        await until(is_gone, f"{path} is gone")

    async def create_namespace(self, name: str) -> None:
        """Create a namespace and wait for its default ServiceAccount, which pods need."""
        await self.post("/api/v1/namespaces", {"metadata": {"name": name}})
        await self.wait(f"/api/v1/namespaces/{name}/serviceaccounts/default")

    async def create_node(self, name: str, *, cpu: str = "64", memory: str = "256Gi") -> None:
        """Create a node; the fake kubelet makes it Ready. Small figures leave pods unscheduled."""
        room = {"cpu": cpu, "memory": memory, "pods": "1000", "ephemeral-storage": "1Ti"}
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        version = (await self.get("/version"))["gitVersion"]
        info = {"kubeletVersion": version, "operatingSystem": "linux", "architecture": "amd64"}
        node: Json = {
            "metadata": {"name": name, "labels": labels},
            "status": {"allocatable": room, "capacity": room, "nodeInfo": info},
        }
        await self.post("/api/v1/nodes", node)

    async def create_service_account(
        self, name: str, *, namespace: str, rules: Sequence[Json], cluster_wide: bool = False
    ) -> str:
        """Create a ServiceAccount that may do what `rules` say and return a token of it.

        The rules hold in its own namespace, or everywhere when `cluster_wide`.
        """
        kind = "ClusterRole" if cluster_wide else "Role"
        where = RBAC if cluster_wide else f"{RBAC}/namespaces/{namespace}"
        meta: Json = {"metadata": {"name": name}}
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
        await self.post(accounts, meta)
        await self.post(f"{where}/{kind.lower()}s", meta | {"rules": list(rules)})
        binding = meta | {"subjects": [subject], "roleRef": role}
        await self.post(f"{where}/{kind.lower()}bindings", binding)
        answer = await self.post(f"{accounts}/{name}/token", {"spec": {}})
        return str(answer["status"]["token"])

    async def _send(
        self, method: str, path: str, body: Json | None, content_type: str
    ) -> tuple[int, Json]:
        headers = {"Content-Type": content_type}
        data = None if body is None else json.dumps(body)
        async with (
            self._session() as session,
            session.request(method, self.url + path, data=data, headers=headers) as response,
        ):
            if response.content_type == JSON:
                return response.status, await response.json()
            text = await response.text()
            return response.status, {"text": text, "message": text}

    def _session(self, **settings: Any) -> aiohttp.ClientSession:
        tls = ssl.create_default_context(cafile=self.ca)
        headers = {"Authorization": f"Bearer {self.token}"}
        connector = aiohttp.TCPConnector(ssl=tls)
        return aiohttp.ClientSession(headers=headers, connector=connector, **settings)

    async def _find(self, path: str) -> Json:
        try:
            return await self.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            return {}


def conditions(thing: Json) -> dict[str, str]:
    """Return {type: status} of an object's conditions."""
    return {c["type"]: c["status"] for c in thing.get("status", {}).get("conditions", ())}


def kubeconfig(api: KubeApi) -> str:
    """Return the text of a kubeconfig file (JSON is YAML)."""
    cluster = {"server": api.url, "certificate-authority": str(api.ca)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": api.token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    return json.dumps(config, indent=1)
