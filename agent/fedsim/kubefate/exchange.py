"""Render chart ``fate-exchange`` 1.8.0: nginx and Traffic Server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedsim.kubefate import proxy_files
from fedsim.kubefate.objects import (
    Context,
    Object,
    Port,
    config_map,
    deployment,
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
    image_values,
    includes,
    merge,
    placement,
    route_table,
    scalar,
)

_SNI = ".route_table.sni"
_NIL = "nil pointer evaluating interface {}.sni"
_ATS_HOME = "/opt/trafficserver/etc/trafficserver"
_NGINX_HOME = "/data/projects/fate/proxy/nginx"
_ITSELF = {"ip": "nginx", "httpPort": proxy_files.OWN_HTTP, "grpcPort": proxy_files.OWN_GRPC}


def render_exchange(spec: Mapping[str, Any], release: str, namespace: str) -> list[Object]:
    """Return the objects of an exchange; raise RenderError."""
    context = Context(_values(spec), release, namespace, "fate-exchange")
    objects: list[Object] = []
    if context.has("nginx"):
        objects += nginx(context, _ITSELF, ("127.0.0.1:9300", "127.0.0.1:9310"))
    if context.has("trafficServer"):
        objects += _traffic_server(context)
    return objects


def _values(spec: Mapping[str, Any]) -> Values:
    stated = {
        "partyId": scalar(spec.get("partyId")),
        "partyName": spec.get("name"),
        "image": image_values(spec),
        "modules": {name: _module(spec, name) for name in ("nginx", "trafficServer")},
    }
    return merge(_DEFAULTS, stated)


def _module(spec: Mapping[str, Any], name: str) -> Values:
    values: Values = {"include": includes(spec, name)}
    stated = block(spec, name)
    if stated is None:
        return values
    ports = ("httpNodePort", "grpcNodePort") if name == "nginx" else ("nodePort",)
    values |= placement(stated) | copied(stated, "type", "replicas", *ports)
    if name == "nginx":
        return values | {"route_table": route_table(stated)}
    return values | {"route_table": {"sni": _sni_list(stated)}}


def _sni_list(stated: Mapping[str, Any]) -> list[Values] | None:
    table = stated.get("route_table")
    if not isinstance(table, Mapping):
        raise RenderError(
            "template: fate-values-templates:106:26: executing "
            f'"fate-values-templates" at <{_SNI}>: {_NIL}'
        )
    entries = table.get("sni") or []
    return [copied(entry, "fqdn", "tunnelRoute") for entry in entries] or None


_DEFAULTS: Values = {
    "partyId": 9999,
    "partyName": "fate-9999",
    "modules": {
        "nginx": {"type": "NodePort", "httpNodePort": 30003, "grpcNodePort": 30008},
        "trafficServer": {"type": "ClusterIP", "nodePort": 30007},
    },
}
"""Chart ``fate-exchange``'s values.yaml, without what no template here reads."""


def nginx(context: Context, default: Mapping[str, Any], upstreams: tuple[str, str]) -> list[Object]:
    """Return nginx with its table, which is mounted as a folder; nginx.conf is one file."""
    values = context.block("nginx")
    routes = proxy_files.nginx_routes(context.party_id, default, values.get("route_table"))
    files = {"route_table.yaml": routes, "nginx.conf": proxy_files.nginx_conf(*upstreams)}
    ports = (
        Port("http", 9300, values.get("httpNodePort")),
        Port("grpc", 9310, values.get("grpcNodePort")),
    )
    mounts = [
        mount("nginx-confs", f"{_NGINX_HOME}/conf/nginx.conf", "nginx.conf"),
        mount("nginx-confs", f"{_NGINX_HOME}/conf/modifiable/"),
    ]
    container = context.container(
        "nginx", context.image("nginx"), (9300, 9310), volumeMounts=mounts
    )
    return [
        config_map(context, "nginx-config", "nginx", files),
        service(context, "nginx", "nginx", ports, values=values),
        deployment(
            context,
            "nginx",
            [container],
            volumes=[from_config("nginx-confs", "nginx-config")],
            values=values,
            replicas=values.get("replicas"),
        ),
    ]


def _traffic_server(context: Context) -> list[Object]:
    values, name = context.block("trafficServer"), "traffic-server"
    table = values.get("route_table")
    if not isinstance(table, Mapping):
        template = "fate-exchange/templates/traffic-server-module.yaml"
        raise RenderError(
            f'template: {template}:58:27: executing "{template}" at '
            f"<.Values.modules.trafficServer{_SNI}>: {_NIL}"
        )
    config = {
        "ssl_multicert.config": proxy_files.MULTICERT,
        "records.config": proxy_files.RECORDS,
    }
    names = {"sni.yaml": proxy_files.sni(table.get("sni") or [])}
    ports = [Port("443", 443, values.get("nodePort"))]
    return [
        config_map(context, "traffic-server-config", name, config, helm=False),
        config_map(context, "traffic-server-sni", name, names, helm=False),
        # The chart writes nodePort whatever the type; Kubernetes refuses it with ClusterIP.
        service(context, name, name, ports, values=values, helm=False, has_node_port=True),
        deployment(
            context,
            name,
            [_traffic_container(context)],
            volumes=[
                from_config("traffic-server-confs", "traffic-server-config"),
                from_config("traffic-server-sni", "traffic-server-sni"),
                from_secret("traffic-server-cert-file", "traffic-server-cert"),
            ],
            values=values,
            replicas=values.get("replicas"),
            helm=False,
        ),
    ]


def _traffic_container(context: Context) -> Object:
    confs, cert = "traffic-server-confs", "traffic-server-cert-file"
    mounts = [
        mount(confs, "/etc/trafficserver/records.config", "records.config"),
        mount(confs, "/etc/trafficserver/ssl_multicert.config", "ssl_multicert.config"),
        mount("traffic-server-sni", f"{_ATS_HOME}/sni"),
        mount(cert, "/opt/proxy"),
        mount(cert, f"{_ATS_HOME}/proxy.cert.pem", "proxy.cert.pem"),
        mount(cert, f"{_ATS_HOME}/proxy.key.pem", "proxy.key.pem"),
    ]
    image = context.image("trafficserver").rpartition(":")[0]  # the chart names no tag
    return context.container("traffic-server", image, (8080, 443), volumeMounts=mounts)
