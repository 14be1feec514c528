"""Read, apply and delete objects of any kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from enum import StrEnum
from typing import Any, Final

import structlog

from fedagent.kube.client import Json, Kube
from fedagent.kube.errors import Gone, NotFound
from fedagent.kube.kinds import Kind
from fedagent.kube.lists import PAGE_SIZE, read_list, selector_query
from fedagent.kube.watches import EventType, WatchEvent, watch_once

log = structlog.get_logger()

FIELD_MANAGER: Final = "fate-lifecycle-manager"
APPLY: Final = "application/apply-patch+yaml"


class PatchStyle(StrEnum):
    """How a patch is merged: by keys, or as a list of operations."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"


class Propagation(StrEnum):
    """When what an object owns is deleted: after it, or before it."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"


async def get(kube: Kube, kind: Kind, name: str, *, namespace: str | None = None) -> Json:
    """Read one object; raises NotFound."""
    return await kube.request("GET", kind.path(namespace=namespace, name=name))


async def find(kube: Kube, kind: Kind, name: str, *, namespace: str | None = None) -> Json | None:
    """Read one object, None when it is not there."""
    try:
        return await get(kube, kind, name, namespace=namespace)
    except NotFound:
        return None


async def exists(kube: Kube, kind: Kind, name: str, *, namespace: str | None = None) -> bool:
    """Return whether there is such an object, one that is being deleted included."""
    return await find(kube, kind, name, namespace=namespace) is not None


async def list_all(
    kube: Kube,
    kind: Kind,
    *,
    namespace: str | None = None,
    labels: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    page_size: int = PAGE_SIZE,
) -> tuple[Json, ...]:
    """Read every object that bears the labels and fields, in pages.

    Raises ValueError for Secrets without a namespace.
    """
    selector = selector_query(kind, namespace, labels, fields)
    items, _version = await read_list(kube, kind, namespace, selector, page_size=page_size)
    return tuple(items)


async def create(kube: Kube, kind: Kind, body: Json, *, namespace: str | None = None) -> Json:
    """Create an object; raises AlreadyExists. ``generateName`` works."""
    query = {"fieldManager": FIELD_MANAGER}
    return await kube.request(
        "POST", kind.path(namespace=namespace), query=query, body=_complete(kind, body)
    )


async def replace(kube: Kube, kind: Kind, body: Json, *, namespace: str | None = None) -> Json:
    """Replace an object as a whole; raises Conflict unless its ``resourceVersion`` is the last."""
    path = kind.path(namespace=namespace, name=str(body["metadata"]["name"]))
    query = {"fieldManager": FIELD_MANAGER}
    return await kube.request("PUT", path, query=query, body=_complete(kind, body))


async def apply(
    kube: Kube, kind: Kind, body: Json, *, namespace: str | None = None, force: bool = True
) -> Json:
    """Make an object look like ``body`` by server-side apply; what it does not name stays.

    Idempotent: the same body twice changes nothing. Fields that an earlier apply named and this
    one does not are removed. Without ``force`` a field of another manager raises Conflict.
    """
    path = kind.path(namespace=namespace, name=str(body["metadata"]["name"]))
    query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
    return await kube.request(
        "PATCH", path, query=query, body=_complete(kind, body), content_type=APPLY
    )


async def patch(
    kube: Kube,
    kind: Kind,
    name: str,
    change: Json | list[Json],
    *,
    namespace: str | None = None,
    style: PatchStyle = PatchStyle.MERGE,
) -> Json:
    """Change one object; a ``metadata.resourceVersion`` in a merge makes it conditional."""
    return await kube.request(
        "PATCH",
        kind.path(namespace=namespace, name=name),
        query={"fieldManager": FIELD_MANAGER},
        body=change,
        content_type=style.value,
    )


async def delete(
    kube: Kube,
    kind: Kind,
    name: str,
    *,
    namespace: str | None = None,
    propagation: Propagation = Propagation.BACKGROUND,
    uid: str | None = None,
) -> bool:
    """Ask for an object's deletion; False when it is not there.

    It may be there for a while yet (finalizers, a namespace's contents): see ``wait_gone``. With
    ``uid`` only that very object is deleted; a successor of the same name raises Conflict.
    """
    body: Json = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
    if uid is not None:
        body["preconditions"] = {"uid": uid}
    try:
        await kube.request("DELETE", kind.path(namespace=namespace, name=name), body=body)
    except NotFound:
        return False
    return True


async def wait_until(
    kube: Kube,
    kind: Kind,
    name: str,
    accept: Callable[[Json | None], bool],
    *,
    namespace: str | None = None,
    limit_s: float,
) -> bool:
    """Watch one object until ``accept`` likes it (None: it is not there); False after ``limit_s``.

    Raises what the API raises: a caller that goes on for ever uses an ``Informer``.
    """
    try:
        async with asyncio.timeout(limit_s):
            while not await _is_accepted(kube, kind, name, accept, namespace):
                pass
    except TimeoutError:
        return False
    return True


async def wait_gone(
    kube: Kube, kind: Kind, name: str, *, namespace: str | None = None, limit_s: float
) -> bool:
    """Wait until an object is not there; False after ``limit_s``."""
    return await wait_until(
        kube, kind, name, lambda body: body is None, namespace=namespace, limit_s=limit_s
    )


async def _is_accepted(
    kube: Kube,
    kind: Kind,
    name: str,
    accept: Callable[[Json | None], bool],
    namespace: str | None,
) -> bool:
    """Watch until accepted (True) or until the server ends the watch (False)."""
    query = selector_query(kind, namespace, None, {"metadata.name": name})
    bodies, version = await read_list(kube, kind, namespace, query)
    if accept(bodies[0] if bodies else None):
        return True
    try:
        async with aclosing(watch_once(kube, kind, namespace, query, version)) as events:
            async for event in events:
                if event.type is not EventType.BOOKMARK and accept(_present(event)):
                    return True
    except Gone:
        log.debug("wait.relisted", kind=kind.plural, name=name)
    return False


def _present(event: WatchEvent) -> Json | None:
    return None if event.type is EventType.DELETED else event.body


def _complete(kind: Kind, body: Json) -> Json:
    head: dict[str, Any] = {"apiVersion": kind.group_version, "kind": kind.name}
    return head | body
