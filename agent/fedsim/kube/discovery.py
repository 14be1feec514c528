"""What the server says about itself: its version and, for kubectl, groups and resources."""

from __future__ import annotations

import platform

from fedsim.kube.errors import no_such_path
from fedsim.kube.kinds import RESOURCES, Resource, groups
from fedsim.kube.store import Json

VERSION: Json = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.4+simulated",
    "gitCommit": "simulated",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": f"python{platform.python_version()}",
    "compiler": "cpython",
    "platform": "linux/amd64",
}
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def discover(path: str) -> Json | None:
    """Answer a discovery URL, None when the path is none; raises 404 for an unknown group."""
    match path.strip("/").split("/"):
        case ["version"]:
            return VERSION
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            listed = [_group(group, version) for group, version in groups().items()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        case ["api", version]:
            return _resource_list("", version)
        case ["apis", group, version]:
            return _resource_list(group, version)
        case _:
            return None


def _group(group: str, version: str) -> Json:
    named = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [named], "preferredVersion": named}


def _resource_list(group: str, version: str) -> Json:
    listed = [
        resource for resource in RESOURCES if (resource.group, resource.version) == (group, version)
    ]
    if not listed:
        raise no_such_path()
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": listed[0].api_version,
        "resources": [_entry(resource) for resource in listed],
    }


def _entry(resource: Resource) -> Json:
    return {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.is_namespaced,
        "kind": resource.kind,
        "verbs": _VERBS,
        "shortNames": [resource.short] if resource.short else [],
    }
