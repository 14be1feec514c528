"""A participant -> its cluster.yaml.

Three layers, later ones win: the release's defaults (every key whose chart default would leak), the
operator's overlay, and what the product computes. An overlay that names a computed key is refused
before it gets here (``overlay.py``); the order makes sure that none slips through.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fedhub.domain.federation import Expose
from fedhub.domain.release import RoleRelease, Topology
from fedhub.planner.routes import NOWHERE, NOWHERE_HTTP_PORT, ExchangeTargets, RouteTables

PULSAR_PLAIN_PORT: Final = 6650
PULSAR_TLS_PORT: Final = 6651

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """What a participant is called in its cluster.yaml."""

    party_id: int
    domain: str
    name: str
    namespace: str


def fill(text: str, party_id: int, domain: str) -> str:
    """Put party id and domain where a release's text wants them."""
    return text.replace("${party}", str(party_id)).replace("${domain}", domain)


def canonical(tree: Mapping[str, Any]) -> str:
    """Write JSON in its one form: sorted keys, no spaces, no NaN."""
    return json.dumps(
        tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    """Lay ``over`` upon ``under``: mappings merge key by key, anything else is replaced."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def exposure_values(role: RoleRelease, expose: Expose, topology: Topology) -> Tree:
    """Return the keys that make this exposure."""
    for exposure in role.exposures:
        if exposure.expose is expose and exposure.topology in ("any", topology):
            return exposure.values
    raise LookupError(f"{role.chart.name} {role.chart.version} has no exposure {expose.value}")


def base_values(
    role: RoleRelease, identity: Identity, expose: Expose, topology: Topology, overlay: Tree
) -> Tree:
    """Build cluster.yaml without routes."""
    values = merge(_filled(role.defaults, identity), overlay)
    values = merge(values, exposure_values(role, expose, topology))
    values.update(
        name=identity.name,
        namespace=identity.namespace,
        chartName=role.chart.name,
        chartVersion=role.chart.version,
        partyId=identity.party_id,
        modules=list(role.modules),
    )
    return values


def relay_values(tables: RouteTables) -> Tree:
    """Return the exchange's tables as its chart takes them."""
    return {
        "trafficServer": {"route_table": {"sni": _sni(tables)}},
        "nginx": {"route_table": _nginx(tables.nginx())},
    }


def with_relay(values: Tree, tables: RouteTables) -> Tree:
    """Replace the exchange's tables in ``values``; a table is replaced whole, never merged."""
    replaced = dict(values)
    for block, keys in relay_values(tables).items():
        replaced[block] = {**replaced.get(block, {}), **keys}
    return replaced


def through_exchange(domain: str, targets: ExchangeTargets) -> Tree:
    """Return the keys that lead a party's traffic to the exchange.

    ``grpcPort`` repeats the HTTP port: FATE-Flow 1.x talks HTTP to its proxy, and a key left out
    would render as null into nginx's table.
    """
    return {
        "nginx": {
            "exchange": {
                "ip": targets.nginx.ip,
                "httpPort": targets.nginx.port,
                "grpcPort": targets.nginx.port,
            }
        },
        "pulsar": {"exchange": {"ip": targets.ats.ip, "port": targets.ats.port, "domain": domain}},
    }


def peer_to_peer(party_id: int, others: RouteTables) -> Tree:
    """Return the keys that lead a party straight to each other party.

    Without ``nginx.exchange`` the chart writes its author's sample address as the way to unknown
    parties, so it is set to one that leads nowhere. The chart adds the party's own Pulsar entry
    only to an empty table, so it is written here.
    """
    own = {"host": "pulsar", "port": PULSAR_PLAIN_PORT, "sslPort": PULSAR_TLS_PORT, "proxy": ""}
    pulsar = {str(party_id): own}
    for key, ip, port in others.pulsar():
        pulsar[key] = {"host": ip, "port": port, "sslPort": PULSAR_TLS_PORT, "proxy": ""}
    return {
        "nginx": {
            "exchange": {
                "ip": NOWHERE,
                "httpPort": NOWHERE_HTTP_PORT,
                "grpcPort": NOWHERE_HTTP_PORT,
            },
            "route_table": _nginx(others.nginx()),
        },
        "pulsar": {"route_table": pulsar},
    }


def _filled(value: Any, identity: Identity) -> Any:
    """Copy a tree, its texts filled."""
    if isinstance(value, str):
        return fill(value, identity.party_id, identity.domain) if "$" in value else value
    if isinstance(value, Mapping):
        return {key: _filled(child, identity) for key, child in value.items()}
    if isinstance(value, list):
        return [_filled(child, identity) for child in value]
    return value


def _sni(tables: RouteTables) -> list[Tree]:
    return [{"fqdn": fqdn, "tunnelRoute": f"{ip}:{port}"} for fqdn, ip, port in tables.sni()]


def _nginx(entries: Sequence[tuple[str, str, int]]) -> Tree:
    return {key: {"fateflow": [{"host": ip, "http_port": port}]} for key, ip, port in entries}
