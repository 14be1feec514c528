"""A simulated site with the real reconciler on it, and a hub that is three functions."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.bare import HOME, bare_site, chart_archive
from tests.support.patience import until

from fedagent.domain.policy import Policy, default_policy
from fedagent.domain.timing import PlanTiming
from fedagent.journal import Journal, open_journal
from fedagent.kube.client import Kube
from fedagent.kubefate.access import Access
from fedagent.reconcile.build import Dependencies, assemble
from fedagent.reconcile.site import Site
from fedagent.reconcile.timing import ReconcileTiming
from fedcore.clock import SystemClock
from fedcore.errors import Unavailable
from fedcore.tasks import LoopHealth
from fedproto.agent.v1 import certificate_pb2, document_pb2, event_pb2, status_pb2
from fedsim.kube import SimulatedKube
from fedsim.kubefate import SimulatedKubeFATE

DOMAIN = "credit.example.com"
HUB = "hub-1"


ARCHIVES = {
    hashlib.sha256(data).hexdigest(): (name, data)
    for name in ("fate", "fate-exchange")
    for data in (chart_archive(name, "v1.8.0"),)
}
DIGESTS = {name: digest for digest, (name, _) in ARCHIVES.items()}


@dataclass
class TinyHub:
    """Signs and serves; ``is_away`` makes it fail as an unreachable hub does."""

    is_away: bool = False
    issued: list[str] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    life: timedelta = timedelta(days=30)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tiny root")])
        self.root = self._build(name, self.key.public_key(), timedelta(days=365), is_ca=True)

    def _build(self, subject, public_key, life, *, is_ca=False, names=()) -> x509.Certificate:
        now = datetime.now(UTC)
        issuer = subject if is_ca else self.root.subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        if is_ca:
            usage = dict.fromkeys(("data_encipherment", "key_agreement"), False)
            builder = builder.add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    key_cert_sign=True,
                    crl_sign=True,
                    encipher_only=False,
                    decipher_only=False,
                    **usage,
                ),
                critical=True,
            )
        if names:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    async def issue_certificate(
        self, resource_id: str, secret_name: str, csr_pem: bytes
    ) -> certificate_pb2.CertificateResponse:
        if self.is_away:
            raise Unavailable("the hub cannot be reached")
        csr = x509.load_pem_x509_csr(csr_pem)
        names = self.names[f"{resource_id}/{secret_name}"]
        leaf = self._build(csr.subject, csr.public_key(), self.life, names=names)
        self.issued.append(f"{resource_id}/{secret_name}")
        return certificate_pb2.CertificateResponse(
            certificate_chain_pem=leaf.public_bytes(serialization.Encoding.PEM),
            trust=certificate_pb2.TrustBundle(
                version=1, roots_pem=self.root.public_bytes(serialization.Encoding.PEM)
            ),
            serial=f"{leaf.serial_number:x}",
        )

    async def fetch_chart(self, sha256: str) -> bytes:
        if self.is_away:
            raise Unavailable("the hub cannot be reached")
        self.blobs.append(sha256)
        return ARCHIVES[sha256][1]


def document(resource_id: str, generation: int, **body: Any) -> document_pb2.DesiredDocument:
    message = document_pb2.DesiredDocument(resource_id=resource_id, generation=generation, **body)
    message.digest = hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
    return message


def endpoint(generation: int = 1, **changes: Any) -> document_pb2.DesiredDocument:
    absent = changes.pop("absent", False)
    spec = {
        "mode": document_pb2.ENDPOINT_MODE_AUTO,
        "namespace": HOME,
        "service_image": "federatedai/kubefate:v1.4.5",
        "database_image": "mariadb:10",
        "storage_size": "1Gi",
        "minimum_version": "v1.4.4",
    } | changes
    spec_pb = document_pb2.EndpointSpec(**spec)
    return document("endpoint-1", generation, absent=absent, endpoint=spec_pb)


def _chart(name: str) -> document_pb2.ChartRef:
    return document_pb2.ChartRef(name=name, version="v1.8.0", sha256=DIGESTS[name], from_hub=True)


def _canonical(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def exchange(
    generation: int = 1,
    routes: Iterable[tuple[int, str, int, str, int]] = (),
    *,
    absent: bool = False,
    resource_id: str = "exchange-1",
    repair: int = document_pb2.REPAIR_POLICY_AUTO,
    values: dict[str, Any] | None = None,
) -> document_pb2.DesiredDocument:
    """``routes``: (party id, pulsar ip, port, nginx ip, port)."""
    rows = list(routes)
    sni = [(f"sentinel.{DOMAIN}", "192.0.2.1", 443)]
    sni += [(f"{party}.{DOMAIN}", ip, port) for party, ip, port, _, _ in rows]
    cluster = {
        "name": "fate-exchange",
        "namespace": "fate-exchange",
        "chartName": "fate-exchange",
        "chartVersion": "v1.8.0",
        "partyId": 0,
        "modules": ["trafficServer", "nginx"],
        "trafficServer": {
            "type": "NodePort",
            "replicas": 1,
            "route_table": {
                "sni": [{"fqdn": key, "tunnelRoute": f"{ip}:{port}"} for key, ip, port in sni]
            },
        },
        "nginx": {
            "type": "NodePort",
            "replicas": 1,
            "route_table": {
                str(party): {"fateflow": [{"host": ip, "http_port": port}]}
                for party, _, _, ip, port in rows
            },
        },
    } | (values or {})
    entry = document_pb2.RouteEntry
    spec = document_pb2.ParticipantSpec(
        federation_id="federation-1",
        federation_name="credit",
        participant_name="credit/exchange",
        kind=document_pb2.PARTICIPANT_KIND_EXCHANGE,
        namespace="fate-exchange",
        release_name="fate-exchange",
        chart=_chart("fate-exchange"),
        cluster_json=_canonical(cluster),
        certificates=[
            document_pb2.CertificateSpec(
                secret_name="traffic-server-cert",
                profile="ats",
                key_algorithm=document_pb2.KEY_ALGORITHM_P256,
                key_format=document_pb2.KEY_FORMAT_TRADITIONAL,
                certificate_key="proxy.cert.pem",
                private_key_key="proxy.key.pem",
                ca_key="ca.cert.pem",
                dns_names=[f"proxy.{DOMAIN}"],
                restart_deployments=["traffic-server"],
            )
        ],
        components=[
            document_pb2.ComponentSpec(name=name, kind=document_pb2.WORKLOAD_KIND_DEPLOYMENT)
            for name in ("nginx", "traffic-server")
        ],
        addresses=[
            document_pb2.AddressSpec(role="ats", service="traffic-server", port_name="443"),
            document_pb2.AddressSpec(role="nginx", service="nginx", port_name="http"),
        ],
        tables=[
            document_pb2.TableSpec(
                kind=document_pb2.TABLE_KIND_SNI,
                config_map="traffic-server-sni",
                key="sni.yaml",
                entries=[entry(key=key, host=ip, port=port) for key, ip, port in sni],
            ),
            document_pb2.TableSpec(
                kind=document_pb2.TABLE_KIND_NGINX,
                config_map="nginx-config",
                key="route_table.yaml",
                entries=[
                    entry(key=str(party), host=ip, port=port) for party, _, _, ip, port in rows
                ],
                chart_keys=["default", "0"],
            ),
        ],
        proxies=[
            document_pb2.ProxySpec(
                kind=document_pb2.PROXY_KIND_TRAFFIC_SERVER,
                deployment="traffic-server",
                table=document_pb2.TABLE_KIND_SNI,
            ),
            document_pb2.ProxySpec(
                kind=document_pb2.PROXY_KIND_NGINX,
                deployment="nginx",
                table=document_pb2.TABLE_KIND_NGINX,
            ),
        ],
        repair=repair,
        removal=document_pb2.RemovalSpec(delete_volumes=True, delete_namespace=True),
    )
    return document(resource_id, generation, absent=absent, participant=spec)


def party(
    party_id: int = 9999,
    generation: int = 1,
    *,
    ats: tuple[str, int] = ("127.0.0.1", 30007),
    nginx: tuple[str, int] = ("127.0.0.1", 30003),
    absent: bool = False,
) -> document_pb2.DesiredDocument:
    name = f"fate-{party_id}"
    cluster = {
        "name": name,
        "namespace": name,
        "chartName": "fate",
        "chartVersion": "v1.8.0",
        "partyId": party_id,
        "backend": "spark_pulsar",
        "persistence": False,
        "modules": ["mysql", "python", "fateboard", "client", "spark", "hdfs", "nginx", "pulsar"],
        "podSecurityPolicy": {"enabled": False},
        "servingIp": "",
        "servingPort": "",
        "python": {"type": "ClusterIP"},
        "mysql": {"type": "ClusterIP"},
        "spark": {
            "master": {"Image": "", "ImageTag": "", "replicas": 1, "type": "ClusterIP"},
            "worker": {"Image": "", "ImageTag": "", "replicas": 2, "type": "ClusterIP"},
        },
        "hdfs": {"namenode": {"type": "ClusterIP"}, "datanode": {"type": "ClusterIP"}},
        "nginx": {
            "type": "NodePort",
            "exchange": {"ip": nginx[0], "httpPort": nginx[1], "grpcPort": nginx[1]},
        },
        "pulsar": {
            "type": "NodePort",
            "publicLB": {"enabled": False},
            "exchange": {"ip": ats[0], "port": ats[1], "domain": DOMAIN},
        },
    }
    components = (
        "client",
        "datanode",
        "mysql",
        "namenode",
        "nginx",
        "pulsar",
        "python",
        "spark-master",
        "spark-worker",
    )
    entry = document_pb2.RouteEntry
    spec = document_pb2.ParticipantSpec(
        federation_id="federation-1",
        federation_name="credit",
        participant_name=f"credit/{party_id}",
        kind=document_pb2.PARTICIPANT_KIND_CLUSTER,
        party_id=party_id,
        namespace=name,
        release_name=name,
        chart=_chart("fate"),
        cluster_json=_canonical(cluster),
        certificates=[
            document_pb2.CertificateSpec(
                secret_name="pulsar-cert",
                profile="pulsar",
                key_algorithm=document_pb2.KEY_ALGORITHM_P256,
                key_format=document_pb2.KEY_FORMAT_PKCS8,
                certificate_key="broker.cert.pem",
                private_key_key="broker.key-pk8.pem",
                ca_key="ca.cert.pem",
                dns_names=[f"{party_id}.{DOMAIN}"],
            )
        ],
        components=[
            document_pb2.ComponentSpec(name=item, kind=document_pb2.WORKLOAD_KIND_DEPLOYMENT)
            for item in components
        ],
        addresses=[
            document_pb2.AddressSpec(role="pulsar", service="pulsar", port_name="https-port"),
            document_pb2.AddressSpec(role="nginx", service="nginx", port_name="http"),
        ],
        tables=[
            document_pb2.TableSpec(
                kind=document_pb2.TABLE_KIND_NGINX,
                config_map="nginx-config",
                key="route_table.yaml",
                entries=[entry(key="default", host=nginx[0], port=nginx[1])],
                chart_keys=[str(party_id)],
            ),
            document_pb2.TableSpec(
                kind=document_pb2.TABLE_KIND_PULSAR,
                config_map="pulsar-route-table",
                key="pulsar_route_table.yaml",
                entries=[entry(key="default", host=ats[0], port=ats[1])],
                chart_keys=[str(party_id)],
            ),
        ],
        proxies=[
            document_pb2.ProxySpec(
                kind=document_pb2.PROXY_KIND_NGINX,
                deployment="nginx",
                table=document_pb2.TABLE_KIND_NGINX,
            )
        ],
        repair=document_pb2.REPAIR_POLICY_AUTO,
        removal=document_pb2.RemovalSpec(delete_volumes=True, delete_namespace=True),
    )
    return document(f"party-{party_id}", generation, absent=absent, participant=spec)


@dataclass
class AheadClock(SystemClock):
    """The system's clock, moved on by a test. It is what the reconciler goes by."""

    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


