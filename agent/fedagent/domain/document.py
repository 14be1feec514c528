"""Desired documents as typed values; ``wire.decode`` makes and checks them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fedcore.words import (
    EndpointMode,
    KeyAlgorithm,
    KeyFormat,
    ParticipantKind,
    ProxyKind,
    RepairPolicy,
    TableKind,
    WorkloadKind,
)


@dataclass(frozen=True, slots=True)
class Chart:
    """The Helm chart of a participant; ``sha256`` may be empty."""

    name: str
    version: str
    sha256: str
    from_hub: bool

    def is_same(self, other: Chart) -> bool:
        """Return whether both name the same archive; a digest counts where both are known."""
        same_name = (self.name, self.version) == (other.name, other.version)
        return same_name and ("" in {self.sha256, other.sha256} or self.sha256 == other.sha256)


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
    repair: RepairPolicy = RepairPolicy.AUTO
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
    lines = "".join(f"{entry.key} {entry.host} {entry.port}\n" for entry in sorted(entries))
    return hashlib.sha256(lines.encode()).hexdigest()
