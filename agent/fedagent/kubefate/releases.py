"""Helm's own memory of a release: the labels of its Secrets, never what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fedagent.kube.client import Json, Kube
from fedagent.kube.kinds import SECRETS
from fedagent.kube.lists import read_list, selector_query
from fedagent.kubefate.records import parse_time


@dataclass(frozen=True, slots=True)
class Release:
    """One revision of a Helm release. ``status`` is Helm's word, e.g. ``deployed``."""

    name: str
    namespace: str
    revision: int
    status: str
    secret_name: str
    modified_at: datetime | None = None
    created_at: datetime | None = None
    """When Helm first wrote it, which is before it applies anything."""


async def read_releases(kube: Kube, namespace: str, name: str) -> tuple[Release, ...]:
    """Return the revisions of a release, oldest first; empty when Helm knows none."""
    query = selector_query(SECRETS, namespace, {"owner": "helm", "name": name}, None)
    secrets, _version = await read_list(kube, SECRETS, namespace, query, metadata_only=True)
    return tuple(sorted(map(_release, secrets), key=lambda release: release.revision))


def _release(secret: Json) -> Release:
    meta = secret["metadata"]
    labels = meta.get("labels") or {}
    version, modified = str(labels.get("version", "")), str(labels.get("modifiedAt", ""))
    return Release(
        name=str(labels.get("name", "")),
        namespace=str(meta.get("namespace", "")),
        revision=int(version) if version.isdigit() else 0,
        status=str(labels.get("status", "")),
        secret_name=str(meta["name"]),
        modified_at=datetime.fromtimestamp(int(modified), UTC) if modified.isdigit() else None,
        created_at=parse_time(meta.get("creationTimestamp")),
    )
