"""Desired documents as typed values; ``reading`` makes them, and they are trusted then."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ParticipantKind(StrEnum):
    """Exchange or FATE cluster."""

    EXCHANGE = "exchange"
    CLUSTER = "cluster"


class TableKind(StrEnum):
    """Who reads a route table."""

    SNI = "sni"
    NGINX = "nginx"
    PULSAR = "pulsar"


class ProxyKind(StrEnum):
    """What must be told when its table has changed."""

    TRAFFIC_SERVER = "traffic-server"
    NGINX = "nginx"


class WorkloadKind(StrEnum):
    """Kubernetes' word for a workload."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"


class Repair(StrEnum):
    """What is done about drift."""

    AUTO = "auto"
    REPORT = "report"


class EndpointMode(StrEnum):
    """How a site comes to its KubeFATE service."""

    AUTO = "auto"
    INSTALL = "install"
    ADOPT = "adopt"


class KeyAlgorithm(StrEnum):
    """Kind of a private key made at the site."""

    P256 = "P256"
    RSA3072 = "RSA3072"


class KeyFormat(StrEnum):
    """How a private key is written into its Secret."""

    PKCS8 = "PKCS8"
    TRADITIONAL = "TRADITIONAL"


@dataclass(frozen=True, slots=True)
class Chart:
    """The Helm chart of a participant; ``sha256`` may be empty."""

    name: str
    version: str
    sha256: str
    from_hub: bool


@dataclass(frozen=True, slots=True)
class CertificateSpec:
    """A certificate that shall stand in a Secret."""

    secret_name: str
    profile: str
    key_algorithm: KeyAlgorithm
    key_format: KeyFormat
    certificate_key: str
    private_key_key: str
    ca_key: str
    dns_names: tuple[str, ...]
    restart_deployments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """A workload that must be healthy."""

    name: str
    kind: WorkloadKind


@dataclass(frozen=True, slots=True)
class AddressSpec:
    """A Service port whose outside address others need."""

    role: str
    service: str
    port_name: str


@dataclass(frozen=True, slots=True, order=True)
class RouteEntry:
    """One line of a route table."""

    key: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Table:
    """A route table as it must stand in a ConfigMap; ``chart_keys`` are not compared."""

    kind: TableKind
    config_map: str
    key: str
    entries: tuple[RouteEntry, ...]
    chart_keys: frozenset[str]

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted entries."""
        return digest_of_entries(self.entries)

    @property
    def keys(self) -> tuple[str, ...]:
        """The entries' keys, sorted."""
        return tuple(sorted({entry.key for entry in self.entries}))


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that reads a table."""

    kind: ProxyKind
    deployment: str
    table: TableKind


@dataclass(frozen=True, slots=True)
class ParticipantDocument:
    """What a FATE exchange or cluster at this site shall look like."""

    resource_id: str
    generation: int
    digest: str
    body_sha256: str
    """The agent's own digest of the document as it came: what a person consents to."""
    absent: bool
    federation_id: str
    federation_name: str
    name: str
    kind: ParticipantKind
    party_id: int
    namespace: str
    release_name: str
    chart: Chart
    cluster_json: str
    certificates: tuple[CertificateSpec, ...] = ()
    components: tuple[Component, ...] = ()
    addresses: tuple[AddressSpec, ...] = ()
    tables: tuple[Table, ...] = ()
    proxies: tuple[Proxy, ...] = ()
    resolve_names: tuple[str, ...] = ()
    repair: Repair = Repair.AUTO
    delete_volumes: bool = False
    delete_namespace: bool = False

    @property
    def cluster(self) -> Mapping[str, Any]:
        """cluster.yaml as a mapping, without the agent's own keys."""
        parsed: dict[str, Any] = json.loads(self.cluster_json)
        return parsed

    def table(self, kind: TableKind) -> Table | None:
        """Return the table of one kind."""
        return next((table for table in self.tables if table.kind is kind), None)


@dataclass(frozen=True, slots=True)
class EndpointDocument:
    """What the KubeFATE service at this site shall look like."""

    resource_id: str
    generation: int
    digest: str
    body_sha256: str
    """The agent's own digest of the document as it came: what a person consents to."""
    absent: bool
    mode: EndpointMode
    namespace: str
    service_image: str
    database_image: str
    storage_class: str
    storage_size: str
    minimum_version: str


Document = ParticipantDocument | EndpointDocument


def digest_of_entries(entries: Iterable[RouteEntry]) -> str:
    """Return the SHA-256, hexadecimal, over sorted entries: one ``key host port`` a line."""
    lines = "".join(f"{item.key} {item.host} {item.port}\n" for item in sorted(entries))
    return hashlib.sha256(lines.encode()).hexdigest()
