from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from fedsim.kube import SimulatedKube

SERVICES = "/api/v1/namespaces/default/services"


def service(name, kind="NodePort", **port):
    ports = [{"name": "p", "port": 6651, **port}]
    return {"metadata": {"name": name}, "spec": {"type": kind, "ports": ports}}


async def test_services_get_addresses(client) -> None:
    made = await client.create(SERVICES, service("a"))
    assert made["spec"]["clusterIP"].startswith("10.96.")
    (port,) = made["spec"]["ports"]
    assert port["nodePort"] in range(30_000, 32_768)
    assert (port["protocol"], port["targetPort"]) == ("TCP", 6651)
    balancer = await client.create(SERVICES, service("b", "LoadBalancer"))
    assert balancer["spec"]["ports"][0]["nodePort"]
    assert balancer["status"] == {"loadBalancer": {}}
    plain = await client.create(SERVICES, service("c", "ClusterIP"))
    assert "nodePort" not in plain["spec"]["ports"][0]


async def test_a_node_port_is_honoured_once(client) -> None:
    made = await client.create(SERVICES, service("a", nodePort=30007))
    assert made["spec"]["ports"][0]["nodePort"] == 30007
    body = {"kind": "Service", **service("b", nodePort=30007)}
    clash = await client.call("POST", SERVICES, body)
    assert clash.status == 422
    assert clash.body["message"] == (
        'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 30007: '
        "provided port is already allocated"
    )
    far = {"kind": "Service", **service("c", nodePort=8080)}
    assert "valid range" in (await client.call("POST", SERVICES, far)).body["message"]


async def test_a_service_keeps_its_addresses_when_it_is_replaced(client) -> None:
    made = await client.create(SERVICES, service("a"))
    body = {"kind": "Service", **service("a")}
    kept = await client.call("PUT", f"{SERVICES}/a", body)
    assert kept.body["spec"]["ports"] == made["spec"]["ports"]
    assert kept.body["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    moved = await client.call(
        "PUT", f"{SERVICES}/a", {"kind": "Service", **service("a", nodePort=30123)}
    )
    assert moved.body["spec"]["ports"][0]["nodePort"] == 30123
    inward = await client.call(
        "PUT", f"{SERVICES}/a", {"kind": "Service", **service("a", "ClusterIP")}
    )
    assert "nodePort" not in inward.body["spec"]["ports"][0]


async def test_load_balancers_get_the_address_that_is_set(settings, connect, client_of) -> None:
    given = replace(settings, load_balancer_ip="127.0.0.9")
    async with SimulatedKube(given) as kube, connect(kube) as session:
        client = client_of(kube, session)
        await client.create(SERVICES, service("b", "LoadBalancer"))
        found = await client.until(f"{SERVICES}/b", lambda obj: obj["status"]["loadBalancer"])
        assert found["status"]["loadBalancer"]["ingress"][0]["ip"] == "127.0.0.9"


async def test_a_port_that_something_else_holds_is_not_given(settings, connect, client_of) -> None:
    binding = replace(settings, data_plane=True, node_ip="127.0.0.77")
    async with SimulatedKube(binding) as kube, connect(kube) as session:
        client = client_of(kube, session)
        with socket.create_server(("127.0.0.77", 0)) as held:
            taken = held.getsockname()[1]
            if taken in range(30_000, 32_768):
                pytest.skip("the system gave a port of the node's range")
        with socket.socket() as held:
            held.bind(("127.0.0.77", 31999))
            held.listen()
            body = {"kind": "Service", **service("a", nodePort=31999)}
            refused = await client.call("POST", SERVICES, body)
            assert refused.status == 422
        made = await client.create(SERVICES, service("b"))
        port = made["spec"]["ports"][0]["nodePort"]
        with socket.socket() as late, pytest.raises(OSError, match="in use"):
            late.bind(("127.0.0.77", port))
