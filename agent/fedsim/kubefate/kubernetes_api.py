"""Speak to any Kubernetes API: get, list, create, replace, delete. Nothing more is needed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import aiohttp

from fedsim.kubefate.kubeconfig import Access

Object = dict[str, Any]
REQUEST_LIMIT_S = 30.0

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "Namespace": "api/v1/{}namespaces",
        "Pod": "api/v1/{}pods",
        "ConfigMap": "api/v1/{}configmaps",
        "Secret": "api/v1/{}secrets",
        "Service": "api/v1/{}services",
        "PersistentVolumeClaim": "api/v1/{}persistentvolumeclaims",
        "Deployment": "apis/apps/v1/{}deployments",
        "Ingress": "apis/networking.k8s.io/v1/{}ingresses",
    }
)


@dataclass(frozen=True, slots=True)
class ApiError(Exception):
    """What the API server answered; ``status`` is 0 when it could not be reached."""

    status: int
    reason: str
    message: str

    def __str__(self) -> str:
        return self.message

    @property
    def is_missing(self) -> bool:
        """Return whether the object, or its namespace, is not there."""
        return self.status == 404

    @property
    def is_conflict(self) -> bool:
        """Return whether the name is taken, or the object was changed by somebody else."""
        return self.status == 409


class KubernetesApi:
    """Sends requests with the rights of one kubeconfig. Use as an async context manager."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"Accept": "application/json"}
        if self._access.token:
            headers["Authorization"] = f"Bearer {self._access.token}"
        connector = aiohttp.TCPConnector(ssl=self._access.tls or True, limit=16)
        self._session = aiohttp.ClientSession(headers=headers, connector=connector)
        return self

    async def __aexit__(self, *failure: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        """Return one object; raise ApiError."""
        return await self._call("GET", self._path(kind, namespace, name))

    async def find(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return one object, or None when there is none."""
        try:
            return await self.get(kind, namespace, name)
        except ApiError as error:
            if error.is_missing:
                return None
            raise

    async def list(self, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        """Return the objects of a namespace (or of the cluster) with these labels."""
        query = {"labelSelector": labels} if labels else {}
        answer = await self._call("GET", self._path(kind, namespace), query=query)
        return list(answer.get("items") or [])

    async def create(self, kind: str, namespace: str, body: Object) -> Object:
        """Create an object; raise ApiError, 409 when its name is taken."""
        return await self._call("POST", self._path(kind, namespace), body=body)

    async def replace(self, kind: str, namespace: str, body: Object) -> Object:
        """Replace an object; raise ApiError, 409 when it was changed since it was read."""
        path = self._path(kind, namespace, str(body["metadata"]["name"]))
        return await self._call("PUT", path, body=body)

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Ask for an object's deletion and do not wait; one that is absent is no error."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        try:
            await self._call("DELETE", self._path(kind, namespace, name), body=body)
        except ApiError as error:
            if not error.is_missing:
                raise

    def _path(self, kind: str, namespace: str, name: str = "") -> str:
        scope = f"namespaces/{namespace}/" if namespace and kind != "Namespace" else ""
        return KINDS[kind].format(scope) + (f"/{name}" if name else "")

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
    ) -> Object:
        if self._session is None:
            raise ApiError(0, "Closed", "Kubernetes client is closed")
        url = f"{self._access.server}/{path}"
        try:
            async with (
                asyncio.timeout(REQUEST_LIMIT_S),
                self._session.request(method, url, params=query, json=body) as answer,
            ):
                await _raise_for(answer)
                return dict(await answer.json())
        except (aiohttp.ClientError, TimeoutError) as error:
            cause = str(error) or type(error).__name__
            text = f"Kubernetes cluster unreachable: {cause}"
            raise ApiError(0, "Unreachable", text) from error


async def _raise_for(answer: aiohttp.ClientResponse) -> None:
    if answer.status < 400:
        return
    text = await answer.text()
    try:
        status = json.loads(text)
    except ValueError:
        status = {}
    fields = status if isinstance(status, dict) else {}
    message = str(fields.get("message") or text.strip() or answer.reason)
    raise ApiError(answer.status, str(fields.get("reason") or ""), message)
