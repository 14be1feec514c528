"""What handshakes with an exchange's routes showed, and which of them count for its table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fedagent.domain.decision import Finding
from fedagent.domain.document import ParticipantDocument, Proxy, Table
from fedagent.domain.state import Probe, ProxyState, ResourceState
from fedagent.domain.timing import PlanTiming
from fedcore.words import ProbeState, ProxyKind, Severity, TableKind

_SETTLED: Final = frozenset({ProbeState.REACHABLE, ProbeState.UNREACHABLE, ProbeState.PARTY_DOWN})
_OF_A_TABLE: Final = frozenset({ProbeState.REACHABLE, ProbeState.PARTY_DOWN})
"""States that a route of an older table shows just as well."""
WRONG_CERTIFICATE: Final = "WrongPartyCertificate"
PARTY_UNREACHABLE: Final = "PartyUnreachable"
PROXY_ROLE: Final = "ats"
"""Role of the address at which an exchange's Traffic Server listens."""
_MAX_FINDINGS: Final = 20


def is_party_route(key: str) -> bool:
    """Return whether an SNI is a party's; the sentinel entry of an exchange is none."""
    return key.split(".", 1)[0].isdigit()


@dataclass(frozen=True, slots=True)
class ProbedRoutes:
    """The routes of an exchange that a handshake can try, with what the handshakes showed.

    ``proxy_state`` None: nobody knows which table the proxy has read.
    """

    proxy: Proxy
    table: Table
    proxy_state: ProxyState | None
    probes: Mapping[str, Probe]
    timing: PlanTiming

    def probe_of(self, key: str) -> Probe | None:
        """Return the probe of a route that was made for this very table."""
        probe = self.probes.get(key)
        return probe if probe is not None and probe.table_digest == self.table.digest else None

    def is_in(self, key: str, state: ProbeState) -> bool:
        """Return whether the last probe of a route came to ``state``."""
        probe = self.probe_of(key)
        return probe is not None and probe.state == state

    def is_settled(self, key: str) -> bool:
        """Return whether nothing more is to be found out about a route for the moment."""
        probe = self.probe_of(key)
        return probe is not None and probe.state in _SETTLED and self._counts(probe)

    def counted(self) -> tuple[Probe, ...]:
        """Return the probes that speak of the document's present table, by key."""
        if self.proxy_state is None or self.proxy_state.table_digest != self.table.digest:
            return ()
        probes = (self.probe_of(key) for key in self.table.keys)
        return tuple(
            probe
            for probe in probes
            if probe is not None and (probe.state not in _OF_A_TABLE or self._counts(probe))
        )

    def _counts(self, probe: Probe) -> bool:
        """Return whether the proxy had taken its table when the route was tried.

        A route that only moved is answered by the same party before and after. So an added route
        that is served, or a removed one that is not, or the longest time that a reload takes, must
        show it.
        """
        applied = self.proxy_state
        if applied is None:
            return False
        age_s = (probe.at - applied.applied_at).total_seconds()
        if applied.how != "reload" or age_s >= self.timing.reload_s:
            return True
        added = (self.probe_of(key) for key in applied.added if is_party_route(key))
        removed = (key for key in applied.removed if is_party_route(key))
        return any(other is not None and other.state in _SETTLED for other in added) or any(
            self.is_in(key, ProbeState.NOT_SERVED) for key in removed
        )


def probed_routes(
    document: ParticipantDocument, state: ResourceState, timing: PlanTiming
) -> ProbedRoutes | None:
    """Return the routes that a handshake can try: those of a Traffic Server; None without one."""
    for proxy in document.proxies:
        table = document.table(TableKind.SNI)
        if proxy.kind is ProxyKind.TRAFFIC_SERVER and table is not None:
            applied = state.proxies.get(proxy.deployment)
            return ProbedRoutes(proxy, table, applied, state.probes, timing)
    return None


def unreachable_parties(routes: ProbedRoutes | None, now: datetime) -> tuple[Finding, ...]:
    """Return a warning for each party that does not answer behind its route, or not as itself."""
    if routes is None:
        return ()
    return tuple(_warnings(routes, now))[:_MAX_FINDINGS]


def _warnings(routes: ProbedRoutes, now: datetime) -> Iterable[Finding]:
    addresses = {entry.key: f"{entry.host}:{entry.port}" for entry in routes.table.entries}
    for probe in routes.counted():
        if probe.state != ProbeState.PARTY_DOWN or not is_party_route(probe.key):
            continue
        down_s = (now - (probe.since or probe.at)).total_seconds()
        # A silent party may just be starting; a foreign certificate does not mend itself.
        if not probe.foreign and down_s < routes.timing.party_start_grace_s:
            continue
        hint = "See that the party's Pulsar runs and that this address leads to it"
        if probe.foreign:
            hint = "Correct the address that the party advertises, or see whose certificate it has"
        yield Finding(
            WRONG_CERTIFICATE if probe.foreign else PARTY_UNREACHABLE,
            Severity.WARNING,
            f"party {probe.key.split('.', 1)[0]} at {addresses[probe.key]}: {probe.message}",
            f"{hint}; `fedctl routes` shows every route.",
            f"Route/{probe.key}",
        )
