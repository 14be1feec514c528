"""The modules of a party that every engine has: FATE-Flow, FATEBoard, notebook, MySQL."""

from __future__ import annotations

from typing import Any

from fedsim.kubefate import proxy_files
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
    http,
    ingress,
    mount,
    named_ports,
    probes,
    service,
    stateful_set,
    tcp,
)
from fedsim.kubefate.values import Values, dig, filled, go_number, yaml_text

_HOME = "/data/projects/fate"
_FLOW_PORTS = (("tcp-grpc", 9360, "grpcNodePort"), ("tcp-http", 9380, "httpNodePort"))
_MYSQL_IMAGE = "mysql:8.0.28"
_PULSAR_BACKENDS = ("spark_pulsar", "spark_local_pulsar")


def backend(context: Context) -> str:
    """Name the engines of the party, in 1.8's words."""
    return str(context.module("python", "backend") or "eggroll")


def keep(context: Context, name: str, containers: list[Object], **rest: Any) -> Object:
    """Make the workload of a module with data: a StatefulSet from 1.9 on."""
    maker = stateful_set if context.is_stateful else deployment
    return maker(context, name, containers, **rest)


def python(context: Context) -> list[Object]:
    """Make FATE-Flow: pod ``python`` with its Services, files and claim."""
    given = context.module("python")
    own_id = context.identity.party_id
    pulsar = context.module("pulsar") or {}
    rabbitmq = context.module("rabbitmq") or {}
    return [
        config_map(context, "python-config", "python", _config(context, given)),
        config_map(
            context,
            "pulsar-route-table",
            "python",
            {"pulsar_route_table.yaml": proxy_files.pulsar_routes(own_id, pulsar)},
        ),
        config_map(
            context,
            "rabbitmq-route-table",
            "python",
            {"rabbitmq_route_table.yaml": proxy_files.rabbitmq_routes(own_id, rabbitmq)},
        ),
        *claim_object(context, "python-data", "python", given),
        *_flow_services(context, given),
        _python_workload(context, given),
    ]


def _flow_services(context: Context, given: Values) -> list[Object]:
    inner = [Port(name, number) for name, number, _ in _FLOW_PORTS]
    outer = [Port(name, number, given.get(key)) for name, number, key in _FLOW_PORTS]
    return [
        service(context, "fateflow", "python", inner, label="fateflow", headless=True),
        service(
            context,
            "fateflow-client",
            "python",
            outer,
            type_=given.get("type"),
            label="fateflow",
            address=given.get("loadBalancerIP"),
        ),
    ]


def _python_workload(context: Context, given: Values) -> Object:
    volumes = [
        from_config("python-confs", "python-config"),
        context.claim("python-data", "python-data", given.get("existingClaim")),
    ]
    if backend(context) in _PULSAR_BACKENDS:
        volumes.append(from_config("pulsar-route-table", "pulsar-route-table"))
    if backend(context) == "spark_rabbitmq":
        volumes.append(from_config("rabbitmq-route-table", "rabbitmq-route-table"))
    if backend(context) == "eggroll":
        volumes.append(from_config("eggroll-confs", "eggroll-config"))
    containers = [_flow_container(context, given)]
    if context.has("fateboard") and not context.is_stateful:
        containers.append(_board_container(context))
        volumes.append(from_config("fateboard-confs", "fateboard-config"))
    extra = filled(given, "serviceAccountName")
    wait = [_ping_mysql(context)]
    return keep(
        context, "python", containers, volumes=volumes, place=given, initContainers=wait, **extra
    )


