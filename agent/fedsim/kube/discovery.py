"""What the server says about itself: version, groups, resources."""

from __future__ import annotations

import platform

from fedsim.kube import openapi
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
    "emulationMajor": "1",
    "emulationMinor": "34",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "33",
}


def discover(path: str, address: str) -> Json | None:
    """Answer a discovery URL, None when the path is none; raises 404 for an unknown group."""
    match path.strip("/").split("/"):
        case ["version"]:
            found = VERSION
        case ["api"]:
            found = _core_versions(address)
        case ["apis"]:
            found = _group_list()
        case ["api", "v1"]:
            found = _resource_list("", "v1")
        case ["apis", group]:
            found = {"apiVersion": "v1", "kind": "APIGroup", **_group(group)}
        case ["apis", group, version]:
            found = _resource_list(group, version)
        case ["openapi", "v3"]:
            found = openapi.index()
        case ["openapi", "v3", *place]:
            found = openapi.document("/".join(place))
        case _:
            return None
    return found


def _core_versions(address: str) -> Json:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def _group_list() -> Json:
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(group) for group in groups()],
    }


def _group(group: str) -> Json:
    version = groups().get(group)
    if version is None:
        raise no_such_path()
    named = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [named], "preferredVersion": named}


def _resource_list(group: str, version: str) -> Json:
    known = [each for each in RESOURCES if (each.group, each.version) == (group, version)]
    if not known:
        raise no_such_path()
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": known[0].api_version,
        "resources": [entry for resource in known for entry in _entries(resource)],
    }


def _entries(resource: Resource) -> list[Json]:
    entry: Json = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.is_namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    return [entry, *(_subresource(resource, name) for name in resource.subresources)]


def _subresource(resource: Resource, name: str) -> Json:
    verbs = {
        "log": ["get"],
        "exec": ["create", "get"],
        "portforward": ["create", "get"],
        "eviction": ["create"],
        "finalize": ["update"],
    }.get(name, ["get", "patch", "update"])
    entry: Json = {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.is_namespaced,
        "kind": resource.kind,
        "verbs": verbs,
    }
    if name == "scale":
        entry.update(kind="Scale", group="autoscaling", version="v1")
    elif name == "eviction":
        entry.update(kind="Eviction", group="policy", version="v1")
    return entry
