"""The values of chart ``fate`` 1.8.0: what its values-template makes, and its values.yaml.

Without what no template here reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fedsim.kubefate.values import (
    RenderError,
    Values,
    block,
    copied,
    filled,
    image_values,
    includes,
    merge,
    placement,
    route_table,
    scalar,
)

_INGRESSES = ("fateboard", "client", "spark", "pulsar")
_RWO = "ReadWriteOnce"
_CLAIM = {"accessMode": _RWO, "size": "1Gi"}


def party_values(spec: Mapping[str, Any]) -> Values:
    """Return what the templates of chart ``fate`` see; raise RenderError."""
    ingress = block(spec, "ingress") or {}
    stated = {
        "image": image_values(spec),
        "partyId": scalar(spec.get("partyId")),
        "partyName": spec.get("name"),
        "ingress": {
            name: filled(ingress[name], "annotations", "hosts", "tls")
            for name in _INGRESSES
            if ingress.get(name)
        },
        "ingressClassName": spec.get("ingressClassName") or "nginx",
        "persistence": {"enabled": scalar(spec.get("persistence")) or False},
        "modules": {name: _module(spec, name) for name in _MODULES},
    }
    return merge(_DEFAULTS, stated)


def _module(spec: Mapping[str, Any], name: str) -> Values:
    values: Values = {"include": includes(spec, name)}
    if name == "python":
        values["backend"] = spec.get("backend") or "eggroll"
    stated = block(spec, name)
    return values if stated is None else values | _MODULES[name](stated)


def _python(stated: Mapping[str, Any]) -> Values:
    names = ("httpNodePort", "grpcNodePort", "loadBalancerIP", "serviceAccountName")
    values = placement(stated) | filled(stated, "resources") | copied(stated, *names)
    return values | copied(
        stated, "existingClaim", type="ClusterIP", storageClass="python", **_CLAIM
    )


def _client(stated: Mapping[str, Any]) -> Values:
    return placement(stated) | copied(
        stated, "subPath", "existingClaim", storageClass="client", **_CLAIM
    )


def _mysql(stated: Mapping[str, Any]) -> Values:
    names = ("subPath", "existingClaim", "storageClass")
    return placement(stated) | copied(stated, *names, type="ClusterIP", **_CLAIM)


def _fateboard(stated: Mapping[str, Any]) -> Values:
    return copied(stated, "type")


def _spark(stated: Mapping[str, Any]) -> Values:
    values: Values = {}
    for role, default_type in (("master", None), ("worker", "ClusterIP")):
        if inner := block(stated, role):
            values[role] = placement(inner) | filled(inner, "resources", "Image", "ImageTag")
            values[role] |= copied(inner, "replicas", type=default_type)
    return values


def _hdfs(stated: Mapping[str, Any]) -> Values:
    values: Values = {}
    for role in ("namenode", "datanode"):
        inner = stated.get(role)
        if not isinstance(inner, Mapping):
            raise RenderError(
                'template: fate-values-templates: executing "fate-values-templates" at '
                f"<.{role}.nodeSelector>: nil pointer evaluating interface {{}}.nodeSelector"
            )
        names = ("nodePort", "existingClaim", "storageClass", "size")
        values[role] = placement(inner) | copied(inner, *names, type="ClusterIP", accessMode=_RWO)
    return values


def _nginx(stated: Mapping[str, Any]) -> Values:
    names = ("httpNodePort", "grpcNodePort", "loadBalancerIP")
    values = placement(stated) | copied(stated, *names, type="ClusterIP")
    if exchange := block(stated, "exchange"):
        values["exchange"] = copied(exchange, "ip", "httpPort", "grpcPort")
    return values | {"route_table": route_table(stated)}


def _pulsar(stated: Mapping[str, Any]) -> Values:
    names = ("httpNodePort", "httpsNodePort", "loadBalancerIP", "existingClaim")
    values = placement(stated) | copied(
        stated, *names, "storageClass", "size", type="ClusterIP", accessMode=_RWO
    )
    if public := block(stated, "publicLB"):
        values["publicLB"] = {"enabled": scalar(public.get("enabled")) or False}
    if exchange := block(stated, "exchange"):
        values["exchange"] = copied(exchange, "ip", "port", domain="fate.org")
    return values | {"route_table": route_table(stated)}


_MODULES: Mapping[str, Callable[[Mapping[str, Any]], Values]] = {
    "python": _python,
    "fateboard": _fateboard,
    "client": _client,
    "mysql": _mysql,
    "spark": _spark,
    "hdfs": _hdfs,
    "nginx": _nginx,
    "pulsar": _pulsar,
}

_DEFAULTS: Values = {
    "partyId": 9999,
    "partyName": "fate-9999",
    "ingress": {
        name: {"hosts": [{"name": f"{host}.example.com", "path": "/"}]}
        for name, host in zip(_INGRESSES, ("fateboard", "notebook", "spark", "pulsar"), strict=True)
    },
    "modules": {
        "python": {
            "type": "ClusterIP",
            "httpNodePort": 30097,
            "grpcNodePort": 30092,
            "storageClass": "python",
            **_CLAIM,
        },
        "client": {"type": "ClusterIP", "subPath": "client", "storageClass": "client", **_CLAIM},
        "mysql": {"type": "ClusterIP", "subPath": "mysql", "storageClass": "mysql", **_CLAIM},
        "fateboard": {"type": "ClusterIP"},
        "spark": {
            "master": {"replicas": 1, "type": "ClusterIP", "nodePort": 30977},
            "worker": {
                "replicas": 2,
                "type": "ClusterIP",
                "resources": {
                    "requests": {"cpu": "2", "memory": "4Gi"},
                    "limits": {"cpu": "4", "memory": "8Gi"},
                },
            },
        },
        "hdfs": {
            "namenode": {"type": "ClusterIP", "nodePort": 30900},
            "datanode": {"type": "ClusterIP"},
        },
        "nginx": {
            "type": "ClusterIP",
            "httpNodePort": 30093,
            "grpcNodePort": 30098,
            "exchange": {"ip": "192.168.10.1", "httpPort": 30003, "grpcPort": 30008},
        },
        "pulsar": {"type": "ClusterIP", "httpNodePort": 30094, "httpsNodePort": 30099},
    },
}
"""The sample addresses of the chart's author included: they leak where a block is left out."""