def _flow_container(context: Context, given: Values) -> Object:
    is_spark = backend(context) != "eggroll"
    word = "fateflow" if context.is_stateful else "python"
    image = f"{word}-spark" if is_spark else f"{word}-nn" if given.get("enabledNN") else word
    mounts = [
        mount("python-data", f"{_HOME}/fateflow/logs", "logs"),
        mount("python-confs", f"{_HOME}/conf-tmp/"),
        mount("python-data", f"{_HOME}/jobs", "jobs"),
        mount("python-data", f"{_HOME}/model_local_cache", "model-local-cache"),
    ]
    if backend(context) in _PULSAR_BACKENDS:
        mounts.append(mount("pulsar-route-table", f"{_HOME}/conf/pulsar_route_table"))
    if backend(context) == "spark_rabbitmq":
        mounts.append(mount("rabbitmq-route-table", f"{_HOME}/conf/rabbitmq_route_table"))
    if not is_spark:
        target = f"{_HOME}/eggroll/conf/eggroll.properties"
        mounts.append(mount("eggroll-confs", target, "eggroll.properties"))
    pod_ip = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    level = env(FATE_LOG_LEVEL=given["logLevel"]) if given.get("logLevel") else []
    return context.container(
        word,
        context.image(image),
        command=["/bin/bash", "-c", "python fateflow/python/fate_flow/fate_flow_server.py"],
        env=[pod_ip, *level, *env(FATE_PROJECT_BASE=_HOME)],
        ports=named_ports(grpc_port=9360, http_port=9380),
        resources=given.get("resources"),
        volumeMounts=mounts,
        **probes(tcp(9380), 5),
    )


def _ping_mysql(context: Context) -> Object:
    database = _database(context)
    script = (
        'until mysqladmin ping -h "$MYSQL_HOST" --port="$MYSQL_PORT" -u"$MYSQL_USER"'
        ' -p"$MYSQL_PASSWORD"; do sleep 2; done'
    )
    return context.container(
        "ping-mysql",
        context.outside_image(_MYSQL_IMAGE),
        command=["/bin/bash", "-c", script],
        env=env(
            MYSQL_DATABASE=database["name"],
            MYSQL_USER=database["user"],
            MYSQL_PASSWORD=database["passwd"],
            MYSQL_HOST=database["host"],
            MYSQL_PORT=database["port"],
        ),
    )


def _database(context: Context) -> Values:
    inner, outer = context.module("mysql") or {}, context.values
    return {
        "name": outer.get("externalMysqlDatabase") or inner.get("database"),
        "user": outer.get("externalMysqlUser") or inner.get("user"),
        "passwd": outer.get("externalMysqlPassword") or inner.get("password"),
        "host": outer.get("externalMysqlIp") or inner.get("ip"),
        "port": outer.get("externalMysqlPort") or inner.get("port"),
    }


def _config(context: Context, given: Values) -> dict[str, str]:
    spark = given.get("spark") or {}
    local = backend(context) == "spark_local_pulsar"
    master = "local[*]" if local else spark.get("master")
    defaults = f"spark.master {master}\nspark.driver.host {spark.get('driverHost')}\n"
    return {
        "spark-defaults.conf": defaults,
        "service_conf.yaml": yaml_text(_service_conf(context, given)) + "\n",
        "transfer_conf.yaml": "paths:\n- python/federatedml/transfer_variable/auth_conf\n",
        "component_registry.json": '{"components": {}, "providers": {}}\n',
        "job_default_config.yaml": "default_component_provider_path: federatedml\n",
    }


def _service_conf(context: Context, given: Values) -> Values:
    name = backend(context)
    storage = {"spark_local_pulsar": "localfs", "eggroll": "eggroll"}.get(name, "hdfs")
    is_spark = name != "eggroll"
    engines = {
        "computing": "spark" if is_spark else "eggroll",
        "federation": name.rpartition("_")[2],
        "storage": storage,
    }
    tables = {
        word: (given.get(word) or {})
        | {"route_table": f"conf/{word}_route_table/{word}_route_table.yaml"}
        for word in ("pulsar", "rabbitmq")
    }
    spark = {key: dig(given, "spark", key) for key in ("cores_per_node", "nodes")}
    serving = context.module("serving") or {}
    has_serving = serving.get("ip") and serving.get("port")
    return {
        "use_registry": serving.get("useRegistry") or False,
        "fateflow": {
            "host": "fateflow",
            "http_port": 9380,
            "grpc_port": 9360,
            "proxy": "nginx" if is_spark else "rollsite",
            "protocol": "default",
        },
        "database": _database(context) | {"max_connections": 100, "stale_timeout": 30},
        "default_engines": engines,
        "fate_on_eggroll": {
            "clustermanager": given.get("clustermanager"),
            "rollsite": {"host": "rollsite", "port": 9370},
        },
        "fate_on_spark": {
            "spark": spark,
            "hdfs": given.get("hdfs"),
            "nginx": given.get("nginx"),
            **tables,
        },
        "fateboard": {"host": "fateboard", "port": 8080},
        "servings": {"hosts": [f"{serving['ip']}:{serving['port']}" if has_serving else ""]},
    }


