from __future__ import annotations

import io
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from tests.support.patience import patient, until

from fedsim.kube import Delays, KubeSettings, SimulatedKube

Json = dict[str, Any]


@dataclass
class Answer:
    status: int
    body: Any


class Client:
    """Plain HTTP to one simulated cluster."""

    def __init__(self, kube: SimulatedKube, session: aiohttp.ClientSession) -> None:
        self.kube = kube
        self.session = session

    async def call(self, method: str, path: str, body: Any = None, **query: str) -> Answer:
        return await self.send(method, path, body, "application/json", **query)

    async def send(
        self, method: str, path: str, body: Any, content_type: str, **query: str
    ) -> Answer:
        data = (
            io.BytesIO(body)
            if isinstance(body, bytes)
            else json.dumps(body)
            if body is not None
            else None
        )
        headers = {"Content-Type": content_type} if data is not None else {}
        async with self.session.request(
            method, self.kube.url + path, data=data, headers=headers, params=query
        ) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, json.loads(text) if is_json else text)

    async def get(self, path: str, **query: str) -> Json:
        answer = await self.call("GET", path, **query)
        assert answer.status == 200, answer
        return answer.body

    async def create(self, path: str, body: Json) -> Json:
        answer = await self.call("POST", path, {"kind": _kind(path), **body})
        assert answer.status == 201, answer
        return answer.body

    async def apply(self, path: str, body: Json, manager: str = "tester", **query: str) -> Answer:
        kind = "application/apply-patch+yaml"
        parts = path.split("/")
        version = "v1" if parts[1] == "api" else "/".join(parts[2:4])
        body = {"kind": _kind(path.rpartition("/")[0]), "apiVersion": version, **body}
        return await self.send("PATCH", path, body, kind, fieldManager=manager, **query)

    async def until(
        self, path: str, holds: Callable[[Any], Any], **query: str
    ) -> Any:  # the answer for which it holds
        async def holding() -> Any:
            answer = await self.call("GET", path, **query)
            return answer.body if holds(answer.body) else None

        return await until(holding, path)

    async def namespace(self, name: str = "demo") -> str:
        await self.create("/api/v1/namespaces", {"metadata": {"name": name}})
        accounts = f"/api/v1/namespaces/{name}/serviceaccounts"
        await self.until(accounts, lambda found: found["items"])
        return name


def _kind(path: str) -> str:
    plural = path.rpartition("/")[2]
    kinds = {
        "configmaps": "ConfigMap",
        "statefulsets": "StatefulSet",
        "persistentvolumeclaims": "PersistentVolumeClaim",
        "selfsubjectaccessreviews": "SelfSubjectAccessReview",
    }
    return kinds.get(plural, plural[:-1].capitalize())


def tls(kube: SimulatedKube) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=kube.identity.ca_pem)


def open_session(kube: SimulatedKube) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls(kube)),
        headers={"Authorization": f"Bearer {kube.identity.token}"},
        timeout=aiohttp.ClientTimeout(total=patient()),
    )


@pytest.fixture
def settings() -> KubeSettings:
    return KubeSettings(delays=Delays.none(), data_plane=False, admin_port=0)


@pytest.fixture
async def kube(settings: KubeSettings) -> AsyncIterator[SimulatedKube]:
    async with SimulatedKube(settings) as running:
        yield running


@pytest.fixture
async def client(kube: SimulatedKube) -> AsyncIterator[Client]:
    async with open_session(kube) as session:
        yield Client(kube, session)


@pytest.fixture
def connect() -> Callable[[SimulatedKube], aiohttp.ClientSession]:
    return open_session


@pytest.fixture
def client_of() -> type[Client]:
    return Client


@pytest.fixture
def wait() -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
    return until


@pytest.fixture
def deployment() -> Callable[..., Json]:
    def make(name: str = "web", **pod: Any) -> Json:
        labels = {"fateMoudle": name, **pod.pop("labels", {})}
        containers = pod.pop("containers", None) or [
            {"name": name, "image": f"federatedai/{name}:1.8.0", **pod.pop("container", {})}
        ]
        return {
            "kind": "Deployment",
            "apiVersion": "apps/v1",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "replicas": pod.pop("replicas", 1),
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": {"fateMoudle": name}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": containers, **pod},
                },
            },
        }

    return make
