"""Requests about one object: create, get, replace, patch, apply, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from fedsim.kube.apply import apply, merge_patch
from fedsim.kube.cluster import Cluster
from fedsim.kube.errors import ApiError, bad_request, details_of, not_allowed
from fedsim.kube.kinds import NAMESPACES, PODS
from fedsim.kube.requests import APPLY, MERGE, Target, object_of, removal_of
from fedsim.kube.store import Json

_OK = 200
_CREATED = 201


class Objects:
    """Turns requests into calls of the registry; each answers a status code and an object."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._registry = cluster.registry
        self._actions: dict[str, Callable[[web.Request, Target, Any], tuple[int, Json]]] = {
            "PUT": self._replace,
            "PATCH": self._patch,
            "DELETE": self._delete,
        }

    def get(self, target: Target) -> Json:
        """Return an object."""
        return self._registry.get(target.resource, target.namespace, target.name)

    def change(self, request: web.Request, target: Target, body: Any) -> tuple[int, Json]:
        """Create, replace, patch or delete an object."""
        is_collection = not target.name and bool(target.namespace) is target.resource.is_namespaced
        if request.method == "POST" and is_collection:
            obj = object_of(body, target.resource)
            return _CREATED, self._registry.create(target.resource, target.namespace, obj)
        action = self._actions.get(request.method)
        if action is None or not target.name:
            raise not_allowed()
        return action(request, target, body)

    def _replace(self, _: web.Request, target: Target, body: Any) -> tuple[int, Json]:
        obj = object_of(body, target.resource)
        return _OK, self._registry.update(target.resource, target.namespace, target.name, obj)

    def _patch(self, request: web.Request, target: Target, body: Any) -> tuple[int, Json]:
        patch = object_of(body, target.resource)
        if request.content_type == APPLY:
            return self._apply(request, target, patch)
        if request.content_type != MERGE:
            text = f"patches are taken as {MERGE} and {APPLY}, not as {request.content_type}"
            raise ApiError(415, "UnsupportedMediaType", text)
        changed = self._registry.modify(
            target.resource,
            target.namespace,
            target.name,
            lambda live: dict(merge_patch(live, patch)),
        )
        return _OK, changed

    def _apply(self, request: web.Request, target: Target, config: Json) -> tuple[int, Json]:
        resource, namespace, name = target.resource, target.namespace, target.name
        manager = request.query.get("fieldManager")
        if not manager:
            text = "fieldManager: Required value: is required for apply patch"
            raise ApiError(422, "Invalid", text)
        if config["metadata"].setdefault("name", name) != name:
            raise bad_request(f"the name of the object does not match the name on the URL ({name})")
        if resource.has_status:
            config.pop("status", None)
        force = request.query.get("force") in {"true", "1"}
        stamp = self._cluster.clock.stamp()

        def change(live: Json) -> Json:
            return apply(live, config, manager, stamp, force=force)

        if self._cluster.store.get(resource, namespace, name) is not None:
            return _OK, self._registry.modify(resource, namespace, name, change)
        blank: Json = {"apiVersion": resource.api_version, "metadata": {}}
        return _CREATED, self._registry.create(resource, namespace, change(blank))

    def _delete(self, request: web.Request, target: Target, body: Any) -> tuple[int, Json]:
        """Delete an object; answers the object while it is still there, else a ``Status``."""
        resource, namespace, name = target.resource, target.namespace, target.name
        last = self._registry.delete(resource, namespace, name, removal_of(request, body))
        is_there = self._cluster.store.get(resource, namespace, name) is not None
        if is_there or resource in {PODS, NAMESPACES}:
            return _OK, last
        return _OK, {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details_of(resource, name, uid=last["metadata"]["uid"]),
        }
