"""Which objects the API server refuses as invalid (422), with the field and the reason."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fedsim.kube.errors import Cause, invalid, value_forbidden, value_invalid, value_required
from fedsim.kube.kinds import Resource
from fedsim.kube.selectors import match_spec
from fedsim.kube.store import Json

_LABEL_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_SERVICE_NAME = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_PATH_NAME = re.compile(r"^[^/%]+$")
_LABEL_KEY = re.compile(
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
_LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
_DATA_KEY = re.compile(r"^[-._a-zA-Z0-9]{1,253}$")
_NAME_LIMIT = 253
_DATA_LIMIT = 1_048_576
_PORTS = range(1, 65_536)

_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character"
)
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character"
)
_PATTERNS = {
    "namespaces": (_LABEL_NAME, _LABEL_TEXT),
    "services": (_SERVICE_NAME, "a DNS-1035 label must start with a letter"),
    "roles": (_PATH_NAME, "may not contain '/' or '%'"),
    "rolebindings": (_PATH_NAME, "may not contain '/' or '%'"),
    "clusterroles": (_PATH_NAME, "may not contain '/' or '%'"),
    "clusterrolebindings": (_PATH_NAME, "may not contain '/' or '%'"),
}
_IMMUTABLE_SPEC = {
    "deployments": ("selector",),
    "replicasets": ("selector",),
    "jobs": ("selector", "template", "completions", "completionMode"),
    "persistentvolumeclaims": ("accessModes", "storageClassName", "volumeMode", "selector"),
}
_STATEFUL_SET_MUTABLE = frozenset(
    {
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    }
)

Causes = Iterator[Cause]


def validate(resource: Resource, obj: Json, before: Json | None) -> None:
    """Refuse an invalid object, or an update that changes what may not change."""
    causes = list(_metadata(resource, obj))
    checker = _CHECKERS.get(resource.plural)
    if checker is not None:
        causes.extend(checker(obj))
    if before is not None:
        causes.extend(_changes(resource, obj, before))
    if causes:
        raise invalid(resource.kind, resource.group, obj["metadata"].get("name", ""), causes)


def _metadata(resource: Resource, obj: Json) -> Causes:
    metadata = obj["metadata"]
    name = metadata.get("name")
    if not name:
        yield value_required("metadata.name", "name or generateName is required")
    else:
        pattern, text = _PATTERNS.get(resource.plural, (_SUBDOMAIN, _SUBDOMAIN_TEXT))
        if not pattern.match(name) or len(name) > _NAME_LIMIT:
            yield value_invalid("metadata.name", name, text)
    yield from _labels(metadata.get("labels") or {}, "metadata.labels")


def _labels(labels: Json, field: str) -> Causes:
    for key, value in labels.items():
        if not _LABEL_KEY.match(key):
            yield value_invalid(
                field, key, "name part must consist of alphanumeric characters, '-', '_' or '.'"
            )
        if not _LABEL_VALUE.match(str(value)):
            yield value_invalid(
                field,
                value,
                "a valid label must be an empty string or consist of alphanumeric characters, "
                "'-', '_' or '.', and must start and end with an alphanumeric character",
            )


def _data(obj: Json) -> Causes:
    size = 0
    for field in ("data", "binaryData"):
        for key, text in (obj.get(field) or {}).items():
            if not _DATA_KEY.match(key):
                yield value_invalid(
                    f"{field}[{key}]",
                    key,
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                )
            is_encoded = obj.get("kind") == "Secret" or field == "binaryData"
            size += len(base64.b64decode(text)) if is_encoded else len(text.encode())
    if size > _DATA_LIMIT:
        text = f"Too long: may not be more than {_DATA_LIMIT} bytes"
        yield Cause("FieldValueTooLong", text, "data" if obj.get("kind") == "Secret" else "")


def _service(obj: Json) -> Causes:
    spec = obj["spec"]
    if spec["type"] not in {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"}:
        yield _unsupported(
            "spec.type", spec["type"], ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
        )
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None" and spec["type"] != "ExternalName":
        yield value_required("spec.ports")
    seen: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        yield from _port_number(port.get("port"), f"{field}.port")
        if len(ports) > 1 and not port.get("name"):
            yield value_required(f"{field}.name")
        key = (port.get("port"), port.get("protocol"))
        if key in seen:
            yield Cause("FieldValueDuplicate", f"Duplicate value: {port}", field)
        seen.add(key)
        if port.get("nodePort") and spec["type"] == "ClusterIP":
            yield value_forbidden(f"{field}.nodePort", "may not be used when `type` is 'ClusterIP'")


def _port_number(number: Any, field: str) -> Causes:
    if not isinstance(number, int) or number not in _PORTS:
        yield value_invalid(field, number, "must be between 1 and 65535, inclusive")


def _unsupported(field: str, value: object, known: Iterable[str]) -> Cause:
    listed = ", ".join(f'"{word}"' for word in known)
    text = f'Unsupported value: "{value}": supported values: {listed}'
    return Cause("FieldValueNotSupported", text, field)


def _pod(obj: Json) -> Causes:
    yield from pod_spec(obj["spec"], "spec")


def pod_spec(spec: Json, field: str) -> Causes:
    """Check a pod's spec."""
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    containers = spec.get("containers") or []
    if not containers:
        yield value_required(f"{field}.containers")
    names: set[str] = set()
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            where = f"{field}.{group}[{index}]"
            yield from _container(container, where, volumes)
            if container.get("name") in names:
                name = container["name"]
                yield Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{where}.name")
            names.add(container.get("name", ""))


