"""Members and their addresses -> route tables, as pure data.

What the proxies bear was measured on real ones (Traffic Server 9.2, nginx with FATE's lua):

- nginx takes IP literals alone; a name is ignored in silence and the request goes elsewhere, even
  to the asking party itself. So a name is never written: the site that will use it resolves it.
- Traffic Server dies of an empty ``sni`` list while its pod looks Ready. So the list always holds
  one *sentinel*: ``sentinel.<domain>`` leads to 192.0.2.1, an address of TEST-NET-1 (RFC 5737) that
  no network routes.
- Traffic Server tunnels to the ports of ``TUNNEL_PORTS`` alone; the chart fixes them.
- Of two entries at one address, one party would answer for the other. So the later one stays out.
- IPv6 was tried on neither proxy, so such an address stays out, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Final

from fedcore.network import is_ip
from fedhub.domain.federation import EXCHANGE_KEY, split_host_port

TUNNEL_PORTS: Final = ((443, 443), (6650, 6700), (30_000, 33_000))
"""``connect_ports`` of the exchange chart's records.config."""
_TUNNEL_PORT_SET: Final = frozenset(
    port for low, high in TUNNEL_PORTS for port in range(low, high + 1)
)
TUNNEL_PORTS_TEXT: Final = "443, 6650-6700 or 30000-33000"
SENTINEL_LABEL: Final = "sentinel"
NOWHERE: Final = "192.0.2.1"
SENTINEL_PORT: Final = 443
NOWHERE_HTTP_PORT: Final = 9300

_IPV4: Final = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?!\Z)|\Z)){4}")
_FIRST_MULTICAST: Final = 224
_FIRST_RESERVED: Final = 240

NO_NAMES: Final[frozenset[str]] = frozenset()

PULSAR: Final = "pulsar"
NGINX: Final = "nginx"
ATS: Final = "ats"
PARTY_ROLES: Final = (PULSAR, NGINX)
EXCHANGE_ROLES: Final = (ATS, NGINX)


class Reason(StrEnum):
    """Why a participant has no route, or no document yet."""

    NO_ADDRESS = "AddressNotReported"
    NAME_NOT_RESOLVED = "NameNotResolved"
    UNUSABLE_ADDRESS = "AddressUnusable"
    PORT_NOT_ALLOWED = "PortNotAllowed"
    ADDRESS_TAKEN = "AddressTaken"
    EXCHANGE_HAS_NO_ADDRESS = "ExchangeHasNoAddress"
    EXCHANGE_LEAVES = "ExchangeLeaves"
    WAITS_FOR_CLUSTERS = "WaitsForClusters"


@dataclass(frozen=True, slots=True)
class Address:
    """An address as a site reported it; ``ip`` should be a literal, but a site said so."""

    host: str
    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Peer:
    """A participant as routing sees it. Both maps go by role; what is advertised wins."""

    participant_id: str
    key: str
    site_name: str
    advertised: Mapping[str, str]
    reported: Mapping[str, Address]

    @property
    def label(self) -> str:
        """Return what people call it within its federation."""
        return label_of(self.key)

    def advertised_names(self) -> frozenset[str]:
        """Return the advertised hosts that are names, not IP literals."""
        if not self.advertised:
            return NO_NAMES
        hosts = (split_host_port(text)[0] for text in self.advertised.values())
        return frozenset(host for host in hosts if not is_ip(host))


@dataclass(frozen=True, slots=True)
class Target:
    """Where a route leads. ``host`` is the name it was resolved from, or the literal itself."""

    host: str
    ip: str
    port: int
    advertised: bool


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why there is no target: a code, and a sentence with the cure."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Route:
    """A party that can be reached: both its targets are known."""

    participant_id: str
    key: str
    fqdn: str
    pulsar: Target
    nginx: Target


@dataclass(frozen=True, slots=True)
class Unrouted:
    """A party that stands in no table, and why."""

    participant_id: str
    key: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class ExchangeTargets:
    """Where parties reach the exchange."""

    ats: Target
    nginx: Target


@dataclass(frozen=True, slots=True)
class RouteTables:
    """The parties that one viewer can reach, by party id, and those it cannot."""

    domain: str
    routes: tuple[Route, ...]
    unrouted: tuple[Unrouted, ...]

    def without(self, participant_id: str) -> RouteTables:
        """Return the tables as a party needs them: without itself."""
        routes = tuple(r for r in self.routes if r.participant_id != participant_id)
        return RouteTables(self.domain, routes, self.unrouted)

    def sni(self) -> list[tuple[str, str, int]]:
        """Return (fqdn, ip, port) for Traffic Server; the sentinel makes it never empty."""
        sentinel = (f"{SENTINEL_LABEL}.{self.domain}", NOWHERE, SENTINEL_PORT)
        return [sentinel, *((r.fqdn, r.pulsar.ip, r.pulsar.port) for r in self.routes)]

    def nginx(self) -> list[tuple[str, str, int]]:
        """Return (party id, ip, port) for nginx."""
        return [(r.key, r.nginx.ip, r.nginx.port) for r in self.routes]

    def pulsar(self) -> list[tuple[str, str, int]]:
        """Return (party id, ip, port) for FATE-Flow's Pulsar table, without an exchange."""
        return [(r.key, r.pulsar.ip, r.pulsar.port) for r in self.routes]


def label_of(key: str) -> str:
    """Return what people call the participant with this key."""
    return "the exchange" if key == EXCHANGE_KEY else f"party {key}"


