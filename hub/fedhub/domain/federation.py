"""The intent: what people write about a federation. Its schema documents every key."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from fedcore.ids import NAME_PATTERN, is_domain, is_name
from fedcore.words import RepairPolicy

MAX_PARTIES: Final = 1_000
MAX_PARTY_ID: Final = 999_999
"""Above it KubeFATE's templates write the id as a float (KubeFATE values-template.yaml)."""
MAX_DOMAIN: Final = 57
"""A common name holds 64 characters, and a party is called ``999999.<domain>``."""
EXCHANGE_KEY: Final = "exchange"
EXCHANGE_PARTY_ID: Final = 0
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


class Expose(StrEnum):
    """How other participants reach a participant's proxies."""

    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    CLUSTER_IP = "ClusterIP"


class CrossFieldError(ValueError):
    """An error that only shows when fields are seen together; ``path`` is the one to change."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


class Strict(BaseModel):
    """An input model: unknown keys and silent conversions are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_enum_values=False)


def split_host_port(text: str) -> tuple[str, int]:
    """Split ``host:port``, ``[v6]:port``; raise ValueError with the cure where it is neither."""
    host, separator, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"write an IPv6 address in brackets: [{host}]:{port}")
    if not separator or not port.isascii() or not port.isdigit():
        raise ValueError(f"write host:port, for example 203.0.113.7:30109, not {text!r}")
    if not 1 <= int(port) <= 65_535:  # noqa: PLR2004 - the range of TCP ports
        raise ValueError(f"port {port} is not between 1 and 65535")
    unusable = _unusable_host(host)
    if unusable:
        raise ValueError(unusable)
    return host, int(port)


def _unusable_host(host: str) -> str:
    """Return why others cannot be sent to ``host``, or nothing."""
    neither = f"{host!r} is neither an IP address nor a lower-case DNS name"
    if "%" in host:
        return f"{host!r} names an interface of one machine; write an address that all reach"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        last = host.rpartition(".")[2]
        if _NUMBER.fullmatch(last):
            # Resolvers read 2130706433, 017700000001 and 0x7f000001 as 127.0.0.1 (inet_aton).
            return f"{neither}; write an IPv4 address as four decimal numbers"
        if last == "localhost":
            return f"{host} is another machine for each who asks; write an address that all reach"
        return "" if is_domain(host) or is_name(host) else neither
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if (mapped or address).is_link_local:
        return f"{host} is a link-local address, which no other network reaches"
    return ""


def _check_host_port(text: str) -> str:
    split_host_port(text)
    return text


def _check_domain(text: str) -> str:
    if len(text) > MAX_DOMAIN:
        raise ValueError(
            f"{text!r} is longer than {MAX_DOMAIN} characters: names in it, such as "
            f"{MAX_PARTY_ID}.<domain>, must fit into a certificate"
        )
    if not is_domain(text):
        raise ValueError(
            f"{text!r} is no lower-case DNS name of two labels or more, such as fed.example.com"
        )
    return text


Name = Annotated[str, Field(pattern=NAME_PATTERN, examples=["alpha"])]
HostPort = Annotated[str, Field(max_length=260), AfterValidator(_check_host_port)]
Domain = Annotated[str, AfterValidator(_check_domain)]
ExposeField = Annotated[Expose, Field(strict=False)]
RepairField = Annotated[RepairPolicy, Field(strict=False)]
Values = Annotated[
    dict[str, Any],
    Field(
        description=(
            "Your own overlay of KubeFATE's cluster.yaml, merged last. Keys that the product "
            "computes (name, namespace, partyId, route tables, ...) are refused."
        )
    ),
]


class ExchangeAdvertise(Strict):
    """Addresses at which parties reach the exchange, where the reported ones do not fit."""

    ats: HostPort | None = Field(
        default=None, description="host:port of the exchange's Traffic Server, as parties see it."
    )
    nginx: HostPort | None = Field(
        default=None, description="host:port of the exchange's nginx, as parties see it."
    )


