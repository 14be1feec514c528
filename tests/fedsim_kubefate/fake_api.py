"""A Kubernetes API in a dictionary: objects, label selectors, logs; no rules beyond names.

Deployments are available at once, with one running pod, unless their name is in ``stuck``.
"""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any, Self

from aiohttp import web

Json = dict[str, Any]
Key = tuple[str, str, str]


class FakeApi:
    """Answer the requests that the service sends. ``refused`` maps (method, kind) to a status."""

    def __init__(self) -> None:
        self.objects: dict[Key, Json] = {}
        self.stuck: set[str] = set()
        self.refused: dict[tuple[str, str], int] = {}
        self.logs: dict[str, str] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.url = ""
        self._numbers = itertools.count(1)
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        for scope in ("", "/namespaces/{namespace}"):
            for group in ("/api/v1", "/apis/{group}/{version}"):
                path = f"{group}{scope}/{{kind}}"
                application.router.add_route("*", path, self._collection)
                application.router.add_route("*", f"{path}/{{name}}", self._object)
                application.router.add_get(f"{path}/{{name}}/log", self._log)
        self._runner = web.AppRunner(application, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *failure: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def kubeconfig(self, folder: Path) -> Path:
        entry = {"name": "fake", "cluster": {"server": self.url}}
        document = {
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "clusters": [entry],
            "users": [{"name": "fake", "user": {"token": "token"}}],
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(document))
        return path

    def add(self, kind: str, namespace: str, name: str, /, **body: Any) -> Json:
        metadata = {"name": name, "namespace": namespace, **body.pop("metadata", {})}
        return self._store(kind, {"metadata": metadata, **body})

    def add_namespace(self, name: str) -> None:
        self.add("namespaces", "", name, status={"phase": "Active"})
        for secret in ("pulsar-cert", "traffic-server-cert"):
            self.add("secrets", name, secret)

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        return self.objects.get((kind, namespace, name))

    def names(self, kind: str, namespace: str) -> list[str]:
        return sorted(key[2] for key in self.objects if key[:2] == (kind, namespace))

    def set_available(self, namespace: str, name: str, *, is_available: bool) -> None:
        workload = self.objects["deployments", namespace, name]
        workload["status"] = _status(is_available=is_available)

    def replace_pod(self, namespace: str, deployment: str) -> None:
        workload = self.objects["deployments", namespace, deployment]
        for key, pod in list(self.objects.items()):
            if key[0] == "pods" and pod["metadata"].get("owner") == deployment:
                del self.objects[key]
        self._add_pod(workload)

    def _store(self, kind: str, body: Json) -> Json:
        metadata = body["metadata"]
        number = next(self._numbers)
        metadata.setdefault("uid", f"uid-{number}")
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        metadata["resourceVersion"] = str(number)
        self.objects[kind, metadata.get("namespace", ""), metadata["name"]] = body
        if kind == "deployments" and "status" not in body:
            is_available = metadata["name"] not in self.stuck
            body["status"] = _status(is_available=is_available)
            self._add_pod(body)
        return body

    def _add_pod(self, workload: Json) -> None:
        metadata, template = workload["metadata"], workload["spec"]["template"]
        name = f"{metadata['name']}-{next(self._numbers)}"
        about = {
            "labels": template["metadata"]["labels"],
            "owner": metadata["name"],
        }
        spec = copy.deepcopy(template["spec"])
        status = {"phase": "Running"}
        self.add("pods", metadata["namespace"], name, metadata=about, spec=spec, status=status)

    async def _collection(self, request: web.Request) -> web.Response:
        kind, namespace = _place(request)
        if refusal := self._refusal(request, kind):
            return refusal
        if request.method == "GET":
            selector = request.query.get("labelSelector", "")
            found = [
                body
                for key, body in sorted(self.objects.items())
                if key[0] == kind and namespace in ("", key[1]) and _matches(body, selector)
            ]
            return web.json_response({"items": found})
        body = await request.json()
        name = body["metadata"]["name"]
        if kind != "namespaces" and not self.get("namespaces", "", namespace):
            return _error(404, f'namespaces "{namespace}" not found')
        if self.get(kind, namespace, name):
            return _error(409, f'{kind} "{name}" already exists')
        body["metadata"]["namespace"] = namespace
        self.writes.append(("POST", kind, name))
        return web.json_response(self._store(kind, body), status=201)

    async def _object(self, request: web.Request) -> web.Response:
        kind, namespace = _place(request)
        name = request.match_info["name"]
        if refusal := self._refusal(request, kind):
            return refusal
        live = self.get(kind, namespace, name)
        if live is None:
            return _error(404, f'{kind} "{name}" not found')
        if request.method == "GET":
            return web.json_response(live)
        self.writes.append((request.method, kind, name))
        if request.method == "DELETE":
            del self.objects[kind, namespace, name]
            return web.json_response({})
        body = await request.json()
        given = body["metadata"].get("resourceVersion")
        if given and given != live["metadata"]["resourceVersion"]:
            return _error(409, f'{kind} "{name}" was changed')
        return web.json_response(self._store(kind, {**live, **body}))

    async def _log(self, request: web.Request) -> web.Response:
        return web.Response(text=self.logs.get(request.query.get("container", ""), ""))

    def _refusal(self, request: web.Request, kind: str) -> web.Response | None:
        status = self.refused.get((request.method, kind))
        return _error(status, f"{kind} are forbidden") if status else None


def _place(request: web.Request) -> tuple[str, str]:
    return request.match_info["kind"], request.match_info.get("namespace", "")


def _matches(body: Json, selector: str) -> bool:
    labels = body["metadata"].get("labels") or {}
    pairs = (part.partition("=") for part in selector.split(",") if part)
    return all(labels.get(key) == value for key, _, value in pairs)


def _status(*, is_available: bool) -> Json:
    word = "True" if is_available else "False"
    return {
        "availableReplicas": int(is_available),
        "conditions": [
            {"type": "Available", "status": word},
            {"type": "Progressing", "status": "True"},
        ],
    }


def _error(status: int, message: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": status, "message": message}
    return web.json_response(body, status=status)
