"""The files that the proxies read: nginx's configuration and route table, Traffic Server's.

Shapes are those of the 1.8.0 charts: the route table always holds the party
itself, under its own id, and a default; the list of names is null when it is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedsim.kubefate.values import go_number, indent, lines, yaml_text

OWN_HTTP, OWN_GRPC = 9300, 9310
RECORDS = lines(
    (
        "CONFIG proxy.config.http.cache.http INT 0",
        "CONFIG proxy.config.reverse_proxy.enabled INT 0",
        "CONFIG proxy.config.url_remap.remap_required INT 0",
        "CONFIG proxy.config.url_remap.pristine_host_hdr INT 0",
        "CONFIG proxy.config.http.response_server_enabled INT 0",
        "CONFIG proxy.config.http.server_ports STRING 8080 8080:ipv6 443:ssl",
        "CONFIG proxy.config.http.connect_ports STRING 443 6650-6700 30000-33000",
        "CONFIG proxy.config.ssl.CA.cert.filename STRING ca.cert.pem",
        "CONFIG proxy.config.ssl.CA.cert.path STRING /opt/proxy",
        "CONFIG proxy.config.ssl.server.cert.path STRING /opt/proxy",
        "CONFIG proxy.config.ssl.servername.filename STRING sni/sni.yaml",
    )
)
MULTICERT = "dest_ip=* ssl_cert_name=proxy.cert.pem ssl_key_name=proxy.key.pem\n"


def nginx_conf(http_placeholder: str, grpc_placeholder: str) -> str:
    """Write nginx.conf; a placeholder gets a request whose route names no IP address."""
    return f"""\
worker_processes  2;
error_log  /dev/stdout  info;
error_log  /dev/stderr  error;
events {{
    worker_connections  1024;
}}
http {{
    include       mime.types;
    default_type  application/octet-stream;
    access_log  logs/access.log;
    sendfile        on;
    keepalive_timeout  65;
    underscores_in_headers on;
    lua_package_path "$prefix/lua/?.lua;;";
    init_worker_by_lua_file 'lua/initialize.lua';
    upstream http_cluster {{
        server {http_placeholder};
        balancer_by_lua_file 'lua/balancer.lua';
    }}
    upstream grpc_cluster {{
        server {grpc_placeholder};
        balancer_by_lua_file 'lua/balancer.lua';
    }}
    include vhost/*.conf;
}}
stream {{
    server {{
        listen 9128;
        proxy_connect_timeout 1s;
        proxy_timeout 3s;
        proxy_pass 127.0.0.1:3128;
    }}
}}
"""


def nginx_routes(own_id: str, default: Mapping[str, Any], table: Mapping[str, Any] | None) -> str:
    """Write route_table.yaml: the default, the party itself, then the stated entries."""
    parts = [
        "default:",
        *_target("proxy", default.get("ip"), default.get("httpPort"), default.get("grpcPort")),
        f"{own_id}:",
        *_target("proxy", "nginx", OWN_HTTP, OWN_GRPC),
        *_target("fateflow", "fateflow", 9380, 9360),
        *_entries(table or {}),
    ]
    return lines(parts)


def _target(service: str, host: Any, http_port: Any, grpc_port: Any) -> tuple[str, ...]:
    return (
        f"  {service}:",
        f"    - host: {go_number(host)}",
        f"      http_port: {go_number(http_port)}",
        f"      grpc_port: {go_number(grpc_port)}",
    )


def sni(entries: Sequence[Mapping[str, Any]]) -> str:
    """Write sni.yaml; no entries give ``sni:``, which Traffic Server does not survive."""
    parts = ["sni:"]
    for entry in entries:
        parts += [
            f"  - fqdn: {go_number(entry.get('fqdn'))}",
            f"    tunnel_route: {go_number(entry.get('tunnelRoute'))}",
        ]
    return lines(parts)


def pulsar_routes(own_id: str, values: Mapping[str, Any]) -> str:
    """Write pulsar_route_table.yaml; the party itself is in it only when no table is stated."""
    parts = []
    if exchange := values.get("exchange"):
        proxy = f"{go_number(exchange.get('ip'))}:{go_number(exchange.get('port'))}"
        parts = ["default:", f'  proxy: "{proxy}"', f'  domain: "{exchange.get("domain")}"']
    if table := values.get("route_table"):
        return lines([*parts, *_entries(table)])
    own = ("  host: pulsar", "  port: 6650", "  sslPort: 6651", '  proxy: ""')
    return lines([*parts, f"{own_id}:", *own])


def _entries(table: Mapping[str, Any]) -> list[str]:
    return [f"{key}:\n{indent(yaml_text(value), 2)}" for key, value in table.items()]