class PartyAdvertise(Strict):
    """Addresses at which the exchange reaches a party, where the reported ones do not fit."""

    pulsar: HostPort | None = Field(
        default=None,
        description=(
            "host:port of the party's Pulsar TLS port, as the exchange sees it. "
            "The port must be 443, 6650-6700 or 30000-33000."
        ),
    )
    nginx: HostPort | None = Field(
        default=None, description="host:port of the party's nginx, as the exchange sees it."
    )


class ExchangeIntent(Strict):
    """The exchange of a federation: relays traffic between its parties."""

    site: Name = Field(description="Name of the site that runs the exchange.")
    expose: ExposeField = Field(
        default=Expose.NODE_PORT, description="How parties reach the exchange's proxies."
    )
    namespace: Name = Field(
        default="fate-exchange", description="Kubernetes namespace; holds this exchange alone."
    )
    advertise: ExchangeAdvertise = Field(
        default_factory=ExchangeAdvertise,
        description="Addresses as parties see them (NAT, load balancer, DNS); they win.",
    )
    values: Values = Field(default_factory=dict)


class PartyIntent(Strict):
    """One FATE cluster: a party of the federation."""

    id: int = Field(ge=1, le=MAX_PARTY_ID, description="FATE party id, 1 to 999999.")
    site: Name = Field(description="Name of the site that runs the party.")
    expose: ExposeField = Field(
        default=Expose.NODE_PORT, description="How the exchange reaches the party's proxies."
    )
    namespace: Name | None = Field(
        default=None,
        description="Kubernetes namespace; holds this party alone. Default: fate-<id>.",
    )
    advertise: PartyAdvertise = Field(
        default_factory=PartyAdvertise,
        description="Addresses as the exchange sees them (NAT, load balancer, DNS); they win.",
    )
    values: Values = Field(default_factory=dict)

    @property
    def effective_namespace(self) -> str:
        """The namespace written, or fate-<id>."""
        return self.namespace if self.namespace is not None else f"fate-{self.id}"


class FederationIntent(Strict):
    """A federation: a domain, a FATE release, an exchange and its parties."""

    kind: Literal["Federation"] = Field(default="Federation", description="Always Federation.")
    name: Name = Field(description="Name of the federation, unique at this hub.")
    domain: Domain = Field(
        description="DNS domain of the federation; parties are called <id>.<domain> in it."
    )
    release: str = Field(
        default="1.8.0", description="FATE release; `fedctl get releases` lists them."
    )
    engine: Literal["spark-pulsar"] = Field(
        default="spark-pulsar", description="Computing and federation engine."
    )
    repair: RepairField = Field(
        default=RepairPolicy.AUTO,
        description="auto: agents put drift right; report: they only report it.",
    )
    exchange: ExchangeIntent | None = Field(
        default=None, description="The exchange. Without one, parties route to each other directly."
    )
    parties: tuple[PartyIntent, ...] = Field(
        default=(), max_length=MAX_PARTIES, strict=False, description="The FATE clusters."
    )

    @model_validator(mode="after")
    def _no_two_alike(self) -> Self:
        party_ids: set[int] = set()
        places: dict[tuple[str, str], str] = {}
        if self.exchange is not None:
            places[self.exchange.site, self.exchange.namespace] = "exchange"
        for index, party in enumerate(self.parties):
            if party.id in party_ids:
                raise CrossFieldError(
                    f"parties.{index}.id",
                    f"party id {party.id} is written twice; give each party its own",
                )
            party_ids.add(party.id)
            place = (party.site, party.effective_namespace)
            if place in places:
                raise CrossFieldError(
                    f"parties.{index}.namespace",
                    f"party {party.id} and {places[place]} share namespace {place[1]} at site "
                    f"{place[0]}; a namespace holds one participant: set `namespace`",
                )
            places[place] = f"party {party.id}"
        return self

    def sites(self) -> frozenset[str]:
        """Names of all sites that take part."""
        used = {party.site for party in self.parties}
        if self.exchange is not None:
            used.add(self.exchange.site)
        return frozenset(used)
