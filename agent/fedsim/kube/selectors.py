"""Label and field selectors, as lists and watches take them: equality alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedsim.kube.errors import bad_request
from fedsim.kube.kinds import EVENTS, NAMESPACES, PODS, Resource
from fedsim.kube.store import Json

_EVERYWHERE = frozenset({"metadata.name", "metadata.namespace"})
_FIELDS = {
    PODS: frozenset({"spec.nodeName", "status.phase"}),
    EVENTS: frozenset(
        {
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "reason",
            "type",
        }
    ),
    NAMESPACES: frozenset({"status.phase"}),
}


@dataclass(frozen=True, slots=True)
class Selector:
    """What a list or a watch shall show."""

    labels: Mapping[str, str]
    fields: Mapping[str, str]

    def matches(self, obj: Json) -> bool:
        """Return whether the object shall be shown."""
        labels = obj["metadata"].get("labels") or {}
        return self.labels.items() <= labels.items() and all(
            _field(obj, path) == value for path, value in self.fields.items()
        )


def parse_selector(resource: Resource, query: Mapping[str, str]) -> Selector:
    """Read the two query parameters; raises 400 for fields that Kubernetes does not index."""
    fields = _pairs(query.get("fieldSelector", ""))
    for path in fields.keys() - _EVERYWHERE - _FIELDS.get(resource, frozenset()):
        raise bad_request(f"field label not supported: {path}")
    return Selector(_pairs(query.get("labelSelector", "")), fields)


def _pairs(text: str) -> dict[str, str]:
    """Read ``a=b,c==d``; the other forms of Kubernetes are refused, as no caller sends them."""
    pairs = {}
    for part in filter(None, text.split(",")):
        key, sign, value = part.partition("=")
        if not sign or not key.strip() or key.endswith("!"):
            raise bad_request(f"unable to parse requirement: {part!r} is not KEY=VALUE")
        pairs[key.strip()] = value.removeprefix("=").strip()
    return pairs


def _field(obj: Json, path: str) -> str:
    value: object = obj
    for step in path.split("."):
        value = value.get(step, "") if isinstance(value, dict) else ""
    return str(value)
