"""The values of chart ``fate``: what its values-template makes, and its values.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedsim.kubefate.values import (
    RenderError,
    Values,
    block,
    copied,
    dig,
    exchange_of,
    filled,
    image_values,
    includes,
    merge,
    party_list,
    placement,
    route_table,
    scalar,
)

_INGRESSES = ("fateboard", "client", "spark", "rabbitmq", "pulsar")
_MODULES = (
    "rollsite",
    "lbrollsite",
    "python",
    "clustermanager",
    "nodemanager",
    "client",
    "mysql",
    "fateboard",
    "spark",
    "hdfs",
    "nginx",
    "rabbitmq",
    "pulsar",
    "osx",
)
_RWO = "ReadWriteOnce"


def party_values(spec: Mapping[str, Any], tag: str) -> Values:
    """Return what the templates of chart ``fate`` see; raise RenderError."""
    return merge(_defaults(tag), _given(spec, tag))


def _given(spec: Mapping[str, Any], tag: str) -> Values:
    ingress = block(spec, "ingress") or {}
    rollsite = block(spec, "rollsite")
    return {
        "image": image_values(spec, tag),
        "partyId": scalar(spec.get("partyId")),
        "partyName": spec.get("name"),
        "ingress": {
            name: filled(ingress[name], "annotations", "hosts", "tls")
            for name in _INGRESSES
            if ingress.get(name)
        },
        "ingressClassName": spec.get("ingressClassName") or "nginx",
        "exchange": exchange_of(rollsite),
        "partyList": party_list(rollsite or block(spec, "osx")),
        "persistence": {"enabled": scalar(spec.get("persistence")) or False},
        "modules": {name: _module(spec, name) for name in _MODULES} | {"serving": _serving(spec)},
        **copied(
            spec,
            "externalMysqlIp",
            "externalMysqlPort",
            "externalMysqlDatabase",
            "externalMysqlUser",
            "externalMysqlPassword",
        ),
    }


def _module(spec: Mapping[str, Any], name: str) -> Values:
    values: Values = {"include": includes(spec, name)}
    if name == "python":
        values["backend"] = spec.get("backend") or "eggroll"
    given = block(spec, name)
    if given is None:
        return values
    maker = _MAKERS.get(name, placement)
    return values | maker(given)


def _nginx(given: Mapping[str, Any]) -> Values:
    values = placement(given) | copied(
        given, "httpNodePort", "grpcNodePort", "loadBalancerIP", type="ClusterIP"
    )
    if exchange := block(given, "exchange"):
        values["exchange"] = copied(exchange, "ip", "httpPort", "grpcPort")
    return values | {"route_table": route_table(given)}


def _pulsar(given: Mapping[str, Any]) -> Values:
    values = placement(given) | copied(
        given,
        "httpNodePort",
        "httpsNodePort",
        "loadBalancerIP",
        "existingClaim",
        "storageClass",
        "size",
        type="ClusterIP",
        accessMode=_RWO,
    )
    if public := block(given, "publicLB"):
        values["publicLB"] = {"enabled": scalar(public.get("enabled")) or False}
    if exchange := block(given, "exchange"):
        values["exchange"] = copied(exchange, "ip", "port", domain="fate.org")
    return values | {"route_table": route_table(given)}


def _python(given: Mapping[str, Any]) -> Values:
    values = placement(given) | filled(given, "resources", "spark")
    values |= copied(
        given,
        "logLevel",
        "httpNodePort",
        "grpcNodePort",
        "loadBalancerIP",
        "serviceAccountName",
        "existingClaim",
        type="ClusterIP",
        enabledNN=False,
        storageClass="python",
        accessMode=_RWO,
        size="1Gi",
    )
    for name, keys in _PYTHON_BLOCKS.items():
        if inner := block(given, name):
            values[name] = copied(inner, *keys)
    return values


_PYTHON_BLOCKS = {
    "clustermanager": ("cores_per_node", "nodes"),
    "hdfs": ("name_node", "path_prefix"),
    "pulsar": ("host", "mng_port", "port"),
    "rabbitmq": ("host", "mng_port", "port", "user", "password"),
    "nginx": ("host", "http_port", "grpc_port"),
}


def _client(given: Mapping[str, Any]) -> Values:
    return placement(given) | copied(
        given, "subPath", "existingClaim", storageClass="client", accessMode=_RWO, size="1Gi"
    )


def _mysql(given: Mapping[str, Any]) -> Values:
    return placement(given) | copied(
        given,
        "subPath",
        "existingClaim",
        "storageClass",
        type="ClusterIP",
        ip="mysql",
        port=3306,
        database="eggroll_meta",
        user="fate",
        password="fate_dev",  # noqa: S106 - the chart's published default
        accessMode=_RWO,
        size="1Gi",
    )


def _fateboard(given: Mapping[str, Any]) -> Values:
    return copied(given, "type", "username", "password")


def _spark(given: Mapping[str, Any]) -> Values:
    values: Values = {}
    for role, default_type in (("master", None), ("worker", "ClusterIP")):
        if inner := block(given, role):
            values[role] = (
                placement(inner)
                | filled(inner, "resources")
                | copied(inner, "replicas", type=default_type)
                | {"Image": inner.get("Image") or "", "ImageTag": inner.get("ImageTag") or ""}
            )
    return values


def _hdfs(given: Mapping[str, Any]) -> Values:
    values: Values = {}
    for role in ("namenode", "datanode"):
        inner = given.get(role)
        if not isinstance(inner, Mapping):
            raise RenderError(
                'template: fate-values-templates: executing "fate-values-templates" at '
                f"<.{role}.nodeSelector>: nil pointer evaluating interface {{}}.nodeSelector"
            )
        values[role] = placement(inner) | copied(
            inner,
            "nodePort",
            "existingClaim",
            "storageClass",
            "size",
            "replicas",
            type="ClusterIP",
            accessMode=_RWO,
        )
    return values


def _rabbitmq(given: Mapping[str, Any]) -> Values:
    names = ("nodePort", "default_user", "default_pass", "loadBalancerIP", "user", "password")
    values = placement(given) | copied(given, *names, type="ClusterIP")
    return values | {"route_table": route_table(given)}


def _proxy(given: Mapping[str, Any]) -> Values:
    values = placement(given) | copied(given, "nodePort", "loadBalancerIP", type="ClusterIP")
    if polling := block(given, "polling"):
        values["polling"] = copied(polling, "enabled", "type", "concurrency") | filled(
            polling, "server", "clientList"
        )
    return values


def _nodemanager(given: Mapping[str, Any]) -> Values:
    shared = placement(given) | copied(
        given, "sessionProcessorsPerNode", "storageClass", "accessMode", "size"
    )
    count = int(scalar(given.get("count")) or 0)
    nodes = [{"name": f"nodemanager-{index}", **shared} for index in range(count)]
    return {"list": nodes or None, "replicas": scalar(given.get("replicas")), **shared}


_MAKERS = {
    "nginx": _nginx,
    "pulsar": _pulsar,
    "python": _python,
    "client": _client,
    "mysql": _mysql,
    "fateboard": _fateboard,
    "spark": _spark,
    "hdfs": _hdfs,
    "rabbitmq": _rabbitmq,
    "rollsite": _proxy,
    "lbrollsite": _proxy,
    "osx": _proxy,
    "nodemanager": _nodemanager,
}


def _serving(spec: Mapping[str, Any]) -> Values:
    values = {"ip": scalar(spec.get("servingIp")), "port": scalar(spec.get("servingPort"))}
    if serving := block(spec, "serving"):
        values["useRegistry"] = serving.get("useRegistry") or False
        values["zookeeper"] = dig(serving, "zookeeper")
    return values


def _defaults(tag: str) -> Values:
    """Return chart ``fate`` 1.8.0's values.yaml, its sample addresses included."""
    hosts = {"client": "notebook"}
    return {
        "image": {"registry": "federatedai", "tag": tag, "pullPolicy": "IfNotPresent"},
        "partyId": 9999,
        "partyName": "fate-9999",
        "ingressClassName": "nginx",
        "ingress": {
            name: {"hosts": [{"name": f"{hosts.get(name, name)}.example.com", "path": "/"}]}
            for name in _INGRESSES
        },
        "exchange": {"partyIp": "192.168.1.1", "partyPort": 30001},
        "partyList": [
            {"partyId": 8888, "partyIp": "192.168.8.1", "partyPort": 30081},
            {"partyId": 10000, "partyIp": "192.168.10.1", "partyPort": 30101},
        ],
        "persistence": {"enabled": False},
        "modules": _module_defaults() | _engine_defaults(),
    }


