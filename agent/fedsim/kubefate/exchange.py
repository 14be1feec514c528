"""Render chart ``fate-exchange``: nginx, Traffic Server, and rollsite for eggroll."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fedsim.kubefate import proxy_files
from fedsim.kubefate.objects import (
    Context,
    Identity,
    Object,
    Port,
    config_map,
    deployment,
    exposed,
    from_config,
    from_secret,
    mount,
    service,
)
from fedsim.kubefate.values import (
    RenderError,
    Values,
    block,
    copied,
    dig,
    exchange_of,
    go_number,
    image_values,
    includes,
    merge,
    party_list,
    placement,
    route_table,
    scalar,
)

_SNI = ".route_table.sni"
_NIL = "nil pointer evaluating interface {}.sni"
_ATS_HOME = "/opt/trafficserver/etc/trafficserver"


def render_exchange(
    spec: Mapping[str, Any], release: str, namespace: str, tag: str
) -> list[Object]:
    """Return the objects of an exchange; raise RenderError."""
    values = _values(spec, tag)
    party_id = go_number(values.get("partyId"))
    name = str(values.get("partyName") or "")
    identity = Identity(name, party_id, release, namespace, "fate-exchange")
    context = Context(identity, values)
    objects: list[Object] = []
    for module, maker in (
        ("nginx", _nginx),
        ("trafficServer", _traffic_server),
        ("rollsite", _rollsite),
    ):
        if context.has(module):
            objects += maker(context)
    return objects


def _values(spec: Mapping[str, Any], tag: str) -> Values:
    rollsite = block(spec, "rollsite")
    modules = {
        "rollsite": _module(spec, "rollsite") | {"partyList": party_list(rollsite)},
        "nginx": _module(spec, "nginx"),
        "trafficServer": _module(spec, "trafficServer"),
    }
    given = {
        "partyId": scalar(spec.get("partyId")),
        "partyName": spec.get("name"),
        "image": image_values(spec, tag),
        "exchange": exchange_of(rollsite),
        "partyList": party_list(rollsite),
        "modules": modules,
    }
    return merge(_defaults(tag), given)


def _module(spec: Mapping[str, Any], name: str) -> Values:
    values: Values = {"include": includes(spec, name)}
    given = block(spec, name)
    if given is None:
        return values
    ports = ("httpNodePort", "grpcNodePort") if name == "nginx" else ("nodePort",)
    values |= placement(given) | copied(given, "type", "replicas", *ports)
    if name == "nginx":
        values["route_table"] = route_table(given)
    if name == "trafficServer":
        values["route_table"] = {"sni": _sni_list(given)}
    return values


def _sni_list(given: Mapping[str, Any]) -> list[Values] | None:
    table = given.get("route_table")
    if not isinstance(table, Mapping):
        raise RenderError(
            "template: fate-values-templates:106:26: executing "
            f'"fate-values-templates" at <{_SNI}>: {_NIL}'
        )
    entries = table.get("sni") or []
    return [copied(entry, "fqdn", "tunnelRoute") for entry in entries] or None


def _defaults(tag: str) -> Values:
    """Return chart ``fate-exchange``'s values.yaml."""
    return {
        "image": {"registry": "federatedai", "tag": tag, "pullPolicy": "IfNotPresent"},
        "partyId": 9999,
        "partyName": "fate-9999",
        "modules": {
            "rollsite": {"type": "ClusterIP", "nodePort": 30001},
            "nginx": {"type": "NodePort", "httpNodePort": 30003, "grpcNodePort": 30008},
            "trafficServer": {"type": "ClusterIP", "nodePort": 30007},
        },
    }


def _nginx(context: Context) -> list[Object]:
    given = context.module("nginx")
    itself = {
        "ip": "nginx",
        "httpPort": proxy_files.OWN_HTTP,
        "grpcPort": proxy_files.OWN_GRPC,
    }
    own_id = context.identity.party_id
    files = {
        "route_table.yaml": proxy_files.nginx_routes(own_id, itself, given.get("route_table")),
        "nginx.conf": proxy_files.nginx_conf("127.0.0.1:9300", "127.0.0.1:9310"),
    }
    container = nginx_container(context, ports=exposed(9300, 9310))
    return [
        config_map(context, "nginx-config", "nginx", files),
        nginx_service(context),
        deployment(
            context,
            "nginx",
            [container],
            volumes=[from_config("nginx-confs", "nginx-config")],
            place=given,
            replicas=given.get("replicas"),
        ),
    ]


