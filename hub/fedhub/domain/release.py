"""A FATE release as data: everything the planner must know to deploy it. One YAML file each.

Texts marked *filled* may hold ``${party}`` (the party id; 0 for an exchange) and ``${domain}``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from fedcore.words import KeyAlgorithm, KeyFormat, ProxyKind, TableKind, WorkloadKind
from fedhub.domain.federation import Expose, Strict

Topology = Literal["any", "exchange", "direct"]
"""Where a template counts: always, only with an exchange, or only without one."""


class ChartPin(Strict):
    """A chart by name, version and (where published) the digest of its archive."""

    name: str
    version: str
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class CertificateTemplate(Strict):
    """A certificate that the charts expect as a Secret."""

    profile: str
    secret: str
    dns_names: tuple[str, ...] = Field(
        strict=False, description="What it is called; filled. The CA's profile has the last word."
    )
    key_algorithm: KeyAlgorithm = Field(strict=False)
    key_format: KeyFormat = Field(strict=False)
    certificate_key: str
    private_key_key: str
    ca_key: str
    restart_deployments: tuple[str, ...] = Field(default=(), strict=False)
    topology: Topology = "any"


class ComponentTemplate(Strict):
    """A workload that must be healthy."""

    name: str
    kind: WorkloadKind = Field(default=WorkloadKind.DEPLOYMENT, strict=False)


class AddressTemplate(Strict):
    """A Service port whose outside address matters, by the way of exposure."""

    role: Literal["pulsar", "nginx", "ats"]
    service: str
    port_name: str
    expose: Expose = Field(strict=False)
    topology: Topology = "any"


class Exposure(Strict):
    """The cluster.yaml keys that make one way of exposure; computed, so never overlaid."""

    expose: Expose = Field(strict=False)
    topology: Topology = "any"
    values: dict[str, Any]


class TableTemplate(Strict):
    """Where a route table stands, and which proxy reads it."""

    kind: TableKind = Field(strict=False)
    config_map: str
    key: str
    chart_keys: tuple[str, ...] = Field(
        default=(), strict=False, description="Keys that the chart writes by itself; filled."
    )
    proxy: ProxyKind | None = Field(default=None, strict=False)
    deployment: str = ""


class Requirement(Strict):
    """Keys that an operator must give once another key is set."""

    when: str = Field(description="Dotted cluster.yaml key that is set to something true.")
    needs: tuple[str, ...] = Field(strict=False, description="Dotted keys that must not be empty.")
    reason: str


class RoleRelease(Strict):
    """What one role (exchange or cluster) consists of in a release."""

    chart: ChartPin
    modules: tuple[str, ...] = Field(strict=False)
    defaults: dict[str, Any] = Field(
        default_factory=dict,
        description="cluster.yaml keys that are always set, leaks included; filled.",
    )
    reserved: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Dotted cluster.yaml keys that an operator's overlay may not set.",
    )
    known_keys: tuple[str, ...] = Field(
        strict=False,
        description=(
            "cluster.yaml keys that the chart reads: top-level ones, and `block.key` for blocks "
            "whose keys are all known."
        ),
    )
    requirements: tuple[Requirement, ...] = Field(default=(), strict=False)
    exposures: tuple[Exposure, ...] = Field(strict=False)
    components: tuple[ComponentTemplate, ...] = Field(strict=False)
    addresses: tuple[AddressTemplate, ...] = Field(strict=False)
    certificates: tuple[CertificateTemplate, ...] = Field(strict=False)
    tables: tuple[TableTemplate, ...] = Field(strict=False)


class Release(Strict):
    """One FATE release on one engine."""

    version: str
    engine: Literal["spark-pulsar"]
    title: str
    minimum_kubefate: str
    exchange: RoleRelease
    cluster: RoleRelease