def fateboard(context: Context) -> list[Object]:
    """Make FATEBoard: a second container of pod ``python``, a pod of its own from 1.9 on."""
    given = context.module("fateboard")
    module = "fateboard" if context.is_stateful else "python"
    settings = (
        "server.port=8080\nfateflow.url=http://fateflow:9380\n"
        f"server.board.login.username={go_number(given.get('username'))}\n"
        f"server.board.login.password={go_number(given.get('password'))}\n"
    )
    ports = [Port("tcp-fateboard", 8080)]
    objects = [
        config_map(context, "fateboard-config", "fateboard", {"application.properties": settings}),
        service(context, "fateboard", module, ports, type_=given.get("type")),
        ingress(context, "fateboard", "fateboard", "fateboard", 8080),
    ]
    if context.is_stateful:
        volumes = [
            from_config("fateboard-confs", "fateboard-config"),
            {"name": "python-data", "emptyDir": {}},
        ]
        objects.append(
            deployment(context, "fateboard", [_board_container(context)], volumes=volumes)
        )
    return objects


def _board_container(context: Context) -> Object:
    target = f"{_HOME}/fateboard/conf/application.properties"
    return context.container(
        "fateboard",
        context.image("fateboard"),
        ports=exposed(8080),
        volumeMounts=[
            mount("fateboard-confs", target, "application.properties"),
            mount("python-data", f"{_HOME}/fateflow/logs", "logs"),
        ],
        **probes(http("/", 8080)),
    )


def client(context: Context) -> list[Object]:
    """Make the notebook."""
    given = context.module("client")
    serving = context.module("serving") or {}
    container = context.container(
        "client",
        context.image("client"),
        env=env(
            partyId=context.identity.party_id,
            FATE_FLOW_IP="fateflow",
            FATE_FLOW_PORT="9380",
            FATE_SERVING_HOST=f"{go_number(serving.get('ip'))}:{go_number(serving.get('port'))}",
        ),
        ports=exposed(20000),
        volumeMounts=[
            mount("persistence", f"{_HOME}/persistence/", str(given.get("subPath") or ""))
        ],
        **probes(http("/", 20000)),
    )
    ports = [Port("tcp-notebook", 20000)]
    volume = context.claim("persistence", "client-data", given.get("existingClaim"))
    return [
        *claim_object(context, "client-data", "client", given),
        service(context, "notebook", "client", ports, type_=given.get("type")),
        ingress(context, "client", "client", "notebook", 20000),
        keep(context, "client", [container], volumes=[volume], place=given),
    ]


def mysql(context: Context) -> list[Object]:
    """Make the party's MySQL."""
    given = context.module("mysql")
    name = go_number(given.get("database"))
    container = context.container(
        "mysql",
        context.outside_image(_MYSQL_IMAGE),
        env=env(
            MYSQL_ALLOW_EMPTY_PASSWORD="1",  # noqa: S106 - the chart's own setting
            MYSQL_DATABASE=name,
            MYSQL_USER=given.get("user"),
            MYSQL_PASSWORD=given.get("password"),
            user="root",
        ),
        ports=exposed(3306),
        volumeMounts=[
            mount("mysql-confs", "/docker-entrypoint-initdb.d/"),
            mount("data", "/var/lib/mysql", str(given.get("subPath") or "")),
        ],
        **probes(command("mysqladmin", "ping"), 10),
    )
    script = f"CREATE DATABASE IF NOT EXISTS `{name}`;\n"
    volumes = [
        from_config("mysql-confs", "mysql-config"),
        context.claim("data", "mysql-data", given.get("existingClaim")),
    ]
    ports = [Port("tcp-mysql", 3306)]
    return [
        config_map(context, "mysql-config", "mysql", {"create-eggroll-meta-tables.sql": script}),
        *claim_object(context, "mysql-data", "mysql", given),
        service(context, "mysql", "mysql", ports, type_=given.get("type")),
        keep(context, "mysql", [container], volumes=volumes, place=given),
    ]
