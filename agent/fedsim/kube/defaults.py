"""What the API server writes into an object that its client left out.

The values are those of Kubernetes 1.34. The table holds what the controllers here work by and what
a client compares with what it sent; the rest of the real server's defaults is left out.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

from fedsim.kube.kinds import (
    CLAIMS,
    DEPLOYMENTS,
    INGRESSES,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)
from fedsim.kube.store import Json, clone

DEFAULT_STORAGE_CLASS = "standard"
CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
_POD = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30,
}
_TEMPLATE = {"metadata": {}, "spec": _POD}
_BALANCER: Json = {"status": {"loadBalancer": {}}}
_DEFAULTS: dict[Resource, Json] = {
    NAMESPACES: {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}},
    SECRETS: {"type": "Opaque"},
    SERVICES: {"spec": {"type": "ClusterIP", "sessionAffinity": "None"}, **_BALANCER},
    PODS: {"spec": _POD, "status": {"phase": "Pending", "qosClass": "BestEffort"}},
    DEPLOYMENTS: {
        "spec": {
            "replicas": 1,
            "strategy": {"type": "RollingUpdate"},
            "template": _TEMPLATE,
        }
    },
    REPLICA_SETS: {"spec": {"replicas": 1, "template": _TEMPLATE}},
    STATEFUL_SETS: {"spec": {"replicas": 1, "template": _TEMPLATE}},
    CLAIMS: {
        "spec": {"volumeMode": "Filesystem", "storageClassName": DEFAULT_STORAGE_CLASS},
        "status": {"phase": "Pending"},
    },
    INGRESSES: {"spec": {}, **_BALANCER},
}


def complete(resource: Resource, obj: Json) -> None:
    """Write the defaults of the object's kind into it."""
    _fill(obj, _DEFAULTS.get(resource, {}))
    for container in _containers(obj):
        for port in container.get("ports") or ():
            port.setdefault("protocol", "TCP")
    completer = _COMPLETERS.get(resource)
    if completer is not None:
        completer(obj)


def _fill(obj: Json, defaults: Json) -> None:
    for key, value in defaults.items():
        if obj.get(key) is None:
            obj[key] = clone(value)
        elif isinstance(value, dict) and isinstance(obj[key], dict):
            _fill(obj[key], value)


def _containers(obj: Json) -> Iterator[Json]:
    spec = obj.get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or spec
    for group in ("initContainers", "containers"):
        yield from pod.get(group) or ()


def _namespace(obj: Json) -> None:
    labels = obj["metadata"].get("labels") or {}
    obj["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": obj["metadata"]["name"]}


def _secret(obj: Json) -> None:
    plain = obj.pop("stringData", None) or {}
    if plain:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _service(obj: Json) -> None:
    for port in obj["spec"].get("ports") or ():
        _fill(port, {"protocol": "TCP", "targetPort": port.get("port")})


def _claim(obj: Json) -> None:
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if "deletionTimestamp" not in obj["metadata"] and not finalizers:
        finalizers.append(CLAIM_PROTECTION)


_COMPLETERS: dict[Resource, Callable[[Json], None]] = {
    NAMESPACES: _namespace,
    SECRETS: _secret,
    SERVICES: _service,
    CLAIMS: _claim,
}