def _container(container: Json, field: str, volumes: set[Any]) -> Causes:
    name = container.get("name")
    if not name:
        yield value_required(f"{field}.name")
    elif not _LABEL_NAME.match(name):
        yield value_invalid(f"{field}.name", name, _LABEL_TEXT)
    if not container.get("image"):
        yield value_required(f"{field}.image")
    for index, port in enumerate(container.get("ports") or ()):
        yield from _port_number(port.get("containerPort"), f"{field}.ports[{index}].containerPort")
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            where = f"{field}.volumeMounts[{index}].name"
            yield Cause("FieldValueNotFound", f'Not found: "{mount.get("name")}"', where)


def _workload(obj: Json) -> Causes:
    spec = obj["spec"]
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    selector = spec.get("selector")
    if not selector:
        yield value_required("spec.selector")
    elif not match_spec(selector, labels):
        yield value_invalid(
            "spec.template.metadata.labels",
            str(labels),
            "`selector` does not match template `labels`",
        )
    yield from pod_spec(spec["template"]["spec"], "spec.template.spec")
    replicas = spec.get("replicas")
    if not isinstance(replicas, int) or replicas < 0:
        yield value_invalid("spec.replicas", replicas, "must be greater than or equal to 0")


def _job(obj: Json) -> Causes:
    template = obj["spec"]["template"]["spec"]
    yield from pod_spec(template, "spec.template.spec")
    if template.get("restartPolicy") not in {"OnFailure", "Never"}:
        field = "spec.template.spec.restartPolicy"
        yield _unsupported(field, template.get("restartPolicy"), ("OnFailure", "Never"))


def _claim(obj: Json) -> Causes:
    spec = obj["spec"]
    if not spec.get("accessModes"):
        yield value_required("spec.accessModes", "at least 1 access mode is required")
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        yield value_required("spec.resources[storage]")


def _binding(obj: Json) -> Causes:
    if not obj["roleRef"].get("name"):
        yield value_required("roleRef.name")
    if obj["roleRef"].get("kind") not in {"Role", "ClusterRole"}:
        yield _unsupported("roleRef.kind", obj["roleRef"].get("kind"), ("Role", "ClusterRole"))


_CHECKERS: dict[str, Callable[[Json], Iterable[Cause]]] = {
    "configmaps": _data,
    "secrets": _data,
    "services": _service,
    "pods": _pod,
    "deployments": _workload,
    "statefulsets": _workload,
    "replicasets": _workload,
    "jobs": _job,
    "persistentvolumeclaims": _claim,
    "rolebindings": _binding,
    "clusterrolebindings": _binding,
}


def _changes(resource: Resource, obj: Json, before: Json) -> Causes:
    new, old = obj.get("spec") or {}, before.get("spec") or {}
    for field in _IMMUTABLE_SPEC.get(resource.plural, ()):
        if old.get(field) is not None and new.get(field) != old[field]:
            yield value_invalid(f"spec.{field}", str(new.get(field)), "field is immutable")
    match resource.plural:
        case "statefulsets":
            yield from _stateful_set_changes(new, old)
        case "services":
            yield from _service_changes(new, old)
        case "configmaps" | "secrets":
            yield from _data_changes(resource, obj, before)
        case "pods":
            yield from _pod_changes(new, old)
        case "rolebindings" | "clusterrolebindings" if obj["roleRef"] != before["roleRef"]:
            yield value_invalid("roleRef", str(obj["roleRef"]), "cannot change roleRef")
        case _:
            return


def _stateful_set_changes(new: Json, old: Json) -> Causes:
    if any(
        new.get(field) != old.get(field)
        for field in {*new, *old}
        if field not in _STATEFUL_SET_MUTABLE
    ):
        yield value_forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', "
            "'template', 'updateStrategy', 'revisionHistoryLimit', "
            "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        )


def _service_changes(new: Json, old: Json) -> Causes:
    address = old.get("clusterIP")
    was_external = old.get("type") == "ExternalName"
    if address and not was_external and new.get("clusterIP") != address:
        yield value_invalid(
            "spec.clusterIPs[0]", str([new.get("clusterIP")]), "may not change once set"
        )


def _data_changes(resource: Resource, obj: Json, before: Json) -> Causes:
    if resource.plural == "secrets" and obj.get("type") != before.get("type"):
        yield value_invalid("type", obj.get("type"), "field is immutable")
    if before.get("immutable"):
        if not obj.get("immutable"):
            yield value_forbidden("immutable", "field is immutable when `immutable` is set")
        if obj.get("data") != before.get("data"):
            yield value_forbidden("data", "field is immutable when `immutable` is set")


def _pod_changes(new: Json, old: Json) -> Causes:
    def rigid(spec: Json) -> Json:
        kept = {
            key: value
            for key, value in spec.items()
            if key not in {"activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations"}
        }
        for group in ("containers", "initContainers"):
            kept[group] = [{**each, "image": ""} for each in spec.get(group) or ()]
        return kept

    if rigid(new) != rigid(old):
        yield value_forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
            "(only additions to existing tolerations),`spec.terminationGracePeriodSeconds`",
        )
