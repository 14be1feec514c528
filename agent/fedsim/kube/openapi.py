"""As much OpenAPI v3 as kubectl wants before it applies: the paths, no schemas."""

from __future__ import annotations

from fedsim.kube.errors import no_such_path
from fedsim.kube.kinds import RESOURCES, Resource, groups
from fedsim.kube.store import Json

_PARAMETERS: list[Json] = [
    {"name": name, "in": "query", "schema": {"type": "string"}}
    for name in ("dryRun", "fieldManager", "fieldValidation", "force")
]


def index() -> Json:
    """Return the list of documents, one per group and version."""
    places = ["api/v1", *(f"apis/{group}/{version}" for group, version in groups().items())]
    return {"paths": {place: {"serverRelativeURL": f"/openapi/v3/{place}"} for place in places}}


def document(place: str) -> Json:
    """Return the document of a group and version; raises 404."""
    known = [resource for resource in RESOURCES if _place(resource) == place]
    if not known:
        raise no_such_path()
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.34.4+simulated"},
        "paths": {_path(resource): _operations(resource) for resource in known},
    }


def _place(resource: Resource) -> str:
    return f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}"


def _path(resource: Resource) -> str:
    space = "/namespaces/{namespace}" if resource.is_namespaced else ""
    return f"/{_place(resource)}{space}/{resource.plural}/{{name}}"


def _operations(resource: Resource) -> Json:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    operation: Json = {
        "parameters": _PARAMETERS,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-group-version-kind": kind,
    }
    return {
        "patch": {**operation, "x-kubernetes-action": "patch"},
        "put": {**operation, "x-kubernetes-action": "put"},
    }
