"""The modules of a party on eggroll: managers, and rollsite or osx."""

from __future__ import annotations

import json
from typing import Any

from fedsim.kubefate import proxy_files
from fedsim.kubefate.objects import (
    Context,
    Object,
    Port,
    claim_object,
    config_map,
    deployment,
    exposed,
    from_config,
    mount,
    probes,
    service,
    stateful_set,
    tcp,
)
from fedsim.kubefate.values import Values, dig, lines

_PROPERTIES = "/data/projects/fate/eggroll/conf/eggroll.properties"


def _eggroll(context: Context, name: str, port: int, *mounts: Object) -> Object:
    properties = mount("eggroll-confs", _PROPERTIES, "eggroll.properties")
    return context.container(
        name,
        context.image("eggroll"),
        ports=exposed(port),
        volumeMounts=[properties, *mounts],
        **probes(tcp(port)),
    )


def clustermanager(context: Context) -> list[Object]:
    """Make the cluster manager, and the properties that all of eggroll reads."""
    name = "clustermanager"
    given = context.module(name)
    properties = lines(
        (
            "[eggroll]",
            "eggroll.resourcemanager.clustermanager.host=clustermanager",
            "eggroll.resourcemanager.clustermanager.port=4670",
            "eggroll.resourcemanager.nodemanager.port=4671",
            f"eggroll.rollsite.coordinator={context.identity.name}",
            f"eggroll.rollsite.party.id={context.identity.party_id}",
            "eggroll.rollsite.host=rollsite",
            "eggroll.rollsite.port=9370",
        )
    )
    ports = [Port("tcp-clustermanager", 4670)]
    return [
        config_map(
            context, "eggroll-config", "eggroll", {"eggroll.properties": properties}, helm=False
        ),
        service(context, name, name, ports, headless=True),
        deployment(
            context,
            name,
            [_eggroll(context, name, 4670)],
            volumes=[from_config("eggroll-confs", "eggroll-config")],
            place=given,
        ),
    ]


def nodemanager(context: Context) -> list[Object]:
    """Make the node managers: one Deployment each in 1.8, one StatefulSet from 1.9 on."""
    given = context.module("nodemanager")
    if context.is_stateful:
        return _node(context, "nodemanager", given, given.get("replicas") or 2)
    objects: list[Object] = []
    for node in given.get("list") or []:
        objects += _node(context, str(node["name"]), node, 1)
    return objects


def _node(context: Context, name: str, given: Values, replicas: Any) -> list[Object]:
    fluentd = context.container(
        f"{name}-eggrollpair",
        context.outside_image("fluentd:v1.12", "fluent/fluentd:v1.12"),
        volumeMounts=[mount("eggroll-log", "/data/projects/fate/eggroll/logs/")],
    )
    data = mount("data-dir", "/data/projects/fate/eggroll/data", name)
    volumes = [
        {"name": "eggroll-log", "emptyDir": {}},
        from_config("eggroll-confs", "eggroll-config"),
        context.claim("data-dir", f"{name}-data", given.get("existingClaim")),
    ]
    maker = stateful_set if context.is_stateful else deployment
    return [
        *claim_object(context, f"{name}-data", name, given),
        service(context, name, name, [Port("tcp-nodemanager", 4671)], headless=True),
        maker(
            context,
            name,
            [_eggroll(context, name, 4671, data), fluentd],
            volumes=volumes,
            place=given,
            replicas=replicas,
        ),
    ]


def rollsite(context: Context) -> list[Object]:
    """Make rollsite with its table."""
    return _proxy(context, "rollsite", "rollsite-config")


def osx(context: Context) -> list[Object]:
    """Make osx (from 2.0 on); its table knows neither exchange nor default."""
    return _proxy(context, "osx", "osx-config")


def _proxy(context: Context, name: str, config: str) -> list[Object]:
    given = context.module(name)
    exchange = context.values.get("exchange") or {"partyIp": name, "partyPort": 9370}
    table = proxy_files.rollsite_routes(
        context.identity.party_id,
        context.values.get("partyList") or [],
        (exchange.get("partyIp"), exchange.get("partyPort")),
    )
    if name == "osx":
        table["route_table"].pop("default")
        table["self_party"] = context.identity.party_id
    ports = [Port(f"tcp-{name}", 9370, dig(given, "nodePort"))]
    routes = mount(f"{name}-confs", "/data/projects/fate/eggroll/conf/route_table/")
    return [
        config_map(context, config, name, {"route_table.json": json.dumps(table, indent=4)}),
        service(
            context,
            name,
            name,
            ports,
            type_=given.get("type"),
            address=given.get("loadBalancerIP"),
        ),
        deployment(
            context,
            name,
            [_eggroll(context, name, 9370, routes)],
            volumes=[
                from_config(f"{name}-confs", config),
                from_config("eggroll-confs", "eggroll-config"),
            ],
            place=given,
        ),
    ]
