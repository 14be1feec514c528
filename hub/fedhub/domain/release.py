"""A FATE release as data: everything the planner must know to deploy it. One YAML file each."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from fedhub.domain.federation import Strict


class ChartPin(Strict):
    """A chart by name, version and (where published) the digest of its archive."""

    name: str
    version: str
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class CertificateWish(Strict):
    """A certificate that the charts expect as a Secret."""

    profile: str
    secret: str
    key_algorithm: Literal["P256", "RSA3072"]
    key_format: Literal["PKCS8", "TRADITIONAL"]
    certificate_key: str
    private_key_key: str
    ca_key: str
    restart_deployments: tuple[str, ...] = Field(default=(), strict=False)


class ComponentWish(Strict):
    """A workload that must be healthy."""

    name: str
    kind: Literal["Deployment", "StatefulSet"] = "Deployment"


class AddressWish(Strict):
    """A Service port whose outside address matters, by the way of exposure."""

    role: Literal["pulsar", "nginx", "ats"]
    service: str
    port_name: str
    expose: Literal["NodePort", "LoadBalancer", "ClusterIP"]


class RoleRelease(Strict):
    """What one role (exchange or cluster) consists of in a release."""

    chart: ChartPin
    modules: tuple[str, ...] = Field(strict=False)
    defaults: dict[str, Any] = Field(
        default_factory=dict, description="cluster.yaml keys that are always set, leaks included."
    )
    reserved: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Dotted cluster.yaml keys that an operator's overlay may not set.",
    )
    known_keys: tuple[str, ...] = Field(
        strict=False, description="Top-level cluster.yaml keys that the chart reads."
    )
    components: tuple[ComponentWish, ...] = Field(strict=False)
    addresses: tuple[AddressWish, ...] = Field(strict=False)
    certificates: tuple[CertificateWish, ...] = Field(strict=False)


class Release(Strict):
    """One FATE release on one engine."""

    version: str
    engine: Literal["spark-pulsar"]
    title: str
    minimum_kubefate: str
    upgrades_from: tuple[str, ...] = Field(default=(), strict=False)
    exchange: RoleRelease
    cluster: RoleRelease
