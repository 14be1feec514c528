"""Requests about one object: create, get, replace, patch, apply, delete, scale, evict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from fedsim.kube.apply import Manager, apply
from fedsim.kube.cluster import Cluster
from fedsim.kube.errors import ApiError, bad_request, invalid, value_forbidden, value_required
from fedsim.kube.kinds import NAMESPACES, PODS, Resource
from fedsim.kube.lifecycle import Removal, Write, check_envelope
from fedsim.kube.patches import json_patch, merge_patch, strategic_merge
from fedsim.kube.paths import Target
from fedsim.kube.requests import APPLY, object_of, removal_of, write_of
from fedsim.kube.store import Json, clone

_OK = 200
_CREATED = 201


class Objects:
    """Turns requests into calls of the registry."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._registry = cluster.registry

    def get(self, target: Target) -> Json:
        """Return an object, or its scale."""
        obj = self._registry.get(target.resource, target.space, target.name)
        return _scale_of(obj) if target.subresource == "scale" else obj

    def create(self, request: web.Request, target: Target, body: Any) -> tuple[int, Json]:
        """Make an object in a collection, or evict a pod."""
        if target.subresource == "eviction":
            options = body.get("deleteOptions") if isinstance(body, dict) else None
            self._registry.delete(PODS, target.space, target.name, removal_of(request, options))
            return _CREATED, _success(target, {})
        if target.name or (target.resource.is_namespaced and target.namespace is None):
            raise ApiError(
                405, "MethodNotAllowed", "the server does not allow this method on this resource"
            )
        obj = object_of(body, target.resource)
        write = write_of(request, target.subresource)
        return _CREATED, self._registry.create(target.resource, target.space, obj, write)

    def replace(self, request: web.Request, target: Target, body: Any) -> Json:
        """Replace an object, its status, or its scale."""
        _need_name(target)
        if target.subresource == "scale":
            return self._rescale(request, target, lambda _: body)
        obj = object_of(body, target.resource)
        write = write_of(request, target.subresource)
        return self._registry.update(target.resource, target.space, target.name, obj, write)

    def patch(self, request: web.Request, target: Target, body: Any) -> tuple[int, Json]:
        """Patch an object by one of the four kinds of patch."""
        _need_name(target)
        if request.content_type == APPLY:
            return self._apply(request, target, object_of(body, target.resource, is_apply=True))
        if request.query.get("force"):
            cause = value_forbidden("force", "may not be specified for non-apply patch")
            raise invalid("PatchOptions", "meta.k8s.io", "", [cause])
        change = _patcher(request.content_type, body)
        if target.subresource == "scale":
            return _OK, self._rescale(request, target, change)
        write = write_of(request, target.subresource)
        return _OK, self._registry.modify(target.resource, target.space, target.name, change, write)

    def _apply(self, request: web.Request, target: Target, config: Json) -> tuple[int, Json]:
        name = request.query.get("fieldManager")
        if not name:
            cause = value_required("fieldManager", "is required for apply patch")
            raise invalid("PatchOptions", "meta.k8s.io", "", [cause])
        resource = target.resource
        check_envelope(resource, target.space, config)
        if config["metadata"].setdefault("name", target.name) != target.name:
            raise bad_request(
                f"the name of the object ({config['metadata']['name']}) does not match "
                f"the name on the URL ({target.name})"
            )
        manager = Manager(name, "Apply", resource.api_version, target.subresource)
        force = request.query.get("force") in {"true", "1"}
        write = write_of(request, target.subresource, is_apply=True)
        if self._cluster.store.get(resource, target.space, target.name) is None:
            return _CREATED, self._apply_new(target, config, manager, write)

        def change(live: Json) -> Json:
            plain = _wish(target, config)
            return apply(live, plain, manager, self._cluster.clock.stamp(), force=force)

        return _OK, self._registry.modify(resource, target.space, target.name, change, write)

    def _apply_new(self, target: Target, config: Json, manager: Manager, write: Write) -> Json:
        resource = target.resource
        if target.subresource:
            self._registry.get(resource, target.space, target.name)
        blank: Json = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": target.name},
        }
        stamp = self._cluster.clock.stamp()
        wish = _wish(target, config)
        wish["metadata"].pop("resourceVersion", None)
        obj = apply(blank, wish, manager, stamp, force=True)
        return self._registry.create(resource, target.space, obj, write)

    def delete(self, request: web.Request, target: Target, body: Any) -> Json:
        """Delete an object; answers the object while it is still there, else a ``Status``."""
        removal = removal_of(request, body)
        last = self._registry.delete(target.resource, target.space, target.name, removal)
        is_there = self._cluster.store.get(target.resource, target.space, target.name) is not None
        if target.resource in {PODS, NAMESPACES} or (is_there and not removal.is_dry_run):
            return last
        return _success(target, {"uid": last["metadata"]["uid"]})

    def delete_all(
        self, request: web.Request, target: Target, chosen: list[Json], body: Any
    ) -> Json:
        """Delete the chosen objects of a collection; answers them as a list."""
        if target.resource is NAMESPACES or "deletecollection" not in target.resource.verbs:
            raise ApiError(
                405, "MethodNotAllowed", "the server does not allow this method on this resource"
            )
        removal = removal_of(request, body)
        deleted = [self._delete_one(target.resource, obj, removal) for obj in chosen]
        return {
            "kind": target.resource.list_kind,
            "apiVersion": target.resource.api_version,
            "metadata": {"resourceVersion": str(self._cluster.store.version)},
            "items": deleted,
        }

    def _delete_one(self, resource: Resource, obj: Json, removal: Removal) -> Json:
        metadata = obj["metadata"]
        return self._registry.delete(
            resource, metadata.get("namespace", ""), metadata["name"], removal
        )

    def _rescale(self, request: web.Request, target: Target, change: Callable[[Json], Any]) -> Json:
        live = self._registry.get(target.resource, target.space, target.name)
        wanted = change(_scale_of(live))
        replicas = (wanted.get("spec") or {}).get("replicas", 0) if wanted else None
        if not isinstance(replicas, int):
            raise bad_request("spec.replicas: Required value")

        def rescale(obj: Json) -> Json:
            obj["spec"]["replicas"] = replicas
            return obj

        write = write_of(request, "")
        return _scale_of(
            self._registry.modify(target.resource, target.space, target.name, rescale, write)
        )


