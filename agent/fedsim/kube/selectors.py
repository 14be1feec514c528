"""Label and field selectors, as lists and watches take them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fedsim.kube.errors import bad_request
from fedsim.kube.kinds import Resource
from fedsim.kube.store import Json

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
_SET_BASED = re.compile(rf"^({_LABEL})\s+(in|notin)\s*\(([^()]*)\)$")
_EQUALITY = re.compile(rf"^({_LABEL})\s*(==|=|!=)\s*(.*)$")
_PRESENCE = re.compile(rf"^(!?)\s*({_LABEL})$")
_EVERYWHERE = ("metadata.name", "metadata.namespace")
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
    ),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "nodes": ("spec.unschedulable",),
    "jobs": ("status.successful",),
    "replicasets": ("status.replicas",),
}

Test = Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class Selector:
    """What a list or a watch wants to see."""

    labels: tuple[Test, ...] = ()
    fields: tuple[tuple[str, str, bool], ...] = ()

    @property
    def is_everything(self) -> bool:
        """Say whether nothing is left out."""
        return not self.labels and not self.fields

    def matches(self, obj: Json) -> bool:
        """Say whether the object is wanted."""
        labels = obj["metadata"].get("labels") or {}
        return all(test(labels) for test in self.labels) and all(
            (_field(obj, path) == value) is wanted for path, value, wanted in self.fields
        )


def parse_selector(resource: Resource, labels: str, fields: str) -> Selector:
    """Read the two query parameters; raises 400 for what Kubernetes would not read."""
    return Selector(parse_labels(labels), _parse_fields(resource, fields))


def parse_labels(text: str) -> tuple[Test, ...]:
    """Read a label selector: ``a=b,c!=d,e in (f,g),h notin (i),j,!k``."""
    return tuple(_parse_requirement(part) for part in _split(text))


def _split(text: str) -> list[str]:
    parts = re.split(r",(?![^(]*\))", text)
    return [part.strip() for part in parts if part.strip()]


def _parse_requirement(text: str) -> Test:
    if found := _SET_BASED.match(text):
        key, word, listed = found.groups()
        values = frozenset(value.strip() for value in listed.split(","))
        if word == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUALITY.match(text):
        key, sign, value = found.groups()
        value = value.strip()
        if sign == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _PRESENCE.match(text):
        absent, key = found.groups()
        return lambda labels: (key in labels) is not bool(absent)
    raise bad_request(f"unable to parse requirement: found {text!r}, expected a label selector")


def match_spec(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """Say whether a ``LabelSelector`` object matches the labels; an empty one matches nothing."""
    if not selector:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_match_expression(each, labels) for each in selector.get("matchExpressions") or ())


def _match_expression(expression: Json, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _parse_fields(resource: Resource, text: str) -> tuple[tuple[str, str, bool], ...]:
    allowed = (*_EVERYWHERE, *_FIELDS.get(resource.plural, ()))
    parsed = []
    for part in _split(text):
        path, sign, value = re.split(r"(!=|==|=)", part, maxsplit=1) if "=" in part else ("",) * 3
        if not path:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        if path not in allowed:
            raise bad_request(f"field label not supported: {path}")
        parsed.append((path, value, sign != "!="))
    return tuple(parsed)


def _field(obj: Json, path: str) -> str:
    if path == "source":
        path = "source.component"
    value: object = obj
    for step in path.split("."):
        value = value.get(step, "") if isinstance(value, dict) else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
