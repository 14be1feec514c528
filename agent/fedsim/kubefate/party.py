"""Render chart ``fate`` 1.8.0 on Spark and Pulsar: one FATE party."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fedsim.kubefate import proxy_files
from fedsim.kubefate.exchange import nginx
from fedsim.kubefate.objects import (
    Context,
    Object,
    Port,
    config_map,
    data_claim,
    deployment,
    from_config,
    from_secret,
    ingress,
    mount,
    service,
)
from fedsim.kubefate.party_values import party_values
from fedsim.kubefate.values import RenderError, Values, dig, lines

_BACKEND = "spark_pulsar"
_HOME = "/data/projects/fate"
_MYSQL_IMAGE = "mysql:8.0.28"
_HADOOP_TAG = "2.0.0-hadoop2.7.4-java8"
_MESSAGE_BYTES = 134217728


def render_party(spec: Mapping[str, Any], release: str, namespace: str) -> list[Object]:
    """Return the objects of a party; raise RenderError."""
    context = Context(party_values(spec), release, namespace, "fate")
    backend = context.module("python", "backend")
    if context.has("python") and backend != _BACKEND:
        raise RenderError(f"the simulated chart has no backend {backend!r}")
    objects: list[Object] = []
    for module, maker in _MAKERS.items():
        if context.has(module):
            objects += maker(context)
    return objects


def _python(context: Context) -> list[Object]:
    """Return FATE-Flow: pod ``python``, which holds FATEBoard too."""
    values = context.block("python")
    routes = proxy_files.pulsar_routes(context.party_id, context.block("pulsar"))
    volumes = [
        context.data_volume("python-data", "python-data", values),
        from_config("pulsar-route-table", "pulsar-route-table"),
    ]
    containers = [
        context.container(
            "python",
            context.image("python-spark"),
            (9360, 9380),
            resources=values.get("resources"),
            volumeMounts=[
                mount("python-data", f"{_HOME}/fateflow/logs", "logs"),
                mount("pulsar-route-table", f"{_HOME}/conf/pulsar_route_table"),
            ],
        )
    ]
    if context.has("fateboard"):
        containers.append(context.container("fateboard", context.image("fateboard"), (8080,)))
    inner = [Port("tcp-grpc", 9360), Port("tcp-http", 9380)]
    outer = [
        Port("tcp-grpc", 9360, values.get("grpcNodePort")),
        Port("tcp-http", 9380, values.get("httpNodePort")),
    ]
    return [
        config_map(context, "pulsar-route-table", "python", {"pulsar_route_table.yaml": routes}),
        *data_claim(context, "python-data", "python", values),
        service(context, "fateflow", "python", inner, clusterIP="None"),
        service(context, "fateflow-client", "python", outer, values=values),
        deployment(
            context,
            "python",
            containers,
            volumes=volumes,
            values=values,
            serviceAccountName=values.get("serviceAccountName"),
            initContainers=[context.container("ping-mysql", context.outside_image(_MYSQL_IMAGE))],
        ),
    ]


def _fateboard(context: Context) -> list[Object]:
    """Return the Service and the Ingress of FATEBoard, a container of pod ``python``."""
    values, ports = context.block("fateboard"), [Port("tcp-fateboard", 8080)]
    return [
        service(context, "fateboard", "python", ports, values=values),
        ingress(context, "fateboard", "fateboard", 8080),
    ]


def _client(context: Context) -> list[Object]:
    """Return the notebook."""
    values = context.block("client")
    mounts = [mount("persistence", f"{_HOME}/persistence/", str(values.get("subPath") or ""))]
    container = context.container("client", context.image("client"), (20000,), volumeMounts=mounts)
    volume = context.data_volume("persistence", "client-data", values)
    return [
        *data_claim(context, "client-data", "client", values),
        service(context, "notebook", "client", [Port("tcp-notebook", 20000)], values=values),
        ingress(context, "client", "notebook", 20000),
        deployment(context, "client", [container], volumes=[volume], values=values),
    ]


def _mysql(context: Context) -> list[Object]:
    values = context.block("mysql")
    container = context.container(
        "mysql",
        context.outside_image(_MYSQL_IMAGE),
        (3306,),
        volumeMounts=[mount("data", "/var/lib/mysql", str(values.get("subPath") or ""))],
    )
    volume = context.data_volume("data", "mysql-data", values)
    return [
        *data_claim(context, "mysql-data", "mysql", values),
        service(context, "mysql", "mysql", [Port("tcp-mysql", 3306)], values=values),
        deployment(context, "mysql", [container], volumes=[volume], values=values),
    ]


def _spark(context: Context) -> list[Object]:
    master, worker = context.block("spark", "master"), context.block("spark", "worker")
    inner = [Port("web-ui", 8080), Port("master", 7077)]
    outer = [Port("web-ui", 8080), Port("master", 7077, master.get("nodePort"))]
    worker_ports = [Port("tcp-spark", 8081)]
    return [
        service(context, "spark-master", "spark-master", inner, clusterIP="None"),
        service(context, "spark-client", "spark-master", outer, values=master),
        service(
            context, "spark-worker-1", "spark-worker", worker_ports, values=worker, clusterIP="None"
        ),
        ingress(context, "spark", "spark-master", 8080),
        _spark_deployment(context, "spark-master", master, (8080, 7077)),
        _spark_deployment(context, "spark-worker", worker, (8081,)),
    ]


def _spark_deployment(
    context: Context, name: str, values: Values, ports: tuple[int, ...]
) -> Object:
    tag = str(values.get("ImageTag") or context.values["image"]["tag"])
    image = f"{values['Image']}:{tag}" if values.get("Image") else context.image(name, tag)
    container = context.container(name, image, ports, resources=values.get("resources"))
    return deployment(context, name, [container], values=values, replicas=values.get("replicas"))


def _hdfs(context: Context) -> list[Object]:
    """Return HDFS's name node and data node."""
    objects: list[Object] = []
    for role, mounted, web in (("namenode", "name", 50070), ("datanode", "data", 50075)):
        values = context.block("hdfs", role)
        container = context.container(
            role,
            context.image(f"hadoop-{role}", _HADOOP_TAG),
            (9000, 9870, web),
            volumeMounts=[mount("dfs", f"/hadoop/dfs/{mounted}")],
        )
        volume = context.data_volume("dfs", f"{role}-data", values)
        ports = [
            Port("tcp-9000", 9000, values.get("nodePort")),
            Port("tcp-9870", 9870),
            Port(f"tcp-{web}", web),
        ]
        objects += [
            *data_claim(context, f"{role}-data", role, values),
            service(context, role, role, ports, values=values),
            deployment(context, role, [container], volumes=[volume], values=values),
        ]
    return objects


