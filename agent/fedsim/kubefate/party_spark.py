"""The modules of a party on Spark: Spark, HDFS, nginx, and Pulsar or RabbitMQ."""

from __future__ import annotations

from typing import Any

from fedsim.kubefate import proxy_files
from fedsim.kubefate.exchange import nginx_container, nginx_service
from fedsim.kubefate.objects import (
    Context,
    Object,
    Port,
    claim_object,
    command,
    config_map,
    deployment,
    env,
    exposed,
    from_config,
    from_secret,
    http,
    ingress,
    mount,
    named_ports,
    probes,
    service,
    tcp,
)
from fedsim.kubefate.party_core import keep
from fedsim.kubefate.values import Values, dig, lines

_MESSAGE_BYTES = 134217728


def spark(context: Context) -> list[Object]:
    """Make Spark's master and workers."""
    master, worker = context.module("spark", "master"), context.module("spark", "worker")
    web, rest = Port("web-ui", 8080), Port("master-rest", 6066)
    inner = [web, Port("master", 7077), rest]
    outer = [web, Port("master", 7077, dig(master, "nodePort")), rest]
    conf = [from_config("spark-worker-confs", "spark-worker-config")]
    mounts = [mount("spark-worker-confs", "/data/projects/fate/conf/")]
    return [
        config_map(
            context, "spark-worker-config", "spark-worker", {"service_conf.yaml": _WORKER_CONF}
        ),
        service(context, "spark-master", "spark-master", inner, headless=True),
        service(context, "spark-client", "spark-master", outer, type_=dig(master, "type")),
        service(
            context,
            "spark-worker-1",
            "spark-worker",
            [Port("tcp-spark", 8081)],
            type_=dig(worker, "type"),
            headless=True,
        ),
        ingress(context, "spark", "spark", "spark-master", 8080),
        _spark_workload(context, "spark-master", master or {}, 1, (8080, 7077, 6066)),
        _spark_workload(
            context, "spark-worker", worker or {}, 2, (8081,), volumes=conf, mounts=mounts
        ),
    ]


_WORKER_CONF = lines(("use_registry: false", "fateflow:", "  host: 127.0.0.1", "  http_port: 9380"))


def _spark_workload(
    context: Context,
    name: str,
    given: Values,
    replicas: int,
    ports: tuple[int, ...],
    *,
    volumes: Any = (),
    mounts: Any = (),
) -> Object:
    container = context.container(
        name,
        _spark_image(context, name, given),
        ports=exposed(*ports),
        resources=given.get("resources"),
        volumeMounts=list(mounts),
        **probes(http("/", ports[0])),
    )
    count = given.get("replicas") or replicas
    return deployment(context, name, [container], volumes=volumes, place=given, replicas=count)


def _spark_image(context: Context, name: str, given: Values) -> str:
    tag = str(given.get("ImageTag") or dig(context.values, "image", "tag"))
    return f"{given['Image']}:{tag}" if given.get("Image") else context.image(name, tag)


def hdfs(context: Context) -> list[Object]:
    """Make HDFS's name node and data nodes."""
    name_node = context.module("hdfs", "namenode") or {}
    data_node = context.module("hdfs", "datanode") or {}
    core = "<configuration><property><name>fs.default.name</name><value>hdfs://0.0.0.0:9000</value></property></configuration>\n"
    place = {"CORE_CONF_fs_defaultFS": "hdfs://namenode:9000"}
    web, data_web = (9870, 9864) if context.is_stateful else (50070, 50075)
    name_ports = [Port("tcp-9000", 9000, name_node.get("nodePort")), Port("tcp-9870", 9870)]
    data_ports = [Port("tcp-9000", 9000), Port("tcp-9870", 9870)]
    return [
        config_map(context, "namenode-config", "namenode", {"core-site.xml": core}),
        config_map(context, "namenode-env", "namenode", place),
        config_map(context, "datanode-env", "datanode", place),
        *claim_object(context, "namenode-data", "namenode", name_node),
        *claim_object(context, "datanode-data", "datanode", data_node),
        service(
            context,
            "datanode",
            "datanode",
            [*data_ports, Port(f"tcp-{data_web}", data_web)],
            type_=data_node.get("type"),
        ),
        service(
            context,
            "namenode",
            "namenode",
            name_ports if context.is_stateful else [*name_ports, Port("tcp-50070", 50070)],
            type_=name_node.get("type"),
        ),
        _name_node(context, name_node, web),
        _data_node(context, data_node, data_web),
    ]


def _hadoop_image(context: Context, role: str) -> str:
    hadoop = "hadoop3.2.1" if context.is_stateful else "hadoop2.7.4"
    return context.image(f"hadoop-{role}", f"2.0.0-{hadoop}-java8")


def _name_node(context: Context, given: Values, web: int) -> Object:
    container = context.container(
        "namenode",
        _hadoop_image(context, "namenode"),
        env=env(CLUSTER_NAME="fate"),
        envFrom=[{"configMapRef": {"name": "namenode-env"}}],
        ports=exposed(*sorted({9000, 9870, web})),
        volumeMounts=[
            mount("namenode-confs", "/etc/hadoop/core-site.xml", "core-site.xml"),
            mount("dfs", "/hadoop/dfs/name"),
        ],
        **probes(command("/bin/bash", "-c", f"curl -f localhost:{web}"), 5),
    )
    volumes = [
        from_config("namenode-confs", "namenode-config"),
        context.claim("dfs", "namenode-data", given.get("existingClaim")),
    ]
    clean = {
        "name": "delete-lost-found",
        "image": "busybox",
        "command": ["sh", "-c", "rm -rf /hadoop/dfs/name/lost+found"],
        "volumeMounts": [mount("dfs", "/hadoop/dfs/name")],
    }
    first = [clean] if context.persists else []
    return keep(
        context, "namenode", [container], volumes=volumes, place=given, initContainers=first
    )


