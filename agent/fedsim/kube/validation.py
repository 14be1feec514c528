"""Which objects the API server refuses: 400 for what it cannot decode, 422 for what is invalid.

The checks are those that something here can run into: names and labels made of party names and
ids, tables that are too big, Services and claims that a cluster.yaml describes wrongly.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any

from fedsim.kube.errors import ApiError, Cause, bad_request, invalid, value_invalid, value_required
from fedsim.kube.kinds import (
    CLAIMS,
    CLUSTER_ROLE_BINDINGS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    REPLICA_SETS,
    ROLE_BINDINGS,
    SECRETS,
    SERVICES,
    Resource,
)
from fedsim.kube.store import Json

_LABEL_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_KEY = re.compile(
    r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_NAME_LIMIT = 253
_DATA_LIMIT = 1_048_576
_PORTS = range(1, 65_536)
_SERVICE_TYPES = frozenset({"ClusterIP", "NodePort", "LoadBalancer"})

_LABEL_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character"
)
_NAME_TEXT = (
    "a lowercase RFC 1123 {} must consist of lower case alphanumeric characters{}, and must start "
    "and end with an alphanumeric character"
)
_NAMES = {
    NAMESPACES: (_LABEL_NAME, _NAME_TEXT.format("label", " or '-'")),
    SERVICES: (_SERVICE_NAME, "a DNS-1035 label must start with a letter"),
}
_OTHER_NAMES = (_SUBDOMAIN, _NAME_TEXT.format("subdomain", ", '-' or '.'"))
_IMMUTABLE: dict[Resource, tuple[str, ...]] = {
    DEPLOYMENTS: ("spec.selector",),
    REPLICA_SETS: ("spec.selector",),
    CLAIMS: ("spec.accessModes", "spec.storageClassName", "spec.volumeMode"),
    SERVICES: ("spec.clusterIP",),
    SECRETS: ("type",),
    ROLE_BINDINGS: ("roleRef",),
    CLUSTER_ROLE_BINDINGS: ("roleRef",),
}

Causes = Iterator[Cause]


def check_shape(resource: Resource, obj: Json) -> None:
    """Refuse with 400 what the real server cannot even decode into its types."""
    for field in ("metadata", "spec", "status", "data", "stringData"):
        if not isinstance(obj.get(field) or {}, dict):
            raise _undecodable(resource, field)
    maps = {name: obj["metadata"].get(name) for name in ("labels", "annotations")}
    if resource in {CONFIG_MAPS, SECRETS}:
        maps |= {name: obj.get(name) for name in ("data", "stringData")}
    for name, texts in maps.items():
        if not isinstance(texts or {}, dict) or not all(
            isinstance(text, str) for text in (texts or {}).values()
        ):
            raise _undecodable(resource, name)
    if resource is SECRETS:
        for key, text in (obj.get("data") or {}).items():
            try:
                base64.b64decode(text, validate=True)
            except ValueError as error:
                raise _undecodable(resource, f"data.{key}: illegal base64 data") from error


def _undecodable(resource: Resource, field: str) -> ApiError:
    return bad_request(
        f'{resource.kind} in version "{resource.version}" cannot be handled as a '
        f"{resource.kind}: json: cannot unmarshal into Go struct field {resource.kind}.{field}"
    )


def validate(resource: Resource, obj: Json, before: Json | None) -> None:
    """Refuse an invalid object, or an update that changes what may not change."""
    causes = list(_metadata(resource, obj["metadata"]))
    checker = _CHECKERS.get(resource)
    if checker is not None:
        causes.extend(checker(obj))
    if before is not None:
        causes.extend(_changes(resource, obj, before))
    if causes:
        raise invalid(resource, obj["metadata"].get("name", ""), causes)


def _metadata(resource: Resource, metadata: Json) -> Causes:
    name = metadata.get("name")
    pattern, text = _NAMES.get(resource, _OTHER_NAMES)
    if not name:
        yield value_required("metadata.name", "name or generateName is required")
    elif not resource.group.startswith("rbac") and (
        not pattern.fullmatch(name) or len(name) > _NAME_LIMIT
    ):
        yield value_invalid("metadata.name", name, text)
    for key, value in (metadata.get("labels") or {}).items():
        if not (_LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value)):
            yield value_invalid("metadata.labels", value, _LABEL_TEXT)


def _data(obj: Json) -> Causes:
    size = sum(len(text.encode()) for text in (obj.get("data") or {}).values())
    if size > _DATA_LIMIT:
        text = f"Too long: may not be more than {_DATA_LIMIT} bytes"
        yield Cause("FieldValueTooLong", text, "data")


def _service(obj: Json) -> Causes:
    spec = obj["spec"]
    if spec["type"] not in _SERVICE_TYPES:
        yield value_invalid("spec.type", spec["type"], "unsupported value")
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None":
        yield value_required("spec.ports")
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        if port.get("port") not in _PORTS:
            why = "must be between 1 and 65535, inclusive"
            yield value_invalid(f"{field}.port", port.get("port"), why)
        if len(ports) > 1 and not port.get("name"):
            yield value_required(f"{field}.name")
        if port.get("nodePort") and spec["type"] == "ClusterIP":
            text = "Forbidden: may not be used when `type` is 'ClusterIP'"
            yield Cause("FieldValueForbidden", text, f"{field}.nodePort")


def _claim(obj: Json) -> Causes:
    spec = obj["spec"]
    if not spec.get("accessModes"):
        yield value_required("spec.accessModes", "at least 1 access mode is required")
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        yield value_required("spec.resources[storage]")


_CHECKERS: dict[Resource, Callable[[Json], Causes]] = {
    CONFIG_MAPS: _data,
    SERVICES: _service,
    CLAIMS: _claim,
}


def _changes(resource: Resource, obj: Json, before: Json) -> Causes:
    for path in _IMMUTABLE.get(resource, ()):
        old, new = _value_at(before, path), _value_at(obj, path)
        # A Service that leaves its cluster IP out keeps the one it has.
        if old is not None and new != old and not (resource is SERVICES and new is None):
            yield value_invalid(path, str(new), "field is immutable")


def _value_at(obj: Json, path: str) -> Any:
    value: Any = obj
    for step in path.split("."):
        value = (value or {}).get(step)
    return value