def _module_defaults() -> Values:
    claim = {"accessMode": _RWO, "size": "1Gi"}
    return {
        "rollsite": {"ip": "rollsite", "type": "ClusterIP", "nodePort": 30091},
        "lbrollsite": {"ip": "rollsite", "type": "ClusterIP", "nodePort": 30091},
        "osx": {"type": "ClusterIP", "nodePort": 30091},
        "python": {
            "type": "ClusterIP",
            "httpNodePort": 30097,
            "grpcNodePort": 30092,
            "logLevel": "INFO",
            "storageClass": "python",
            **claim,
            **_python_defaults(),
        },
        "client": {"type": "ClusterIP", "subPath": "client", "storageClass": "client", **claim},
        "mysql": {
            "type": "ClusterIP",
            "ip": "mysql",
            "port": 3306,
            "database": "eggroll_meta",
            "user": "fate",
            "password": "fate_dev",
            "subPath": "mysql",
            "storageClass": "mysql",
            **claim,
        },
        "serving": {"ip": "192.168.9.1", "port": 30095, "useRegistry": False},
        "fateboard": {"type": "ClusterIP", "username": "admin", "password": "admin"},
        "clustermanager": {"type": "ClusterIP"},
        "nodemanager": {
            "list": [
                {"name": f"nodemanager-{n}", "storageClass": f"nodemanager-{n}", **claim}
                for n in range(2)
            ]
        },
    }


