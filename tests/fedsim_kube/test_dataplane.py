from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.patience import time_limit

from fedsim.kube import Delays, KubeSettings

NODE_IP = "127.0.0.31"
PARTY, EXCHANGE = "fate-9999", "fate-exchange"


@pytest.fixture
def settings() -> KubeSettings:
    return KubeSettings(delays=Delays.none(), node_ip=NODE_IP)


def certificate(name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


async def secret(client, space, name, subject, files):
    data = dict(zip(files, certificate(subject), strict=True))
    path = f"/api/v1/namespaces/{space}/secrets"
    await client.create(path, {"metadata": {"name": name}, "stringData": data})


async def config_map(client, space, name, key, text):
    path = f"/api/v1/namespaces/{space}/configmaps/{name}"
    answer = await client.apply(path, {"data": {key: text}}, force="true")
    assert answer.status in {200, 201}, answer


async def expose(client, deployment, space, name, port, **pod):
    labels = {"cluster": "fate-exchange" if space == EXCHANGE else "fate"}
    labels["partyId"] = "1" if space == EXCHANGE else "9999"
    body = deployment(name, labels=labels, **pod)
    await client.create(f"/apis/apps/v1/namespaces/{space}/deployments", body)
    service = {
        "metadata": {"name": name},
        "spec": {
            "type": "NodePort",
            "selector": {"fateMoudle": name},
            "ports": [{"name": "main", "port": port}],
        },
    }
    made = await client.create(f"/api/v1/namespaces/{space}/services", service)
    return made["spec"]["ports"][0]["nodePort"]


async def open_tls(port, name):
    """Open a TLS connection; returns the streams and the subject of what answers."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with time_limit():
        reader, writer = await asyncio.open_connection(
            NODE_IP, port, ssl=context, server_hostname=name
        )
    answered = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    subject = x509.load_der_x509_certificate(answered).subject
    return reader, writer, subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


async def subject_at(port, name):
    try:
        _, writer, subject = await open_tls(port, name)
    except (OSError, TimeoutError):
        return None
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return subject


async def party(client, deployment):
    await client.namespace(PARTY)
    files = ("broker.cert.pem", "broker.key-pk8.pem")
    await secret(client, PARTY, "pulsar-cert", "9999.fate.org", files)
    mount = {"volumeMounts": [{"name": "certs", "mountPath": "/opt/pulsar/certs"}]}
    volumes = [{"name": "certs", "secret": {"secretName": "pulsar-cert"}}]
    return await expose(client, deployment, PARTY, "pulsar", 6651, container=mount, volumes=volumes)


async def exchange(client, deployment, table):
    await client.namespace(EXCHANGE)
    files = ("proxy.cert.pem", "proxy.key.pem")
    await secret(client, EXCHANGE, "traffic-server-cert", "proxy.fate.org", files)
    await config_map(client, EXCHANGE, "traffic-server-sni", "sni.yaml", table)
    mount = {"volumeMounts": [{"name": "sni", "mountPath": "/etc/trafficserver/sni"}]}
    volumes = [{"name": "sni", "configMap": {"name": "traffic-server-sni"}}]
    return await expose(
        client, deployment, EXCHANGE, "traffic-server", 443, container=mount, volumes=volumes
    )


def route(port, name="9999.fate.org"):
    return f'sni:\n- fqdn: {name}\n  tunnel_route: "{NODE_IP}:{port}"\n'


async def execute(client, *command):
    pods = f"/api/v1/namespaces/{EXCHANGE}/pods"
    found = (await client.get(pods))["items"]
    name = next(
        pod["metadata"]["name"] for pod in found if pod["metadata"]["name"].startswith("traffic")
    )
    query = "&".join(f"command={word}" for word in command)
    url = f"{client.kube.url}{pods}/{name}/exec?{query}"
    async with client.session.ws_connect(url, protocols=("v4.channel.k8s.io",)) as socket:
        return b"".join([message.data async for message in socket])


async def test_tls_goes_through_the_exchange_to_the_party(client, deployment, wait) -> None:
    broker = await party(client, deployment)
    port = await exchange(client, deployment, route(broker))

    async def arrives():
        return await subject_at(port, "9999.FATE.org") == "9999.fate.org"

    await wait(arrives)
    reader, writer, _ = await open_tls(port, "9999.fate.org")
    writer.write(b"ping")
    assert await reader.readexactly(4) == b"ping"
    writer.close()
    assert await subject_at(port, "10000.fate.org") == "proxy.fate.org"


async def test_a_route_is_taken_at_a_reload_and_cuts_no_tunnel(client, deployment, wait) -> None:
    broker = await party(client, deployment)
    port = await exchange(client, deployment, route(broker))

    async def arrives():
        return await subject_at(port, "9999.fate.org") == "9999.fate.org"

    await wait(arrives)
    reader, writer, _ = await open_tls(port, "9999.fate.org")
    await config_map(
        client, EXCHANGE, "traffic-server-sni", "sni.yaml", route(broker, "8888.fate.org")
    )
    assert await subject_at(port, "8888.fate.org") == "proxy.fate.org"
    outcome = await execute(client, "traffic_ctl", "config", "reload")
    assert b"Success" in outcome

    async def new_arrives():
        return await subject_at(port, "8888.fate.org") == "9999.fate.org"

    await wait(new_arrives)
    assert await subject_at(port, "9999.fate.org") == "proxy.fate.org"
    writer.write(b"still")
    assert await reader.readexactly(5) == b"still"
    writer.close()


@pytest.mark.parametrize("table", ["sni:\n", "{}\n", "sni: [{tunnel_route: x}]\n", ": : :\n"])
async def test_a_broken_table_kills_the_proxy_at_its_start(client, deployment, wait, table) -> None:
    port = await exchange(client, deployment, table)
    path = f"/apis/apps/v1/namespaces/{EXCHANGE}/deployments/traffic-server"
    await client.until(path, lambda obj: (obj.get("status") or {}).get("availableReplicas"))

    async def connects():
        try:
            _, writer = await asyncio.open_connection(NODE_IP, port)
        except OSError:
            return False
        writer.close()
        return True

    await wait(connects)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(TimeoutError):
        async with time_limit(0.2):
            await asyncio.open_connection(NODE_IP, port, ssl=context, server_hostname="a.b")


async def test_a_broken_table_at_a_reload_changes_nothing(client, deployment, wait) -> None:
    broker = await party(client, deployment)
    port = await exchange(client, deployment, route(broker))

    async def arrives():
        return await subject_at(port, "9999.fate.org") == "9999.fate.org"

    await wait(arrives)
    await config_map(client, EXCHANGE, "traffic-server-sni", "sni.yaml", "sni:\n")
    assert b"Success" in await execute(client, "traffic_ctl", "config", "reload")

    async def complained():
        pods = f"/api/v1/namespaces/{EXCHANGE}/pods"
        (pod,) = (await client.get(pods))["items"]
        log = await client.call("GET", f"{pods}/{pod['metadata']['name']}/log")
        return "failed to load" in log.body

    await wait(complained)
    assert await subject_at(port, "9999.fate.org") == "9999.fate.org"


@pytest.mark.parametrize("target", ["127.0.0.1:8443", "127.0.0.1:29999", "127.0.0.1:33001"])
async def test_ports_that_the_proxy_may_not_dial_look_like_broken_tls(
    client, deployment, wait, target
) -> None:
    table = f'sni:\n- fqdn: 9999.fate.org\n  tunnel_route: "{target}"\n'
    port = await exchange(client, deployment, table)

    async def serves():
        return await subject_at(port, "other.fate.org") == "proxy.fate.org"

    await wait(serves)
    with pytest.raises(ssl.SSLError, match="wrong version number"):
        await open_tls(port, "9999.fate.org")


async def test_no_routes_are_fine_as_an_empty_list(client, deployment, wait) -> None:
    port = await exchange(client, deployment, "sni: []\n")

    async def serves():
        return await subject_at(port, "9999.fate.org") == "proxy.fate.org"

    await wait(serves)


async def test_a_new_pod_cuts_tunnels(client, deployment, wait) -> None:
    broker = await party(client, deployment)
    port = await exchange(client, deployment, route(broker))

    async def arrives():
        return await subject_at(port, "9999.fate.org") == "9999.fate.org"

    await wait(arrives)
    reader, writer, _ = await open_tls(port, "9999.fate.org")
    pods = f"/api/v1/namespaces/{EXCHANGE}/pods"
    (pod,) = (await client.get(pods))["items"]
    await client.call("DELETE", f"{pods}/{pod['metadata']['name']}")
    with contextlib.suppress(OSError):
        async with time_limit():
            assert await reader.read() == b""
    writer.close()
    await wait(arrives)
