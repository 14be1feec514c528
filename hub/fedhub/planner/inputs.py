"""Input and output of the planner, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fedcore.words import ParticipantKind, Phase
from fedhub.domain.federation import ExchangeIntent, FederationIntent, PartyIntent
from fedhub.domain.models import (
    Federation,
    Participant,
    PlannedDocument,
    StoredDocument,
    StoredStatus,
)
from fedhub.domain.release import Release, RoleRelease
from fedhub.planner.routes import Address, ExchangeTargets, Peer, Reason, Route, Unrouted, label_of

NOTHING: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Report:
    """What the planner reads of a participant's latest status, and nothing else.

    ``impact`` compares two of these: a field that the planner begins to read belongs here first.
    """

    participant_id: str
    addresses: Mapping[str, Address]
    resolutions: Mapping[str, str]
    phase: Phase
    observed_generation: int
    digest: str


def report_of(stored: StoredStatus) -> Report:
    """Return what the planner reads of a stored status; names that did not resolve are left out."""
    status = stored.status
    return Report(
        participant_id=stored.resource_id,
        addresses={
            address.role: Address(address.host or address.ip, address.ip, address.port)
            for address in status.addresses
        },
        resolutions={
            resolution.name: resolution.ip for resolution in status.resolutions if resolution.ip
        },
        phase=stored.phase,
        observed_generation=stored.observed_generation,
        digest=stored.digest,
    )


@dataclass(frozen=True, slots=True)
class Member:
    """A participant with its intent (None once it is being removed) and its latest report.

    ``release`` is its own: while an upgrade goes in waves, members of one federation differ.
    """

    participant: Participant
    intent: ExchangeIntent | PartyIntent | None
    site_name: str
    report: Report | None
    release: Release

    @property
    def role_release(self) -> RoleRelease:
        """Return the part of the release that describes this member's role."""
        return self.release.exchange if self.is_exchange else self.release.cluster

    @property
    def is_exchange(self) -> bool:
        """Return whether this is the exchange."""
        return self.participant.role is ParticipantKind.EXCHANGE

    @property
    def is_leaving(self) -> bool:
        """Return whether intent no longer has this participant."""
        return self.participant.removing or self.intent is None

    @property
    def label(self) -> str:
        """Return what people call it within its federation."""
        return label_of(self.participant.key)

    @property
    def resolutions(self) -> Mapping[str, str]:
        """Return the names that its site resolved."""
        return NOTHING if self.report is None else self.report.resolutions

    def peer(self) -> Peer:
        """Return this participant as routing sees it."""
        return Peer(
            participant_id=self.participant.id,
            key=self.participant.key,
            site_name=self.site_name,
            advertised=NOTHING if self.intent is None else advertised_of(self.intent),
            reported={} if self.report is None else self.report.addresses,
        )


def advertised_of(intent: ExchangeIntent | PartyIntent) -> Mapping[str, str]:
    """Return the advertised addresses by role."""
    if not intent.advertise.model_fields_set:
        return NOTHING
    return intent.advertise.model_dump(exclude_none=True)


@dataclass(frozen=True, slots=True)
class PlanInput:
    """Everything that documents follow from.

    ``charts``: digests of the archives that the hub serves. ``current``: stored documents by
    resource id. It must hold those of every participant that leaves or comes back; it may hold
    others.
    """

    federation: Federation
    intent: FederationIntent
    members: tuple[Member, ...]
    charts: frozenset[str] = frozenset()
    current: Mapping[str, StoredDocument] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a participant's document cannot be computed yet, or its removal not begun."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Routes:
    """Who can be reached where. ``exchange`` is None without one, or while it has no address."""

    domain: str
    exchange: ExchangeTargets | None
    parties: tuple[Route, ...]
    unrouted: tuple[Unrouted, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The outcome. A member without a planned document keeps the stored one, if it has any.

    With a scope, ``documents`` and ``waiting`` (by participant id) hold members in scope alone.
    """

    documents: tuple[PlannedDocument, ...]
    waiting: Mapping[str, Waiting]
    routes: Routes

    @property
    def unrouted(self) -> tuple[Unrouted, ...]:
        """Return the parties that no table mentions yet, and why.

        They have a document all the same: a party must be deployed before it has an address.
        """
        return self.routes.unrouted


@dataclass(frozen=True, slots=True)
class MemberGroups:
    """The members by their part. The exchange serves until it goes, also while it is leaving."""

    exchange: Member | None
    clusters: tuple[Member, ...]
    leaving: tuple[Member, ...]
    is_direct: bool
    """True: the federation has no exchange, parties route to each other."""

    @property
    def exchange_is_draining(self) -> bool:
        """Return whether the exchange is leaving but clusters still need it."""
        return self.exchange is not None and self.exchange.is_leaving


def group_members(plan_input: PlanInput) -> MemberGroups:
    """Sort the members into their parts; their order in ``plan_input`` does not matter."""
    clusters: list[Member] = []
    leaving: list[Member] = []
    exchange: Member | None = None
    for member in sorted(plan_input.members, key=_by_party):
        if member.participant.removing or member.intent is None:
            leaving.append(member)
        elif member.participant.role is ParticipantKind.EXCHANGE:
            exchange = member
        else:
            clusters.append(member)
    is_needed = bool(clusters) or any(
        remains(member, plan_input.current) for member in leaving if not member.is_exchange
    )
    if exchange is None and is_needed:
        exchange = next((member for member in leaving if member.is_exchange), None)
    return MemberGroups(
        exchange=exchange,
        clusters=tuple(clusters),
        leaving=tuple(member for member in leaving if member is not exchange),
        is_direct=exchange is None and plan_input.intent.exchange is None,
    )


def remains(member: Member, current: Mapping[str, StoredDocument]) -> bool:
    """Return whether anything of a leaving participant may still be at its site."""
    document = current.get(member.participant.id)
    if document is None:
        return False
    report = member.report
    is_gone = (
        document.absent
        and report is not None
        and report.phase is Phase.GONE
        # A Gone of an earlier removal says nothing of what was deployed again since.
        and report.observed_generation >= document.generation
    )
    return not is_gone


def _by_party(member: Member) -> tuple[int, str]:
    return member.participant.party_id, member.participant.id
