"""What handshakes with an exchange's routes showed, and which of them count for its table."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from fedagent.domain.decision import Finding, Severity
from fedagent.domain.document import ParticipantDocument, Proxy, ProxyKind, Table, TableKind
from fedagent.domain.state import Probe, ProxyState, ResourceState

REACHABLE: Final = "reachable"
UNREACHABLE: Final = "unreachable"
NOT_SERVED: Final = "not-served"
PARTY_DOWN: Final = "party-down"

RELOAD_LIMIT_S: Final = 7.5
"""Longest time that Traffic Server took to load a table: 2.9 to 7.2 s were measured on 9.2."""
_START_LIMIT_S: Final = 30.0
"""A route is there before its party's broker answers: so long a silence is no trouble."""
_SETTLED: Final = frozenset({REACHABLE, UNREACHABLE, PARTY_DOWN})
_OF_A_TABLE: Final = frozenset({REACHABLE, PARTY_DOWN})
"""States that a route of an older table shows just as well."""
WRONG_CERTIFICATE: Final = "WrongPartyCertificate"
PARTY_UNREACHABLE: Final = "PartyUnreachable"
_MAX_FINDINGS: Final = 20


def is_party_route(key: str) -> bool:
    """Tell whether an SNI is a party's; the sentinel entry of an exchange is none."""
    return key.split(".", 1)[0].isdigit()


def reachable_table(document: ParticipantDocument) -> tuple[Proxy | None, Table | None]:
    """Return the proxy and the table whose routes can be proven by a handshake."""
    for proxy in document.proxies:
        if proxy.kind is ProxyKind.TRAFFIC_SERVER:
            return proxy, document.table(TableKind.SNI)
    return None, None


def probe_of(memory: ResourceState, key: str, table: Table) -> Probe | None:
    """Return the probe of a route that was made for this very table."""
    probe = memory.probes.get(key)
    return probe if probe is not None and probe.table_digest == table.digest else None


def probe_is(memory: ResourceState, key: str, table: Table, state: str) -> bool:
    """Tell whether the last probe of a route came to ``state``."""
    probe = probe_of(memory, key, table)
    return probe is not None and probe.state == state


def is_settled(memory: ResourceState, key: str, note: ProxyState, table: Table) -> bool:
    """Tell whether nothing more is to be found out about a route for the moment."""
    probe = probe_of(memory, key, table)
    return probe is not None and probe.state in _SETTLED and _counts(memory, probe, note, table)


def counted(document: ParticipantDocument, memory: ResourceState) -> tuple[Probe, ...]:
    """Return the probes that speak of the document's present table, by key."""
    proxy, table = reachable_table(document)
    if proxy is None or table is None:
        return ()
    note = memory.proxies.get(proxy.deployment)
    if note is None or note.table_digest != table.digest:
        return ()
    probes = (probe_of(memory, key, table) for key in table.keys)
    return tuple(
        probe
        for probe in probes
        if probe is not None
        and (probe.state not in _OF_A_TABLE or _counts(memory, probe, note, table))
    )


def _counts(memory: ResourceState, probe: Probe, note: ProxyState, table: Table) -> bool:
    """Tell whether the proxy had taken its table when the route was tried.

    A route that only moved is answered by the same party before and after. So an added route that
    is served, or a removed one that is not, or the longest time that a reload takes, must show it.
    """
    if note.how != "reload" or (probe.at - note.applied_at).total_seconds() >= RELOAD_LIMIT_S:
        return True
    added = (probe_of(memory, key, table) for key in note.added if is_party_route(key))
    removed = [key for key in note.removed if is_party_route(key)]
    return any(item is not None and item.state in _SETTLED for item in added) or any(
        probe_is(memory, key, table, NOT_SERVED) for key in removed
    )


def unreachable_parties(
    document: ParticipantDocument, memory: ResourceState, now: datetime
) -> tuple[Finding, ...]:
    """Return a warning for each party that does not answer behind its route, or not as itself."""
    _, table = reachable_table(document)
    if table is None:
        return ()
    down = [probe for probe in counted(document, memory) if probe.state == PARTY_DOWN]
    return tuple(_warnings(down, table, now))[:_MAX_FINDINGS]


def _warnings(down: Iterable[Probe], table: Table, now: datetime) -> Iterable[Finding]:
    places = {entry.key: f"{entry.host}:{entry.port}" for entry in table.entries}
    for probe in down:
        since = probe.since or probe.at
        if not is_party_route(probe.key) or not (
            probe.foreign or (now - since).total_seconds() >= _START_LIMIT_S
        ):
            continue
        hint = "See that the party's Pulsar runs and that this address leads to it"
        if probe.foreign:
            hint = "Correct the address that the party advertises, or see whose certificate it has"
        yield Finding(
            WRONG_CERTIFICATE if probe.foreign else PARTY_UNREACHABLE,
            Severity.WARNING,
            f"party {probe.key.split('.', 1)[0]} at {places[probe.key]}: {probe.message}",
            f"{hint}; `fedctl routes` shows every route.",
            f"Route/{probe.key}",
        )
