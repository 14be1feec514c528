"""Federation intent and what sites reported -> desired documents. The only author of documents.

Each member gets one decision, by the first row that fits:

| member           | its federation                      | document                     | waits |
|------------------|-------------------------------------|------------------------------|-------|
| leaving exchange | a cluster stays, or something of    | the stored one; its tables   | yes   |
|                  | one remains at its site             | lose whoever left            |       |
| leaving          | any                                 | the stored one, absent; none | no    |
|                  |                                     | if there never was one       |       |
| exchange         | any                                 | new; its tables name every   | no    |
|                  |                                     | party that has a route       |       |
| party            | its exchange leaves, is missing, or | as it is (*)                 | yes   |
|                  | has no address                      |                              |       |
| party            | with an exchange                    | new; leads to the exchange   | no    |
| party            | without an exchange                 | new; names each other party  | no    |

(*) No document is planned, so the stored one stays. A party whose removal is undone gets its last
document again, no longer absent: what still runs must not go while the party waits.

An exchange goes last because a removed party stays reachable through it until its proxies took a
table without that party. It drains as long as anything of a cluster may be at a site.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fedhub.domain.models import PlannedDocument, ResourceKind, Spec
from fedhub.planner.documents import digest_of, removal_document, restored_document, stored_spec
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

__all__ = ["Member", "Plan", "PlanInput", "Report", "Waiting", "plan", "report_of"]

Scope = frozenset[str] | None
"""Ids of the participants to plan; None means all."""


@dataclass(frozen=True, slots=True)
class _Decision:
    """What is decided of one member: a new document, a reason to wait, both or neither."""

    participant_id: str
    document: PlannedDocument | None = None
    waiting: Waiting | None = None


@dataclass(frozen=True, slots=True)
class _Context:
    """What the decisions of one planning have in common."""

    plan_input: PlanInput
    scope: Scope
    groups: MemberGroups
    peers: tuple[Peer, ...]
    builder: SpecBuilder

    @property
    def domain(self) -> str:
        return self.plan_input.federation.domain

    def in_scope(self, members: Iterable[Member]) -> Iterator[Member]:
        return (
            member
            for member in members
            if self.scope is None or member.participant.id in self.scope
        )


def plan(plan_input: PlanInput, *, scope: Scope = None) -> Plan:
    """Compute the documents of the participants in ``scope``; None means all.

    Pure: the same input gives the same bytes, in whatever order the members come.
    """
    groups = group_members(plan_input)
    context = _Context(
        plan_input=plan_input,
        scope=scope,
        groups=groups,
        peers=tuple(member.peer() for member in groups.clusters),
        builder=SpecBuilder(plan_input, is_direct=groups.is_direct),
    )
    routes, decisions = _plan_direct(context) if groups.is_direct else _plan_relayed(context)
    decisions += [_decide_removal(context, member) for member in context.in_scope(groups.leaving)]
    return Plan(
        documents=tuple(
            decision.document for decision in decisions if decision.document is not None
        ),
        waiting={
            decision.participant_id: decision.waiting
            for decision in decisions
            if decision.waiting is not None
        },
        routes=routes,
    )


@dataclass(frozen=True, slots=True)
class _Relay:
    """The exchange, where its own site sees it, and its tables."""

    member: Member
    peer: Peer
    located: ExchangeTargets | Unresolved
    tables: RouteTables

    @classmethod
    def of(cls, context: _Context, exchange: Member) -> _Relay:
        peer = exchange.peer()
        located = exchange_targets(peer, exchange.resolutions)
        tables = route_tables(
            context.domain,
            context.peers,
            exchange.resolutions,
            tunnelled=True,
            occupied=_addresses_of(located),
        )
        return cls(exchange, peer, located, tables)

    def routes(self, domain: str) -> Routes:
        targets = None if isinstance(self.located, Unresolved) else self.located
        return Routes(domain, targets, self.tables.routes, self.tables.unrouted)


def _plan_relayed(context: _Context) -> tuple[Routes, list[_Decision]]:
    """Decide a federation whose parties go through an exchange, which may be missing."""
    exchange = context.groups.exchange
    if exchange is None:
        waiting = Waiting(Reason.EXCHANGE_HAS_NO_ADDRESS, "the exchange is not there yet")
        tables = route_tables(context.domain, context.peers, {}, tunnelled=True)
        routes = Routes(context.domain, None, tables.routes, tables.unrouted)
        return routes, _hold_clusters(context, waiting)
    relay = _Relay.of(context, exchange)
    if context.groups.exchange_is_draining:
        waiting = Waiting(Reason.EXCHANGE_LEAVES, "its exchange is being removed; remove it first")
        decisions = [_decide_draining(context, relay) for _ in context.in_scope([exchange])]
        return relay.routes(context.domain), [*decisions, *_hold_clusters(context, waiting)]
    decisions = [_decide_exchange(context, relay) for _ in context.in_scope([exchange])]
    decisions += [
        _decide_party(context, relay, party) for party in context.in_scope(context.groups.clusters)
    ]
    return relay.routes(context.domain), decisions


def _decide_exchange(context: _Context, relay: _Relay) -> _Decision:
    # The exchange's site resolves the names that parties advertise: tables take IP literals alone.
    names = relay.peer.advertised_names()
    names = names.union(*(party.advertised_names() for party in context.peers))
    return _deploy(relay.member, context.builder.exchange(relay.member, relay.tables, names))


def _decide_draining(context: _Context, relay: _Relay) -> _Decision:
    """Keep the exchange as stored but for its tables, which lose each leaving party at once."""
    exchange_id = relay.member.participant.id
    waiting = Waiting(Reason.WAITS_FOR_CLUSTERS, "the exchange goes when the last cluster is gone")
    stored = context.plan_input.current.get(exchange_id)
    spec = None if stored is None or stored.absent else stored_spec(stored)
    if not isinstance(spec, document_pb2.ParticipantSpec):
        return _Decision(exchange_id, waiting=waiting)
    document = _document_of(relay.member, with_tables(spec, relay.tables))
    return _Decision(exchange_id, document, waiting)


def _decide_party(context: _Context, relay: _Relay, party: Member) -> _Decision:
    """Lead a party to the exchange by what its own site resolved, or else the exchange's site.

    Without the latter a party could not start: its site is asked to resolve by the very document
    that needs the answer.
    """
    names = relay.peer.advertised_names()
    targets = relay.located
    if names:
        own, fallback = party.resolutions, relay.member.resolutions
        resolutions = {name: own.get(name) or fallback.get(name, "") for name in names}
        targets = exchange_targets(relay.peer, resolutions)
    if isinstance(targets, Unresolved):
        return _hold(context, party, Waiting(targets.reason, targets.message))
    return _deploy(party, context.builder.party(party, targets, names))


def _plan_direct(context: _Context) -> tuple[Routes, list[_Decision]]:
    """Decide a federation without an exchange: every party's tables name every other.

    The work grows with the square of the parties, so tables are computed once for all parties
    whose sites resolve the advertised names alike; commonly that is one computation.
    """
    peers = context.peers
    names = sorted(frozenset[str]().union(*(peer.advertised_names() for peer in peers)))
    by_view: dict[tuple[str, ...], RouteTables] = {}
    resolved: dict[str, str] = {}
    decisions = []
    for member in context.groups.clusters:
        view = tuple(member.resolutions.get(name, "") for name in names)
        resolutions = dict(zip(names, view, strict=True))
        resolved |= {name: ip for name, ip in resolutions.items() if ip}
        if context.scope is not None and member.participant.id not in context.scope:
            continue
        if view not in by_view:
            by_view[view] = route_tables(context.domain, peers, resolutions, tunnelled=False)
        others = by_view[view].without(member.participant.id)
        decisions.append(_deploy(member, context.builder.peer(member, others, names)))
    tables = route_tables(context.domain, peers, resolved, tunnelled=False)
    return Routes(context.domain, None, tables.routes, tables.unrouted), decisions


def _decide_removal(context: _Context, member: Member) -> _Decision:
    stored = context.plan_input.current.get(member.participant.id)
    document = None if stored is None else removal_document(stored)
    return _Decision(member.participant.id, document)


def _hold_clusters(context: _Context, waiting: Waiting) -> list[_Decision]:
    return [_hold(context, member, waiting) for member in context.in_scope(context.groups.clusters)]


def _hold(context: _Context, member: Member, waiting: Waiting) -> _Decision:
    """Hold a party back with the document that it has; see (*) in the module's table."""
    stored = context.plan_input.current.get(member.participant.id)
    document = restored_document(stored) if stored is not None and stored.absent else None
    return _Decision(member.participant.id, document, waiting)


def _deploy(member: Member, spec: Spec) -> _Decision:
    return _Decision(member.participant.id, _document_of(member, spec))


def _document_of(member: Member, spec: Spec) -> PlannedDocument:
    return PlannedDocument(
        resource_id=member.participant.id,
        site_id=member.participant.site_id,
        kind=ResourceKind.PARTICIPANT,
        absent=False,
        spec=spec,
        digest=digest_of(spec, absent=False),
    )


def _addresses_of(located: ExchangeTargets | Unresolved) -> tuple[tuple[str, int], ...]:
    """List the exchange's own addresses, which no party may claim."""
    if isinstance(located, Unresolved):
        return ()
    return tuple((target.ip, target.port) for target in (located.ats, located.nginx))