def _data_node(context: Context, given: Values, web: int) -> Object:
    container = context.container(
        "datanode",
        _hadoop_image(context, "datanode"),
        env=env(SERVICE_PRECONDITION="namenode:9000"),
        envFrom=[{"configMapRef": {"name": "datanode-env"}}],
        ports=exposed(9000, 9870, web),
        volumeMounts=[mount("dfs", "/hadoop/dfs/data")],
        **probes(command("/bin/bash", "-c", f"curl -f localhost:{web}")),
    )
    volumes = [context.claim("dfs", "datanode-data", given.get("existingClaim"))]
    count = (given.get("replicas") or 3) if context.is_stateful else 1
    return keep(context, "datanode", [container], volumes=volumes, place=given, replicas=count)


def nginx(context: Context) -> list[Object]:
    """Make the party's nginx; without an exchange the chart's sample address is its default."""
    given = context.module("nginx")
    own_id = context.identity.party_id
    default = given.get("exchange") or {}
    files = {
        "route_table.yaml": proxy_files.nginx_routes(own_id, default, given.get("route_table")),
        "nginx.conf": proxy_files.nginx_conf("fateflow:9380", "fateflow:9360"),
    }
    container = nginx_container(
        context,
        ports=named_ports(http_port=9300, grpc_port=9310),
        **probes(http("/test", 9302)),
    )
    return [
        config_map(context, "nginx-config", "nginx", files),
        nginx_service(context),
        deployment(
            context,
            "nginx",
            [container],
            volumes=[from_config("nginx-confs", "nginx-config")],
            place=given,
        ),
    ]


def pulsar(context: Context) -> list[Object]:
    """Make Pulsar; with an exchange it speaks TLS alone and needs Secret ``pulsar-cert``."""
    given = context.module("pulsar")
    has_exchange = bool(given.get("exchange"))
    ports = [
        Port("http-port", 6650, given.get("httpNodePort")),
        Port("https-port", 6651, given.get("httpsNodePort")),
        Port("mng-port", 8080),
        Port("mngs-port", 8081),
    ]
    objects = [
        config_map(
            context,
            "pulsar-config",
            "pulsar",
            {"standalone.conf": _standalone(has_exchange=has_exchange)},
        ),
        *claim_object(context, "pulsar-data", "pulsar", given),
        service(
            context,
            "pulsar",
            "pulsar",
            ports,
            type_=given.get("type"),
            address=given.get("loadBalancerIP"),
        ),
        ingress(context, "pulsar", "pulsar", "pulsar", 8080),
        _pulsar_workload(context, given, has_exchange=has_exchange),
    ]
    if dig(given, "publicLB", "enabled"):
        public = [Port("tls-port", 6651)]
        objects.append(
            service(context, "pulsar-public-tls", "pulsar", public, type_="LoadBalancer")
        )
    return objects


def _pulsar_workload(context: Context, given: Values, *, has_exchange: bool) -> Object:
    volumes = [
        from_config("pulsar-confs", "pulsar-config"),
        context.claim("pulsar-data", "pulsar-data", given.get("existingClaim")),
    ]
    mounts = [
        mount("pulsar-confs", "/pulsar/conf/standalone.conf", "standalone.conf"),
        mount("pulsar-data", "/pulsar/data"),
    ]
    if has_exchange:
        volumes.append(from_secret("pulsar-cert", "pulsar-cert"))
        mounts.append(mount("pulsar-cert", "/opt/pulsar/certs/"))
    container = context.container(
        "pulsar",
        context.image("pulsar", "2.10.1" if context.is_stateful else "2.7.0"),
        command=["/bin/bash", "-c", "bin/pulsar standalone -nss"],
        ports=exposed(6650, 6651, 8080, 8081),
        volumeMounts=mounts,
        **probes(tcp(8081 if has_exchange else 8080)),
    )
    return keep(context, "pulsar", [container], volumes=volumes, place=given)


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
            "brokerClientTlsEnabled=true",
            f"tlsCertificateFilePath={certs}/broker.cert.pem",
            f"tlsKeyFilePath={certs}/broker.key-pk8.pem",
            f"tlsTrustCertsFilePath={certs}/ca.cert.pem",
            "tlsAllowInsecureConnection=true",
            "tlsRequireTrustedClientCertOnConnect=false",
        )
    )


def rabbitmq(context: Context) -> list[Object]:
    """Make RabbitMQ."""
    given = context.module("rabbitmq")
    container = context.container(
        "rabbitmq",
        context.image("rabbitmq"),
        env=env(
            RABBITMQ_DEFAULT_USER=given.get("default_user"),
            RABBITMQ_DEFAULT_PASS=given.get("default_pass"),
        ),
        ports=exposed(5672, 15672),
        **probes(tcp(5672)),
    )
    ports = [Port("tcp-rabbitmq", 5672, given.get("nodePort")), Port("tcp-rabbitmq1", 15672)]
    return [
        config_map(context, "rabbitmq-config", "rabbitmq", {"enabled_plugins": "[].\n"}),
        service(
            context,
            "rabbitmq",
            "rabbitmq",
            ports,
            type_=given.get("type"),
            address=given.get("loadBalancerIP"),
        ),
        ingress(context, "rabbitmq", "rabbitmq", "rabbitmq", 15672),
        deployment(context, "rabbitmq", [container], place=given),
    ]
