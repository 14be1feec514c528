"""Helm's release records: Secrets ``sh.helm.release.v1.<name>.v<N>`` as Helm 3 writes them."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import yaml

from fedsim.kubefate.clock import ZERO_TIME, go_time
from fedsim.kubefate.kubernetes_api import KubernetesApi
from fedsim.kubefate.values import yaml_text

Object = dict[str, Any]
_SECRET_TYPE = "helm.sh/release.v1"


class ReleaseStatus(StrEnum):
    """The states of a revision."""

    DEPLOYED = "deployed"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    PENDING_INSTALL = "pending-install"
    PENDING_UPGRADE = "pending-upgrade"
    PENDING_ROLLBACK = "pending-rollback"

    @property
    def is_pending(self) -> bool:
        """Return whether an operation is, or was left, under way."""
        return self.value.startswith("pending-")


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a release."""

    name: str
    namespace: str
    version: int
    status: ReleaseStatus
    chart: str
    chart_version: str
    config: dict[str, Any]
    manifest: str
    first_deployed: datetime = ZERO_TIME
    last_deployed: datetime = ZERO_TIME
    description: str = ""

    def objects(self) -> list[Object]:
        """Read the manifest."""
        return [item for item in yaml.load_all(self.manifest, Loader=_LOADER) if item]

    def with_status(self, status: ReleaseStatus, description: str = "") -> Revision:
        """Return the revision in another state."""
        return replace(self, status=status, description=description or self.description)


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def manifest_of(chart: str, objects: list[Object]) -> str:
    """Write objects as Helm's manifest."""
    documents = (
        f"---\n# Source: {chart}/templates/{item['kind'].lower()}.yaml\n{yaml_text(item)}\n"
        for item in objects
    )
    return "".join(documents)


class ReleaseRecords:
    """Reads and writes the revisions of one release in its namespace."""

    def __init__(self, api: KubernetesApi, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name

    async def history(self) -> list[Revision]:
        """Return all revisions, oldest first."""
        labels = f"name={self._name},owner=helm"
        secrets = await self._api.list("Secret", self._namespace, labels)
        revisions = [_decode(secret) for secret in secrets if secret.get("data")]
        return sorted(revisions, key=lambda revision: revision.version)

    async def create(self, revision: Revision) -> None:
        """Write a new revision; raise ApiError, 409 when its number is taken."""
        await self._api.create("Secret", self._namespace, _encode(revision))

    async def update(self, revision: Revision) -> None:
        """Write a revision anew."""
        await self._api.replace("Secret", self._namespace, _encode(revision))

    async def purge(self, revision: Revision) -> None:
        """Delete a revision."""
        await self._api.delete("Secret", self._namespace, _secret_name(revision))


def _secret_name(revision: Revision) -> str:
    return f"sh.helm.release.v1.{revision.name}.v{revision.version}"


def _encode(revision: Revision) -> Object:
    document = {
        "name": revision.name,
        "namespace": revision.namespace,
        "version": revision.version,
        "info": {
            "first_deployed": go_time(revision.first_deployed),
            "last_deployed": go_time(revision.last_deployed),
            "deleted": "",
            "description": revision.description,
            "status": revision.status.value,
        },
        "chart": {
            "metadata": {"name": revision.chart, "version": revision.chart_version},
            "templates": [],
            "values": {},
        },
        "config": revision.config,
        "manifest": revision.manifest,
    }
    packed = base64.b64encode(gzip.compress(json.dumps(document).encode(), 6, mtime=0))
    labels = {
        "name": revision.name,
        "owner": "helm",
        "status": revision.status.value,
        "version": str(revision.version),
        "modifiedAt": str(int(revision.last_deployed.timestamp())),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": _SECRET_TYPE,
        "metadata": {
            "name": _secret_name(revision),
            "namespace": revision.namespace,
            "labels": labels,
        },
        "data": {"release": base64.b64encode(packed).decode()},
    }


def _decode(secret: Object) -> Revision:
    packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    document = json.loads(gzip.decompress(packed))
    info, metadata = document["info"], document["chart"]["metadata"]
    return Revision(
        name=document["name"],
        namespace=document["namespace"],
        version=int(document["version"]),
        status=ReleaseStatus(info["status"]),
        chart=metadata["name"],
        chart_version=metadata["version"],
        config=document.get("config") or {},
        manifest=document.get("manifest") or "",
        first_deployed=datetime.fromisoformat(info["first_deployed"]),
        last_deployed=datetime.fromisoformat(info["last_deployed"]),
        description=str(info.get("description") or ""),
    )