def _python_defaults() -> Values:
    return {
        "clustermanager": {"cores_per_node": 16, "nodes": 2},
        "spark": {
            "cores_per_node": 20,
            "nodes": 2,
            "master": "spark://spark-master:7077",
            "driverHost": "fateflow",
        },
        "hdfs": {"name_node": "hdfs://namenode:9000"},
        "rabbitmq": {
            "host": "rabbitmq",
            "mng_port": 15672,
            "port": 5672,
            "user": "fate",
            "password": "fate",
        },
        "pulsar": {"host": "pulsar", "mng_port": 8080, "port": 6650},
        "nginx": {"host": "nginx", "http_port": 9300, "grpc_port": 9310},
    }


def _engine_defaults() -> Values:
    worker = {
        "requests": {"cpu": "2", "memory": "4Gi"},
        "limits": {"cpu": "4", "memory": "8Gi"},
    }
    return {
        "spark": {
            "master": {"replicas": 1, "type": "ClusterIP", "nodePort": 30977},
            "worker": {"replicas": 2, "type": "ClusterIP", "resources": worker},
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
        "rabbitmq": {
            "type": "ClusterIP",
            "nodePort": 30094,
            "default_user": "fate",
            "default_pass": "fate",
            "user": "fate",
            "password": "fate",
        },
        "pulsar": {
            "type": "ClusterIP",
            "httpNodePort": 30094,
            "httpsNodePort": 30099,
            "publicLB": {"enabled": False},
        },
    }
