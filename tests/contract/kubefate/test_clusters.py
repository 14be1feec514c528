"""Installs, updates, rollbacks and deletions, and what they leave in Kubernetes."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
import yaml
from tests.contract.kubefate.client import exchange_spec, party_spec
from tests.support.patience import until

pytestmark = pytest.mark.asyncio(loop_scope="session")
ZERO = "0001-01-01T00:00:00Z"
PARTY = {
    "client",
    "datanode",
    "mysql",
    "namenode",
    "nginx",
    "pulsar",
    "python",
    "spark-master",
    "spark-worker",
}
JOB_FIELDS = [
    "uuid",
    "start_time",
    "end_time",
    "method",
    "cluster_id",
    "creator",
    "sub_jobs",
    "status",
    "time_limit",
    "meta_data",
    "states",
    "ID",
    "CreatedAt",
    "UpdatedAt",
    "DeletedAt",
]


async def install(site, spec):
    job = await site.client.finish("POST", spec)
    assert job["status"] == "Success", job
    return job


async def revisions(site, namespace):
    secrets = await site.kube.list("Secret", namespace, "owner=helm")
    return {
        int(item["metadata"]["labels"]["version"]): item["metadata"]["labels"]["status"]
        for item in secrets
    }


async def test_an_exchange_is_installed(site):
    name = await site.namespace("exchange")
    spec = exchange_spec(name, {9999: "10.0.0.9", 10000: "10.0.0.10"}, lcmRevision=1)
    answer = await site.client.submit("POST", spec)
    assert answer.json["msg"] == "createCluster Success"
    reply = answer.data
    assert list(reply) == JOB_FIELDS
    assert (reply["status"], reply["cluster_id"], reply["states"]) == ("Pending", "", None)
    assert reply["time_limit"] == 3_600_000_000_000
    job = (await site.client.follow(reply["uuid"]))[-1]
    assert job["status"] == "Success"
    assert job["end_time"] != ZERO
    assert set(job["sub_jobs"]) == {"nginx", "traffic-server"}
    nginx = job["sub_jobs"]["nginx"]
    assert (nginx["Status"], nginx["ModulesStatus"]) == ("Success", "Available")
    turns = job["states"].pop(3)
    assert turns.startswith("checkout Cluster status [")
    assert job["states"] == [
        "update job status to Running",
        "create Cluster in DB Success",
        "helm install Success",
        "job run Success",
    ]
    record = await site.client.cluster(name)
    assert record["uuid"] == job["cluster_id"]
    assert (record["status"], record["revision"], record["helm_revision"]) == ("Running", 1, 0)
    assert record["Spec"]["lcmRevision"] == 1
    assert json.loads(record["values"]) == spec
    assert record["chart_values"] is None
    assert record["Info"]["status"]["deployments"] == {
        "nginx": "Available",
        "traffic-server": "Available",
    }
    assert record["Info"]["status"]["statefulSets"] == {}


async def test_an_exchanges_tables_and_ports_are_the_charts(site):
    name = await site.namespace("exchange")
    await install(site, exchange_spec(name, {9999: "10.0.0.9", 10000: "10.0.0.10"}))
    routes = yaml.safe_load(await site.text(name, "nginx-config", "route_table.yaml"))
    itself = [{"host": "nginx", "http_port": 9300, "grpc_port": 9310}]
    assert routes == {
        "default": {"proxy": itself},
        1: {
            "proxy": itself,
            "fateflow": [{"host": "fateflow", "http_port": 9380, "grpc_port": 9360}],
        },
        9999: {"fateflow": [{"host": "10.0.0.9", "http_port": 30093, "grpc_port": 30098}]},
        10000: {"fateflow": [{"host": "10.0.0.10", "http_port": 30093, "grpc_port": 30098}]},
    }
    names = await site.text(name, "traffic-server-sni", "sni.yaml")
    assert names == (
        "sni:\n"
        "  - fqdn: 9999.example.com\n"
        "    tunnel_route: 10.0.0.9:30099\n"
        "  - fqdn: 10000.example.com\n"
        "    tunnel_route: 10.0.0.10:30099\n"
    )
    service = await site.kube.get("Service", name, "traffic-server")
    assert [port["name"] for port in service["spec"]["ports"]] == ["443"]
    assert service["spec"]["ports"][0]["nodePort"] >= 30000
    nginx = await site.kube.get("Service", name, "nginx")
    assert [(port["name"], port["port"]) for port in nginx["spec"]["ports"]] == [
        ("http", 9300),
        ("grpc", 9310),
    ]
    labels = nginx["metadata"]["labels"]
    assert labels["fateMoudle"] == "nginx"
    assert (labels["name"], labels["partyId"], labels["owner"]) == (name, "1", "kubefate")
    assert (labels["cluster"], labels["app.kubernetes.io/managed-by"]) == ("fate-exchange", "Helm")


async def test_a_party_is_installed(site):
    name = await site.namespace("party")
    job = await install(site, party_spec(name))
    assert set(job["sub_jobs"]) == PARTY
    routes = yaml.safe_load(await site.text(name, "nginx-config", "route_table.yaml"))
    assert routes["default"]["proxy"] == [
        {"host": "10.0.0.1", "http_port": 30003, "grpc_port": 30008}
    ]
    pulsar = await site.text(name, "pulsar-route-table", "pulsar_route_table.yaml")
    assert yaml.safe_load(pulsar) == {
        "default": {"proxy": "10.0.0.1:30007", "domain": "example.com"},
        9999: {"host": "pulsar", "port": 6650, "sslPort": 6651, "proxy": ""},
    }
    public = await site.kube.get("Service", name, "pulsar-public-tls")
    assert public["spec"]["type"] == "LoadBalancer"
    assert [port["name"] for port in public["spec"]["ports"]] == ["tls-port"]
    deployment = await site.kube.get("Deployment", name, "pulsar")
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    assert "pulsar-cert" in [volume.get("secret", {}).get("secretName") for volume in volumes]
    python = await site.kube.get("Deployment", name, "python")
    containers = python["spec"]["template"]["spec"]["containers"]
    assert [item["image"] for item in containers] == [
        "federatedai/python-spark:1.8.0-release",
        "federatedai/fateboard:1.8.0-release",
    ]
    record = await site.client.cluster(name)
    assert record["Info"]["dashboard"][1] == f"{name}.fateboard.example.com"


async def test_an_empty_list_of_names_is_written_as_null(site):
    name = await site.namespace("exchange")
    await install(site, exchange_spec(name, {}))
    assert await site.text(name, "traffic-server-sni", "sni.yaml") == "sni:\n"


async def test_a_second_install_of_a_name_is_refused(site):
    name = await site.namespace("exchange")
    await install(site, exchange_spec(name, {}))
    for cover in (False, True):
        answer = await site.client.submit("POST", exchange_spec(name, {}), cover=cover)
        expected = f"name={name} & namespace={name} Cluster already existed"
        assert (answer.status, answer.error) == (500, expected)


async def test_releases_are_recorded_as_helm_records_them(site):
    name = await site.namespace("exchange")
    await install(site, exchange_spec(name, {}))
    secret = await site.kube.get("Secret", name, f"sh.helm.release.v1.{name}.v1")
    assert secret["type"] == "helm.sh/release.v1"
    packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    release = json.loads(gzip.decompress(packed))
    assert (release["name"], release["namespace"], release["version"]) == (name, name, 1)
    assert release["info"]["status"] == "deployed"
    assert release["chart"]["metadata"]["name"] == "fate-exchange"
    assert release["chart"]["metadata"]["version"] == "v1.8.0"
    assert "traffic-server-sni" in release["manifest"]


async def test_a_missing_namespace_fails_at_once_and_leaves_a_deleted_record(site):
    job = await site.client.finish("POST", exchange_spec("no-such-namespace", {}))
    assert job["status"] == "Failed"
    assert job["end_time"] == ZERO
    expected = 'helm install error, create: failed to create: namespaces "no-such-namespace"'
    # The text may come just after the status.
    job = await _with_last_state(site, job["uuid"], expected)
    assert job["states"][-1].startswith(expected)
    assert "no-such-namespace" not in [item["name"] for item in await site.client.clusters()]
    rows = [
        item
        for item in await site.client.clusters(deleted=True)
        if item["name"] == "no-such-namespace"
    ]
    assert rows[-1]["status"] == "Deleted"
    assert rows[-1]["DeletedAt"]


async def test_a_chart_that_cannot_be_had_fails_the_job(site):
    name = await site.namespace("exchange")
    spec = exchange_spec(name, {}, chartVersion="v9.9.9")
    job = await site.client.finish("POST", spec)
    job = await _with_last_state(site, job["uuid"], "helm install error, ")
    words = ("looks like", "failed to download", "improper constraint", "chart ")
    assert any(word in job["states"][-1] for word in words)


async def test_a_cluster_yaml_that_is_no_yaml_leaves_the_job_running(site):
    name = await site.namespace("exchange")
    bad = base64.b64encode(b"a: [").decode()
    answer = await site.client.submit("POST", exchange_spec(name, {}), data=bad)
    uuid = answer.data["uuid"]
    job = await _with_last_state(site, uuid, "create Cluster error, ")
    assert job["status"] == "Running"
    await site.client.call("DELETE", f"/v1/job/{uuid}")


async def test_traffic_server_needs_a_route_table(site):
    name = await site.namespace("exchange")
    spec = exchange_spec(name, {}, trafficServer={"type": "NodePort"})
    job = await site.client.finish("POST", spec)
    job = await _with_last_state(site, job["uuid"], "helm install error, ")
    assert "nil pointer evaluating interface {}.sni" in job["states"][-1]


async def test_an_update_changes_the_tables_and_restarts_nothing(site):
    name = await site.namespace("exchange")
    await install(site, exchange_spec(name, {9999: "10.0.0.9"}))
    before = await _pod_ids(site, name)
    ports = await _node_ports(site, name)
    spec = exchange_spec(name, {9999: "10.0.0.9", 10000: "10.0.0.10"}, lcmRevision=2)
    answer = await site.client.submit("PUT", spec)
    assert answer.json["msg"] == "setCluster Success"
    assert answer.data["cluster_id"]
    job = (await site.client.follow(answer.data["uuid"]))[-1]
    assert (job["method"], job["status"]) == ("ClusterUpdate", "Success")
    assert job["states"] == ["Cluster update Success"]
    assert job["end_time"] != ZERO
    assert "10000.example.com" in await site.text(name, "traffic-server-sni", "sni.yaml")
    assert await _pod_ids(site, name) == before
    assert await _node_ports(site, name) == ports
    assert await revisions(site, name) == {1: "superseded", 2: "deployed"}
    record = await site.client.cluster(name)
    assert (record["status"], record["revision"], record["helm_revision"]) == ("Running", 2, 1)


async def test_an_exchange_may_be_updated_without_a_change(site):
    name = await site.namespace("exchange")
    await install(site, exchange_spec(name, {}))
    job = await site.client.finish("PUT", exchange_spec(name, {}))
    assert job["status"] == "Success"
    assert await revisions(site, name) == {1: "superseded", 2: "deployed"}


async def test_a_party_cannot_be_updated_without_a_change_but_an_unknown_key_is_one(site):
    name = await site.namespace("party")
    await install(site, party_spec(name, lcmRevision=1))
    answer = await site.client.submit("PUT", party_spec(name, lcmRevision=1))
    assert (answer.status, answer.error) == (500, "the configuration file did not change")
    job = await site.client.finish("PUT", party_spec(name, lcmRevision=2))
    assert job["status"] == "Success"
    refusals = {
        "doesn't support upgrade between different charts": {"chartName": "fate-exchange"},
        "using kubefate to downgrade a cluster is not supported yet": {"chartVersion": "v1.7.2"},
    }
    for error, change in refusals.items():
        answer = await site.client.submit("PUT", party_spec(name, lcmRevision=3, **change))
        assert (answer.status, answer.error) == (500, error)
    spec = party_spec(name, lcmRevision=3)
    del spec["chartName"]
    answer = await site.client.submit("PUT", spec, chart_name="fate")
    assert (answer.status, answer.text) == (500, "")


async def test_a_failed_update_is_rolled_back_to_a_revision_too_old(site):
    name = await site.namespace("exchange")
    await install(site, exchange_spec(name, {1001: "10.0.0.1"}))
    for number in (2, 3):
        parties = {1000 + index: f"10.0.0.{index}" for index in range(1, number + 1)}
        job = await site.client.finish("PUT", exchange_spec(name, parties, lcmRevision=number))
        assert job["status"] == "Success"
    broken = exchange_spec(name, {}, trafficServer={"type": "NodePort"}, lcmRevision=4)
    job = await site.client.finish("PUT", broken)
    assert job["status"] == "Rollback"
    assert "nil pointer evaluating interface {}.sni" in job["states"][0]
    assert job["states"][1] == "Cluster run rollback Success"
    assert job["end_time"] != ZERO
    names = await site.text(name, "traffic-server-sni", "sni.yaml")
    assert "1002.example.com" in names
    assert "1003.example.com" not in names
    record = await site.client.cluster(name)
    assert record["status"] == "Rollback"
    assert record["Spec"]["lcmRevision"] == 3
    assert record["helm_revision"] == 2


async def test_a_first_update_that_does_not_render_cannot_be_rolled_back(site):
    name = await site.namespace("exchange")
    await install(site, exchange_spec(name, {}))
    job = await site.client.finish(
        "PUT", exchange_spec(name, {}, trafficServer={"type": "NodePort"})
    )
    assert job["status"] == "Failed"
    assert job["states"][-1] == "UPGRADE FAILED: release: not found"
    record = await site.client.cluster(name)
    assert (record["status"], record["helm_revision"]) == ("Rollback", 1)
    job = await site.client.finish("PUT", exchange_spec(name, {9999: "10.0.0.9"}))
    assert job["status"] == "Success"
    assert (await site.client.cluster(name))["status"] == "Running"


async def test_a_node_port_that_is_taken_fails_an_update_and_the_first_time_rolls_back_well(site):
    name, other = await site.namespace("exchange"), await site.namespace("other")
    await install(site, exchange_spec(other, {}))
    await install(site, exchange_spec(name, {9999: "10.0.0.9"}))
    taken = (await _node_ports(site, other))["traffic-server"][0]
    spec = exchange_spec(name, {})
    spec["trafficServer"]["nodePort"] = taken
    job = await site.client.finish("PUT", spec)
    assert job["status"] == "Rollback"
    assert "provided port is already allocated" in job["states"][0]
    assert job["states"][0].startswith(
        'UPGRADE FAILED: cannot patch "traffic-server" with kind Service: '
    )
    assert "9999" in await site.text(name, "traffic-server-sni", "sni.yaml")


async def test_an_install_that_waits_can_be_stopped(site):
    name = await site.namespace("exchange")
    spec = exchange_spec(name, {})
    spec["nginx"]["nodeSelector"] = {"kubernetes.io/hostname": "nowhere"}
    uuid = (await site.client.submit("POST", spec)).data["uuid"]
    await _with_last_state(site, uuid, "checkout Cluster status [2]")
    job = await site.client.job(uuid)
    assert job["sub_jobs"]["nginx"]["Status"] == "Running"
    assert (await _record(site, name))["status"] == "Creating"
    answer = await site.client.call("PUT", f"/v1/job/{uuid}?jobStatus=stop")
    assert answer.json == {"data": "Stop Job Success", "msg": "stop Job Success"}
    job = (await site.client.follow(uuid))[-1]
    assert (job["status"], job["end_time"]) == ("Canceled", ZERO)
    job = await _with_last_state(site, uuid, "job stopped")
    assert await revisions(site, name) == {}
    answer = await site.client.call("PUT", f"/v1/job/{uuid}?jobStatus=stop")
    assert (answer.status, answer.error) == (500, "job status is Canceled, not support stop")


async def test_updates_cannot_be_stopped(site):
    name = await site.namespace("exchange")
    await install(site, exchange_spec(name, {}))
    job = await site.client.finish("PUT", exchange_spec(name, {9999: "10.0.0.9"}))
    answer = await site.client.call("PUT", f"/v1/job/{job['uuid']}?jobStatus=stop")
    expected = "ClusterUpdate type jobs do not support stop"
    assert (answer.status, answer.error) == (500, expected)


async def test_a_deletion_takes_the_charts_objects_and_nothing_else(site):
    name = await site.namespace("party")
    await install(site, party_spec(name))
    uuid = (await site.client.cluster(name))["uuid"]
    answer = await site.client.call("DELETE", f"/v1/cluster/{uuid}")
    assert answer.json["msg"] == "deleteCluster Success"
    assert (answer.data["method"], answer.data["meta_data"]) == ("ClusterDelete", None)
    job = (await site.client.follow(answer.data["uuid"]))[-1]
    assert (job["status"], job["states"]) == ("Success", ["uninstall Success"])
    assert job["end_time"] != ZERO
    assert job["meta_data"]["data"] is None
    assert job["meta_data"]["name"] == ""
    assert name not in [item["name"] for item in await site.client.clusters()]
    assert (await site.client.call("GET", f"/v1/cluster/{uuid}")).error == "record not found"
    await _until_gone(site, name)
    assert await site.kube.find("Secret", name, "pulsar-cert")
    assert await revisions(site, name) == {}


async def test_party_ids_from_a_million_on_are_corrupted(site):
    name = await site.namespace("exchange")
    job = await site.client.finish("POST", exchange_spec(name, {}, partyId=1_000_001))
    job = await _with_last_state(site, job["uuid"], "helm install error, ")
    assert "1.000001e+06" in job["states"][-1]


async def test_a_deleted_job_is_gone(site):
    job = await site.client.finish("POST", exchange_spec("no-such-place", {}))
    answer = await site.client.call("DELETE", f"/v1/job/{job['uuid']}")
    assert answer.json == {"msg": "delete Job Success"}
    answer = await site.client.call("GET", f"/v1/job/{job['uuid']}")
    assert answer.error == "record not found"
    jobs = (await site.client.call("GET", "/v1/job/")).data
    assert job["uuid"] not in [item["uuid"] for item in jobs]


async def _with_last_state(site, uuid, start):
    async def job_in_state():
        job = await site.client.job(uuid)
        return job if (job["states"] or [""])[-1].startswith(start) else None

    return await until(job_in_state, f"a last state {start!r}")


async def _record(site, name):
    return next(item for item in await site.client.clusters() if item["name"] == name)


async def _pod_ids(site, name):
    pods = await site.kube.list("Pod", name, f"name={name}")
    return sorted(pod["metadata"]["uid"] for pod in pods)


async def _node_ports(site, name):
    services = await site.kube.list("Service", name, f"name={name}")
    return {
        item["metadata"]["name"]: [port.get("nodePort") for port in item["spec"]["ports"]]
        for item in services
    }


async def _until_gone(site, name):
    kinds = ("Deployment", "Service", "Ingress", "ConfigMap")

    async def is_gone():
        return not any([await site.kube.list(kind, name, f"name={name}") for kind in kinds])

    await until(is_gone, f"{name} is gone")
