"""Federation intent and what sites reported -> desired documents. The only author of documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedhub.domain.models import PlannedDocument, ResourceKind, Spec, StoredDocument
from fedhub.planner.digest import digest_of
from fedhub.planner.inputs import (
    Member,
    MemberGroups,
    Plan,
    PlanInput,
    Report,
    Routes,
    Waiting,
    group_members,
    report_of,
)
from fedhub.planner.routes import (
    ExchangeTargets,
    Peer,
    Reason,
    RouteTables,
    Unresolved,
    exchange_targets,
    route_tables,
)
from fedhub.planner.spec import SpecBuilder, with_tables
from fedproto.agent.v1 import document_pb2

__all__ = ["Member", "Plan", "PlanInput", "Report", "Waiting", "plan", "report_of", "stored_spec"]


def plan(given: PlanInput, *, scope: frozenset[str] | None = None) -> Plan:
    """Compute the documents of the participants in ``scope``; None means all.

    Pure: the same input gives the same bytes, in whatever order the members come.
    """
    return _Draft.of(given, scope).plan()


def stored_spec(document: StoredDocument) -> Spec:
    """Read the body of a stored document."""
    if document.kind is ResourceKind.ENDPOINT:
        return document_pb2.EndpointSpec.FromString(document.spec_bytes)
    return document_pb2.ParticipantSpec.FromString(document.spec_bytes)


def planned(member: Member, spec: Spec, *, absent: bool) -> PlannedDocument:
    """Wrap a spec into the document of ``member``."""
    return PlannedDocument(
        resource_id=member.participant.id,
        site_id=member.participant.site_id,
        kind=ResourceKind.PARTICIPANT,
        absent=absent,
        spec=spec,
        digest=digest_of(spec, absent=absent),
    )


@dataclass(frozen=True, slots=True)
class _Draft:
    """One planning: the members by their part, and what they have in common."""

    given: PlanInput
    scope: frozenset[str] | None
    cast: MemberGroups
    peers: tuple[Peer, ...]
    builder: SpecBuilder
    documents: list[PlannedDocument]
    waiting: dict[str, Waiting]

    @classmethod
    def of(cls, given: PlanInput, scope: frozenset[str] | None) -> _Draft:
        cast = group_members(given)
        return cls(
            given=given,
            scope=scope,
            cast=cast,
            peers=tuple(member.peer() for member in cast.clusters),
            builder=SpecBuilder(given, is_direct=cast.is_direct),
            documents=[],
            waiting={},
        )

    def plan(self) -> Plan:
        routes = self._plan_direct() if self.cast.is_direct else self._plan_relayed()
        for member in self.cast.leaving:
            self._plan_removal(member)
        return Plan(tuple(self.documents), self.waiting, routes, routes.unrouted)

    def _wants(self, member: Member) -> bool:
        return self.scope is None or member.participant.id in self.scope

    def _plan_relayed(self) -> Routes:
        """Parties go through an exchange, which may have no address yet, or be missing."""
        domain = self.given.federation.domain
        exchange = self.cast.exchange
        if exchange is None:
            self._hold_parties(Reason.EXCHANGE_HAS_NO_ADDRESS, "the exchange is not there yet")
            tables = route_tables(domain, self.peers, {}, tunnelled=True)
            return Routes(domain, None, tables.routes, tables.unrouted)
        peer = exchange.peer()
        seen = exchange_targets(peer, exchange.resolutions)
        targets = None if isinstance(seen, Unresolved) else seen
        tables = route_tables(
            domain, self.peers, exchange.resolutions, tunnelled=True, occupied=_places(targets)
        )
        if self.cast.exchange_is_draining:
            self._plan_draining(exchange, tables)
        else:
            self._plan_exchange(exchange, peer, tables)
            self._plan_parties(peer, exchange.resolutions, seen)
        return Routes(domain, targets, tables.routes, tables.unrouted)

    def _plan_exchange(self, exchange: Member, peer: Peer, tables: RouteTables) -> None:
        if self._wants(exchange):
            names = peer.advertised_names().union(*(each.advertised_names() for each in self.peers))
            spec = self.builder.exchange(exchange, tables, names)
            self.documents.append(planned(exchange, spec, absent=False))

    def _plan_draining(self, exchange: Member, tables: RouteTables) -> None:
        """Keep an exchange that nobody wants until its last cluster is gone.

        Its tables lose each leaving party at once; everything else stays as stored.
        """
        self._hold_parties(Reason.EXCHANGE_LEAVES, "its exchange is being removed; remove it first")
        if not self._wants(exchange):
            return
        self.waiting[exchange.participant.id] = Waiting(
            Reason.WAITS_FOR_CLUSTERS, "the exchange goes when the last cluster is gone"
        )
        stored = self.given.current.get(exchange.participant.id)
        spec = None if stored is None or stored.absent else stored_spec(stored)
        if isinstance(spec, document_pb2.ParticipantSpec):
            self.documents.append(planned(exchange, with_tables(spec, tables), absent=False))

    def _plan_parties(
        self, exchange: Peer, fallback: Mapping[str, str], seen: ExchangeTargets | Unresolved
    ) -> None:
        """Plan each party by what its own site resolved, or else the exchange's site.

        Without the latter a party could not start: its site is asked to resolve by the very
        document that needs the answer. ``seen`` is what the exchange's site sees, the same for all
        parties where nothing must be resolved.
        """
        names = exchange.advertised_names()
        for member in self.cast.clusters:
            if not self._wants(member):
                continue
            targets = seen
            if names:
                own = member.resolutions
                known = {name: own.get(name) or fallback.get(name, "") for name in names}
                targets = exchange_targets(exchange, known)
            if isinstance(targets, Unresolved):
                self._hold(member, targets.reason, targets.message)
                continue
            spec = self.builder.party(member, targets, names)
            self.documents.append(planned(member, spec, absent=False))

    def _hold_parties(self, reason: Reason, message: str) -> None:
        for member in self.cast.clusters:
            if self._wants(member):
                self._hold(member, reason, message)

    def _hold(self, member: Member, reason: Reason, message: str) -> None:
        """Let a party wait with the document that it has.

        One whose removal is taken back gets its last one again: what still runs must not go.
        """
        self.waiting[member.participant.id] = Waiting(reason, message)
        stored = self.given.current.get(member.participant.id)
        if stored is not None and stored.absent:
            self.documents.append(planned(member, stored_spec(stored), absent=False))

    def _plan_direct(self) -> Routes:
        """Without an exchange every party's tables name every other: grows with the square."""
        domain = self.given.federation.domain
        names = sorted(frozenset[str]().union(*(each.advertised_names() for each in self.peers)))
        by_view: dict[tuple[str, ...], RouteTables] = {}
        seen: dict[str, str] = {}
        for member in self.cast.clusters:
            view = tuple(member.resolutions.get(name, "") for name in names)
            seen |= {name: ip for name, ip in zip(names, view, strict=True) if ip}
            if not self._wants(member):
                continue
            if view not in by_view:
                by_view[view] = route_tables(
                    domain, self.peers, dict(zip(names, view, strict=True)), tunnelled=False
                )
            others = by_view[view].without(member.participant.id)
            spec = self.builder.peer(member, others, names)
            self.documents.append(planned(member, spec, absent=False))
        tables = route_tables(domain, self.peers, seen, tunnelled=False)
        return Routes(domain, None, tables.routes, tables.unrouted)

    def _plan_removal(self, member: Member) -> None:
        """Say what there is to remove: the last document, now absent."""
        stored = self.given.current.get(member.participant.id)
        if stored is not None and self._wants(member):
            self.documents.append(planned(member, stored_spec(stored), absent=True))


def _places(targets: ExchangeTargets | None) -> tuple[tuple[str, int], ...]:
    if targets is None:
        return ()
    return tuple((each.ip, each.port) for each in (targets.ats, targets.nginx))
