"""Helm's own memory of a release: the labels of its Secrets, never what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from fedagent.kube.client import Json, Kube
from fedagent.kube.kinds import SECRETS
from fedagent.kube.lists import read_list, selector_query
from fedagent.kube.objects import delete
from fedagent.kubefate.records import parse_time

log = structlog.get_logger()

_PENDING: Final = "pending-"


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

    @property
    def is_pending(self) -> bool:
        """Tell whether Helm was at work on it when it last wrote."""
        return self.status.startswith(_PENDING)

    @property
    def is_deployed(self) -> bool:
        """Tell whether Helm holds this revision for the one in force."""
        return self.status == "deployed"


async def read_releases(kube: Kube, namespace: str, name: str) -> tuple[Release, ...]:
    """Return the revisions of a release, oldest first; empty when Helm knows none."""
    query = selector_query(SECRETS, namespace, {"owner": "helm", "name": name}, None)
    found, _version = await read_list(kube, SECRETS, namespace, query, metadata_only=True)
    return tuple(sorted(map(_release, found), key=lambda release: release.revision))


async def drop_pending(kube: Kube, release: Release) -> bool:
    """Remove a revision that Helm began and will never finish; Helm then works again.

    What it applied stays in the cluster and is taken over by the next revision. Returns False for
    a revision that is not pending, or was not there.
    """
    if not release.is_pending:
        return False
    log.warning("release.pending_dropped", name=release.name, revision=release.revision)
    return await delete(kube, SECRETS, release.secret_name, namespace=release.namespace)


async def drop_releases(kube: Kube, namespace: str, name: str) -> int:
    """Remove Helm's memory of a release whose objects are gone; return how many revisions."""
    found = await read_releases(kube, namespace, name)
    for release in found:
        await delete(kube, SECRETS, release.secret_name, namespace=namespace)
    return len(found)


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