def nginx_container(context: Context, **rest: Any) -> Object:
    """Make nginx's container: the table is mounted as a folder, nginx.conf as one file."""
    home = "/data/projects/fate/proxy/nginx"
    start = (
        'sed -i "s#conf/route_table.yaml#conf/modifiable/route_table.yaml#g"'
        " nginx/lua/route_table.lua; openresty -g 'daemon off;'"
    )
    return context.container(
        "nginx",
        context.image("nginx"),
        command=["/bin/bash", "-c", start],
        volumeMounts=[
            mount("nginx-confs", f"{home}/conf/nginx.conf", "nginx.conf"),
            mount("nginx-confs", f"{home}/conf/modifiable/"),
        ],
        **rest,
    )


def nginx_service(context: Context) -> Object:
    """Make nginx's Service."""
    given = context.module("nginx")
    ports = (
        Port("http", 9300, given.get("httpNodePort")),
        Port("grpc", 9310, given.get("grpcNodePort")),
    )
    return service(
        context,
        "nginx",
        "nginx",
        ports,
        type_=given.get("type"),
        address=given.get("loadBalancerIP"),
    )


def _traffic_server(context: Context) -> list[Object]:
    given = context.module("trafficServer")
    table = given.get("route_table")
    if not isinstance(table, Mapping):
        template = "fate-exchange/templates/traffic-server-module.yaml"
        raise RenderError(
            f'template: {template}:58:27: executing "{template}" at '
            f"<.Values.modules.trafficServer{_SNI}>: {_NIL}"
        )
    name = "traffic-server"
    config = {
        "ssl_multicert.config": proxy_files.MULTICERT,
        "records.config": proxy_files.RECORDS,
    }
    names = {"sni.yaml": proxy_files.sni(table.get("sni") or [])}
    return [
        config_map(context, "traffic-server-config", name, config, helm=False),
        config_map(context, "traffic-server-sni", name, names, helm=False),
        # The chart writes nodePort whatever the type; Kubernetes refuses it with ClusterIP.
        service(
            context,
            name,
            name,
            [Port("443", 443, given.get("nodePort"))],
            type_=given.get("type"),
            address=given.get("loadBalancerIP"),
            helm=False,
            always_node_port=True,
        ),
        deployment(
            context,
            name,
            [_traffic_container(context)],
            volumes=[
                from_config("traffic-server-confs", "traffic-server-config"),
                from_config("traffic-server-sni", "traffic-server-sni"),
                from_secret("traffic-server-cert-file", "traffic-server-cert"),
            ],
            place=given,
            replicas=given.get("replicas"),
            helm=False,
        ),
    ]


def _traffic_container(context: Context) -> Object:
    confs, cert = "traffic-server-confs", "traffic-server-cert-file"
    return context.container(
        "traffic-server",
        context.image("trafficserver", None),
        command=["/bin/bash", "-c", "/opt/trafficserver/bin/traffic_manager"],
        ports=exposed(8080, 443),
        volumeMounts=[
            mount(confs, "/etc/trafficserver/records.config", "records.config"),
            mount(confs, "/etc/trafficserver/ssl_multicert.config", "ssl_multicert.config"),
            mount("traffic-server-sni", f"{_ATS_HOME}/sni"),
            mount(cert, "/opt/proxy"),
            mount(cert, f"{_ATS_HOME}/proxy.cert.pem", "proxy.cert.pem"),
            mount(cert, f"{_ATS_HOME}/proxy.key.pem", "proxy.key.pem"),
        ],
    )


def _rollsite(context: Context) -> list[Object]:
    given = context.module("rollsite")
    values = context.values
    exchange = values.get("exchange") or {"partyIp": "rollsite", "partyPort": 9370}
    table = proxy_files.rollsite_routes(
        context.identity.party_id,
        values.get("partyList") or [],
        (exchange.get("partyIp"), exchange.get("partyPort")),
        own=False,
    )
    container = context.container(
        "rollsite",
        context.image("eggroll"),
        ports=exposed(9370),
        volumeMounts=[mount("rollsite-confs", "/data/projects/fate/eggroll/conf/route_table/")],
    )
    ports = [Port("tcp-rollsite", 9370, dig(given, "nodePort"))]
    routes = {"route_table.json": json.dumps(table, indent=4)}
    return [
        config_map(context, "rollsite-config", "rollsite", routes),
        service(context, "rollsite", "rollsite", ports, type_=given.get("type")),
        deployment(
            context,
            "rollsite",
            [container],
            volumes=[from_config("rollsite-confs", "rollsite-config")],
            place=given,
        ),
    ]