def _need_name(target: Target) -> None:
    if not target.name:
        raise ApiError(
            405, "MethodNotAllowed", "the server does not allow this method on this resource"
        )


def _patcher(content_type: str, body: Any) -> Callable[[Json], Json]:
    if content_type == "application/json-patch+json":
        return lambda live: json_patch(live, body)
    if not isinstance(body, dict):
        raise bad_request("the patch is no object")
    if content_type == "application/merge-patch+json":
        return lambda live: _object(merge_patch(live, body))
    if content_type == "application/strategic-merge-patch+json":
        return lambda live: _object(strategic_merge(live, body))
    raise ApiError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, "
        "application/strategic-merge-patch+json, application/apply-patch+yaml",
    )


def _object(value: Any) -> Json:
    result: Json = value
    return result


def _wish(target: Target, config: Json) -> Json:
    """Return what an apply may set: the status by its subresource alone, the rest without it."""
    config = clone(config)
    if target.resource.is_namespaced:
        config["metadata"].pop("namespace", None)
    if target.subresource == "status":
        kept = ("apiVersion", "kind", "metadata", "status")
        return {key: value for key, value in config.items() if key in kept}
    if target.resource.has_status:
        config.pop("status", None)
    return _object(config)


def _scale_of(obj: Json) -> Json:
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            key: metadata[key]
            for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        },
        "spec": {"replicas": spec["replicas"]},
        "status": {
            "replicas": status.get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in labels.items()),
        },
    }


def _success(target: Target, more: Json) -> Json:
    details: Json = {"name": target.name, "kind": target.resource.plural, **more}
    if target.resource.group:
        details["group"] = target.resource.group
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }
