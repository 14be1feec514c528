"""The small parts: certificates, tables, probes, names, events."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from fedagent.domain.document import CertificateSpec, RouteEntry, Table
from fedagent.domain.table_file import TableError, read_table
from fedagent.kube.kinds import DEPLOYMENTS, PODS
from fedagent.kube.ownership import Owner
from fedagent.kube.release_objects import foreign_objects
from fedagent.reconcile.certificates import issue_secret, make_csr, make_key, read_secret, write_key
from fedagent.reconcile.dns_cache import DnsCache
from fedagent.reconcile.node_addresses import addresses_of
from fedagent.reconcile.route_prober import RouteProber
from fedagent.wire.decode import decode_document
from fedagent.wire.events import events_between
from fedcore.errors import Internal
from fedcore.words import KeyAlgorithm, KeyFormat, ProbeState, TableKind
from fedproto.agent.v1 import status_pb2

NOW = datetime.now(UTC)
WISH = CertificateSpec(
    "pulsar-cert",
    "pulsar",
    KeyAlgorithm.P256,
    KeyFormat.PKCS8,
    "broker.cert.pem",
    "broker.key-pk8.pem",
    "ca.cert.pem",
    ("9999.fed.example.com",),
    (),
)
OWNER = Owner("hub-1", "party-1", federation="fed")


@pytest.fixture
def hub(docs: Any) -> Any:
    made = docs.hub()
    made.names["party-1/pulsar-cert"] = WISH.dns_names
    return made


async def issued(hub: Any, wish: CertificateSpec = WISH) -> dict[str, Any]:
    return await issue_secret(wish, OWNER, "fate-9999", hub.issue_certificate, now=NOW)


async def test_a_secret_has_three_keys_its_owner_and_a_key_that_fits(hub: Any) -> None:
    body = await issued(hub)
    view = read_secret(WISH, body)
    assert view.error == ""
    assert view.certificate is not None
    assert view.certificate.dns_names == WISH.dns_names
    assert str(view.owner) == "hub-1/party-1"
    assert view.issued_at == NOW
    key = base64.b64decode(body["data"]["broker.key-pk8.pem"])
    assert key.startswith(b"-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize(
    ("algorithm", "wanted", "begin"),
    [
        (KeyAlgorithm.P256, KeyFormat.TRADITIONAL, b"-----BEGIN EC PRIVATE KEY-----"),
        (KeyAlgorithm.RSA3072, KeyFormat.TRADITIONAL, b"-----BEGIN RSA PRIVATE KEY-----"),
        (KeyAlgorithm.RSA3072, KeyFormat.PKCS8, b"-----BEGIN PRIVATE KEY-----"),
    ],
)
def test_keys_are_written_as_their_reader_wants(
    algorithm: KeyAlgorithm, wanted: KeyFormat, begin: bytes
) -> None:
    key = make_key(algorithm)
    assert write_key(key, wanted).startswith(begin)
    assert make_csr(key, ("a.example.com",)).startswith(b"-----BEGIN CERTIFICATE REQUEST")


async def test_a_certificate_of_other_names_is_not_written(hub: Any) -> None:
    hub.names["party-1/pulsar-cert"] = ("evil.example.com",)
    with pytest.raises(Internal, match="other names"):
        await issued(hub)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("broker.cert.pem", b"nonsense"),
        ("broker.key-pk8.pem", b""),
        ("ca.cert.pem", b"nonsense"),
        ("ca.cert.pem", None),
    ],
)
async def test_a_spoilt_secret_is_named_unusable(hub: Any, key: str, value: bytes | None) -> None:
    body = await issued(hub)
    if value is None:
        del body["data"][key]
    else:
        body["data"][key] = base64.b64encode(value).decode()
    assert read_secret(WISH, body).error


async def test_a_key_of_another_certificate_is_noticed(hub: Any) -> None:
    body, other = await issued(hub), await issued(hub)
    body["data"]["broker.key-pk8.pem"] = other["data"]["broker.key-pk8.pem"]
    assert "another key" in read_secret(WISH, body).error


def table(kind: TableKind, *own: str) -> Table:
    return Table(kind, "cm", "file.yaml", (), frozenset(own))


def test_tables_are_read_as_the_charts_write_them() -> None:
    sni = "sni:\n  - fqdn: 9999.x.org\n    tunnel_route: 10.0.0.9:30099\n"
    assert read_table(table(TableKind.SNI), sni) == (RouteEntry("9999.x.org", "10.0.0.9", 30099),)
    nginx = (
        "default:\n  proxy:\n    - host: 10.0.0.1\n      http_port: 30003\n"
        "9999:\n  proxy:\n    - host: nginx\n      http_port: 9300\n"
        "10000:\n  fateflow:\n    - {host: 10.0.0.10, http_port: 30103}\n"
    )
    assert read_table(table(TableKind.NGINX, "9999"), nginx) == (
        RouteEntry("10000", "10.0.0.10", 30103),
        RouteEntry("default", "10.0.0.1", 30003),
    )
    pulsar = 'default:\n  proxy: "10.0.0.1:30007"\n  domain: "x.org"\n9:\n  host: p\n  port: 6650\n'
    assert read_table(table(TableKind.PULSAR), pulsar) == (
        RouteEntry("9", "p", 6650),
        RouteEntry("default", "10.0.0.1", 30007),
    )


@pytest.mark.parametrize("text", ["sni:\n", "", "[]", "a: b: c", "sni: [{fqdn: x}]", "sni: {a: 1}"])
def test_what_is_no_table_is_a_fault_or_empty_and_never_a_crash(text: str) -> None:
    try:
        assert read_table(table(TableKind.SNI), text) == ()
    except TableError:
        return


@asynccontextmanager
async def party(hub: Any, tmp_path: Path) -> AsyncIterator[int]:
    body = await issued(hub)
    files = {}
    for name in ("broker.cert.pem", "broker.key-pk8.pem"):
        files[name] = tmp_path / name
        files[name].write_bytes(base64.b64decode(body["data"][name]))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["broker.cert.pem"], files["broker.key-pk8.pem"])

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_handshake_tells_served_from_not_served(hub: Any, tmp_path: Path) -> None:
    roots = hub.root.public_bytes(serialization.Encoding.PEM)
    names = ("9999.fed.example.com", "10000.fed.example.com")
    async with party(hub, tmp_path) as port:
        answers = await RouteProber(1.5, 4.0).probe("127.0.0.1", port, names, roots)
    assert [answers[name].state for name in names] == [ProbeState.REACHABLE, ProbeState.NOT_SERVED]


async def test_an_address_that_cannot_be_reached_is_unreachable(hub: Any) -> None:
    roots = hub.root.public_bytes(serialization.Encoding.PEM)
    answers = await RouteProber(1.5, 4.0).probe("127.0.0.1", 1, ("9999.fed.example.com",), roots)
    assert answers["9999.fed.example.com"].state == ProbeState.UNREACHABLE


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 403 Access Denied\r\n\r\n"])
async def test_a_dead_party_and_a_refused_route_are_the_partys_trouble(
    hub: Any, answer: bytes
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.read(4096)
        # A name without a route gets an alert of the proxy's own.
        writer.write(
            answer if b"9999.fed.example.com" in hello else b"\x15\x03\x03\x00\x02\x02\x28"
        )
        writer.close()

    roots = hub.root.public_bytes(serialization.Encoding.PEM)
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answers = await RouteProber(1.5, 4.0).probe(
            "127.0.0.1", port, ("9999.fed.example.com",), roots
        )
    assert answers["9999.fed.example.com"].state == ProbeState.PARTY_DOWN


async def test_a_proxy_that_refuses_every_name_alike_serves_no_route(hub: Any) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.close()

    roots = hub.root.public_bytes(serialization.Encoding.PEM)
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answers = await RouteProber(1.5, 4.0).probe(
            "127.0.0.1", port, ("9999.fed.example.com",), roots
        )
    assert answers["9999.fed.example.com"].state == ProbeState.NOT_SERVED


async def test_a_name_keeps_its_last_address_while_nobody_answers() -> None:
    answers = {"a.example.com": "10.0.0.1"}

    async def resolve(name: str) -> str:
        return answers.get(name, "")

    book = DnsCache(resolve)
    await book.learn(["a.example.com", "b.example.com"])
    assert book.answers == {"a.example.com": "10.0.0.1", "b.example.com": ""}
    answers.clear()
    assert await book.refresh(["a.example.com"]) == frozenset()
    assert book.answers == {"a.example.com": "10.0.0.1"}
    answers["a.example.com"] = "10.0.0.2"
    assert await book.refresh(["a.example.com"]) == {"a.example.com"}


def test_a_ready_nodes_external_address_is_preferred() -> None:
    def node(name: str, ready: str, *addresses: tuple[str, str]) -> dict[str, Any]:
        return {
            "metadata": {"name": name},
            "status": {
                "conditions": [{"type": "Ready", "status": ready}],
                "addresses": [{"type": kind, "address": ip} for kind, ip in addresses],
            },
        }

    nodes = [
        node("b", "True", ("InternalIP", "10.0.0.2"), ("ExternalIP", "203.0.113.2")),
        node("a", "False", ("InternalIP", "10.0.0.1")),
        node("c", "True", ("InternalIP", "10.0.0.3")),
    ]
    assert addresses_of(nodes) == ("203.0.113.2", "10.0.0.3")


def test_events_tell_what_changed_and_nothing_twice(docs: Any) -> None:
    document = decode_document(docs.exchange())
    before = status_pb2.ResourceStatus(
        resource_id="exchange-1", observed_generation=1, phase=status_pb2.PHASE_DEPLOYING
    )
    after = status_pb2.ResourceStatus()
    after.CopyFrom(before)
    after.phase = status_pb2.PHASE_READY
    after.reason = "Ready"
    step = after.steps.add(name="install", state=status_pb2.STEP_STATE_DONE)
    step.ended_at.FromDatetime(NOW)
    after.certificates.add(secret_name="traffic-server-cert", serial="aa")
    after.probes.add(key="9999.x", state=status_pb2.PROBE_STATE_REACHABLE)
    kinds = [event.kind for event in events_between(document, before, after, NOW)]
    assert kinds == [
        "certificate.issued",
        "participant.step_done",
        "route.reachable",
        "participant.ready",
    ]
    assert events_between(document, after, after, NOW + timedelta(seconds=1)) == ()


class Namespace:
    """A watch of a namespace, as far as strangers are looked for in it."""

    def __init__(self, **bodies: list[dict[str, Any]]) -> None:
        self._bodies = bodies

    def items(self, kind: Any) -> tuple[dict[str, Any], ...]:
        return tuple(self._bodies.get(kind.name, ()))


def watch_of(**bodies: list[dict[str, Any]]) -> Any:
    return Namespace(**bodies)


def an_object(name: str, controller: tuple[str, str] | None = None, /, **labels: str) -> Any:
    meta: dict[str, Any] = {"name": name, "labels": labels}
    if controller is not None:
        kind, owner = controller
        meta["ownerReferences"] = [{"kind": kind, "name": owner, "controller": True}]
    return {"metadata": meta}


def test_pods_of_daemon_sets_and_jobs_and_bare_ones_are_strangers() -> None:
    pods = [
        an_object("log-x2", ("DaemonSet", "log")),
        an_object("nightly-1", ("Job", "nightly")),
        an_object("shell"),
        an_object("lone-abc", ("ReplicaSet", "lone-7")),
    ]
    found = foreign_objects(watch_of(**{PODS.name: pods}), "fate-9999")
    assert found == tuple(
        f"{PODS.name}/{name}" for name in ("log-x2", "nightly-1", "shell", "lone-abc")
    )


def test_pods_of_the_release_of_kubefate_and_of_a_known_workload_are_no_more_strangers() -> None:
    pods = [
        an_object("python-0", ("StatefulSet", "python"), name="fate-9999"),
        an_object("kubefate-5d-x", ("ReplicaSet", "kubefate-5d"), fate="kubefate"),
        an_object("client-7-x", ("ReplicaSet", "client-7")),
        an_object("web-7-x", ("ReplicaSet", "web-7")),
    ]
    workloads = [an_object("client", name="fate-9999"), an_object("web")]
    watch = watch_of(**{PODS.name: pods, DEPLOYMENTS.name: workloads})
    assert foreign_objects(watch, "fate-9999") == (f"{DEPLOYMENTS.name}/web",)