def _nginx(context: Context) -> list[Object]:
    """Return the party's nginx; without an exchange the chart's sample address is its default."""
    default = context.block("nginx", "exchange")
    return nginx(context, default, ("fateflow:9380", "fateflow:9360"))


def _pulsar(context: Context) -> list[Object]:
    """Return Pulsar; with an exchange it speaks TLS alone and needs Secret ``pulsar-cert``."""
    values = context.block("pulsar")
    has_exchange = bool(values.get("exchange"))
    ports = [
        Port("http-port", 6650, values.get("httpNodePort")),
        Port("https-port", 6651, values.get("httpsNodePort")),
        Port("mng-port", 8080),
        Port("mngs-port", 8081),
    ]
    conf = {"standalone.conf": _standalone(has_exchange=has_exchange)}
    objects = [
        config_map(context, "pulsar-config", "pulsar", conf),
        *data_claim(context, "pulsar-data", "pulsar", values),
        service(context, "pulsar", "pulsar", ports, values=values),
        ingress(context, "pulsar", "pulsar", 8080),
        _pulsar_deployment(context, values, has_exchange=has_exchange),
    ]
    if dig(values, "publicLB", "enabled"):
        public = {"type": "LoadBalancer"}
        tls_port = [Port("tls-port", 6651)]
        objects.append(service(context, "pulsar-public-tls", "pulsar", tls_port, values=public))
    return objects


def _pulsar_deployment(context: Context, values: Values, *, has_exchange: bool) -> Object:
    volumes = [
        from_config("pulsar-confs", "pulsar-config"),
        context.data_volume("pulsar-data", "pulsar-data", values),
    ]
    mounts = [
        mount("pulsar-confs", "/pulsar/conf/standalone.conf", "standalone.conf"),
        mount("pulsar-data", "/pulsar/data"),
    ]
    if has_exchange:
        volumes.append(from_secret("pulsar-cert", "pulsar-cert"))
        mounts.append(mount("pulsar-cert", "/opt/pulsar/certs/"))
    container = context.container(
        "pulsar", context.image("pulsar", "2.7.0"), (6650, 6651, 8080, 8081), volumeMounts=mounts
    )
    return deployment(context, "pulsar", [container], volumes=volumes, values=values)


def _standalone(*, has_exchange: bool) -> str:
    common = (f"maxMessageSize={_MESSAGE_BYTES}", "bindAddress=0.0.0.0", "clusterName=standalone")
    if not has_exchange:
        return lines((*common, "brokerServicePort=6650", "webServicePort=8080"))
    certs = "/opt/pulsar/certs"
    return lines(
        (
            *common,
            "brokerServicePortTls=6651",
            "webServicePortTls=8081",
            "tlsEnabled=true",
            f"tlsCertificateFilePath={certs}/broker.cert.pem",
            f"tlsKeyFilePath={certs}/broker.key-pk8.pem",
            f"tlsTrustCertsFilePath={certs}/ca.cert.pem",
        )
    )


_MAKERS: Mapping[str, Callable[[Context], list[Object]]] = {
    "python": _python,
    "fateboard": _fateboard,
    "client": _client,
    "mysql": _mysql,
    "spark": _spark,
    "hdfs": _hdfs,
    "nginx": _nginx,
    "pulsar": _pulsar,
}