def is_tunnel_port(port: int) -> bool:
    """Return whether the exchange's Traffic Server tunnels to ``port``."""
    return port in _TUNNEL_PORT_SET


def ip_obstacle(ip: str) -> str:
    """Return why the proxies cannot use ``ip``, or nothing. Loopback may be used.

    A pattern instead of ``ipaddress``: thousands of addresses are checked for each change.
    """
    if _IPV4.fullmatch(ip) is None:
        if is_ip(ip):
            return f"{ip} is an IPv6 address, which was tried on none of this release's proxies"
        return f"{ip!r} is no IP address"
    first = int(ip.partition(".")[0])
    if first == 0:
        return f"{ip} stands for any address"
    if first >= _FIRST_RESERVED:
        return f"{ip} is a reserved or broadcast address"
    if first >= _FIRST_MULTICAST:
        return f"{ip} is a multicast address"
    return ""


def locate(peer: Peer, role: str, resolutions: Mapping[str, str]) -> Target | Unresolved:
    """Find where ``role`` of ``peer`` is reached, by what the viewer's site resolved."""
    advertised = peer.advertised.get(role)
    if advertised is not None:
        host, port = split_host_port(advertised)
        ip = host if is_ip(host) else resolutions.get(host, "")
        if not ip:
            return Unresolved(
                Reason.NAME_NOT_RESOLVED,
                f"{peer.label} advertises {host} for {role}, which has not been resolved at the "
                "site that needs it; check DNS there, or advertise an IP address",
            )
        target = Target(host, ip, port, advertised=True)
    else:
        reported = peer.reported.get(role)
        if reported is None or not reported.ip:
            return Unresolved(
                Reason.NO_ADDRESS,
                f"site {peer.site_name} has reported no {role} address of {peer.label} yet",
            )
        target = Target(reported.host, reported.ip, reported.port, advertised=False)
    if unusable := ip_obstacle(target.ip):
        return Unresolved(
            Reason.UNUSABLE_ADDRESS,
            f"the {role} address of {peer.label} cannot be used: {unusable}; "
            f"set `advertise.{role}` to an IPv4 address that other sites reach",
        )
    return target


def exchange_targets(
    exchange: Peer, resolutions: Mapping[str, str]
) -> ExchangeTargets | Unresolved:
    """Find where a party with these resolutions reaches the exchange."""
    targets: list[Target] = []
    for role in EXCHANGE_ROLES:
        target = locate(exchange, role, resolutions)
        if isinstance(target, Unresolved):
            return Unresolved(
                Reason.EXCHANGE_HAS_NO_ADDRESS, f"the exchange has no address yet: {target.message}"
            )
        targets.append(target)
    return ExchangeTargets(*targets)


def route_tables(
    domain: str,
    parties: Sequence[Peer],
    resolutions: Mapping[str, str],
    *,
    tunnelled: bool,
    occupied: Iterable[tuple[str, int]] = (),
) -> RouteTables:
    """Compute the tables of one viewer.

    ``tunnelled``: through the exchange's Traffic Server, whose ports are few. ``occupied``: the
    exchange's addresses, which no party may claim. The order of ``parties`` does not matter: of two
    at one address the one that was created first (their ids sort by time) keeps its routes.
    """
    taken: dict[tuple[str, int], str] = dict.fromkeys(occupied, EXCHANGE_KEY)
    routes: list[Route] = []
    unrouted: list[Unrouted] = []
    for peer in sorted(parties, key=attrgetter("participant_id")):
        route = _route(domain, peer, resolutions, tunnelled=tunnelled)
        if isinstance(route, Route):
            unresolved = _claim(route, peer, taken)
            if unresolved is None:
                routes.append(route)
                continue
        else:
            unresolved = route
        unrouted.append(
            Unrouted(peer.participant_id, peer.key, unresolved.reason, unresolved.message)
        )
    return RouteTables(
        domain,
        tuple(sorted(routes, key=_party_id)),
        tuple(sorted(unrouted, key=_party_id)),
    )


def _party_id(entry: Route | Unrouted) -> int:
    return int(entry.key)


def _route(
    domain: str, peer: Peer, resolutions: Mapping[str, str], *, tunnelled: bool
) -> Route | Unresolved:
    pulsar = locate(peer, PULSAR, resolutions)
    if isinstance(pulsar, Unresolved):
        return pulsar
    if tunnelled and not is_tunnel_port(pulsar.port):
        return Unresolved(
            Reason.PORT_NOT_ALLOWED,
            f"the pulsar port {pulsar.port} of {peer.label} is none that the exchange tunnels to; "
            f"set `advertise.pulsar` to one with port {TUNNEL_PORTS_TEXT}",
        )
    nginx = locate(peer, NGINX, resolutions)
    if isinstance(nginx, Unresolved):
        return nginx
    return Route(peer.participant_id, peer.key, f"{peer.key}.{domain}", pulsar, nginx)


def _claim(route: Route, peer: Peer, taken: dict[tuple[str, int], str]) -> Unresolved | None:
    addresses = ((route.pulsar.ip, route.pulsar.port), (route.nginx.ip, route.nginx.port))
    for ip, port in addresses:
        owner = taken.get((ip, port))
        if owner is not None:
            return Unresolved(
                Reason.ADDRESS_TAKEN,
                f"{peer.label} is said to be at {ip}:{port}, where {label_of(owner)} is; "
                f"set `advertise` of {peer.label} to its own address",
            )
    for address in addresses:
        taken[address] = peer.key
    return None