@dataclass
class SimulatedSite:
    """The site, its journal, and the reconciler that can be killed and started again."""

    kube: Kube
    access: Access
    simulated: SimulatedKube
    service: SimulatedKubeFATE
    journal: Journal
    hub: TinyHub
    policy: Policy = field(default_factory=default_policy)
    hub_id: str = HUB
    plan_timing: PlanTiming = field(default_factory=PlanTiming)
    timing: ReconcileTiming = field(default_factory=ReconcileTiming)
    task: asyncio.Task[None] | None = None
    clock: AheadClock = field(default_factory=AheadClock)

    def start(self) -> None:
        clock = self.clock
        site = Site(
            self.journal,
            self.policy,
            LoopHealth(clock),
            clock,
            self.hub_id,
            plan_timing=self.plan_timing,
            timing=self.timing,
        )
        reconciler = assemble(site, Dependencies(self.kube, self.access, self.hub))
        self.loop_health = site.loop_health
        self.task = asyncio.create_task(reconciler.run())

    async def kill(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task})
            self.task = None

    async def put(self, *documents: document_pb2.DesiredDocument) -> None:
        for item in documents:
            for wish in item.participant.certificates:
                key = f"{item.resource_id}/{wish.secret_name}"
                self.hub.names[key] = tuple(wish.dns_names)
        await self.journal.documents.put(documents)

    async def until(
        self,
        resource_id: str,
        accept: Callable[[status_pb2.ResourceStatus], bool] | str,
        *,
        generation: int = 0,
    ) -> status_pb2.ResourceStatus:
        """Wait for a status: a phase's name, or a test of it."""
        latest = None

        def is_accepted(status: status_pb2.ResourceStatus) -> bool:
            if callable(accept):
                return accept(status)
            return status_pb2.Phase.Name(status.phase) == f"PHASE_{accept}"

        async def accepted() -> status_pb2.ResourceStatus | None:
            nonlocal latest
            if self.task is not None and self.task.done():
                self.task.result()
            latest = await self.journal.statuses.get(resource_id)
            if latest is None or latest.observed_generation < generation:
                return None
            return latest if is_accepted(latest) else None

        return await until(accepted, f"{resource_id}: {accept}", describe=lambda: latest)

    async def events(self) -> list[event_pb2.Event]:
        found: list[event_pb2.Event] = []
        while batch := await self.journal.spool.batch(found[-1].seq if found else 0):
            found.extend(batch.events)
        return found


@asynccontextmanager
async def open_site(path: Path, **kube_settings: Any) -> AsyncIterator[SimulatedSite]:
    async with AsyncExitStack() as stack:
        bare = await stack.enter_async_context(bare_site(path, time_scale=0.05, **kube_settings))
        journal = await stack.enter_async_context(
            open_journal(path / "journal.sqlite", clock=SystemClock())
        )
        site = SimulatedSite(
            bare.kube, bare.access, bare.simulated, bare.service, journal, TinyHub()
        )
        stack.push_async_callback(site.kill)
        yield site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[SimulatedSite]:
    async with open_site(tmp_path) as opened:
        yield opened


@pytest.fixture
def docs() -> Any:
    """The makers of documents, under one name."""

    class Docs:
        exchange = staticmethod(exchange)
        party = staticmethod(party)
        endpoint = staticmethod(endpoint)
        open_site = staticmethod(open_site)
        hub = TinyHub

    return Docs
