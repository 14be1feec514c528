"""What the planner is given and what it gives back, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fedhub.domain.federation import ExchangeIntent, FederationIntent, PartyIntent
from fedhub.domain.models import (
    Federation,
    Participant,
    ParticipantRole,
    PlannedDocument,
    StoredDocument,
    StoredStatus,
)
from fedhub.domain.phases import Phase
from fedhub.domain.release import Release
from fedhub.planner.routes import Address, ExchangeTargets, Peer, Reason, Route, Unrouted, label_of

NOTHING: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Report:
    """What planning needs of a participant's latest status."""

    participant_id: str
    addresses: Mapping[str, Address]
    resolutions: Mapping[str, str]
    phase: Phase
    observed_generation: int
    digest: str


def report_of(stored: StoredStatus) -> Report:
    """Take from a stored status what planning needs. Names that did not resolve are left out."""
    status = stored.status
    return Report(
        participant_id=stored.resource_id,
        addresses={
            each.role: Address(each.host or each.ip, each.ip, each.port)
            for each in status.addresses
        },
        resolutions={each.name: each.ip for each in status.resolutions if each.ip},
        phase=stored.phase,
        observed_generation=stored.observed_generation,
        digest=stored.digest,
    )


@dataclass(frozen=True, slots=True)
class Member:
    """A participant with its intent (None once it is being removed) and its latest report."""

    participant: Participant
    intent: ExchangeIntent | PartyIntent | None
    site_name: str
    report: Report | None

    @property
    def is_exchange(self) -> bool:
        """Tell whether this is the exchange."""
        return self.participant.role is ParticipantRole.EXCHANGE

    @property
    def is_leaving(self) -> bool:
        """Tell whether intent no longer has this participant."""
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
    resource id; needed of every participant that leaves or comes back, others may be there.
    """

    federation: Federation
    intent: FederationIntent
    release: Release
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
    """What the planner decided, for people. ``exchange`` is None without one or while it waits."""

    domain: str
    exchange: ExchangeTargets | None
    parties: tuple[Route, ...]
    unrouted: tuple[Unrouted, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The outcome. A member without a planned document keeps the stored one, if it has any.

    ``unrouted`` names the parties that no table mentions yet; they have a document all the same (a
    party must be deployed before it has an address). With a scope, ``documents`` and ``waiting``
    speak of the members in scope alone.
    """

    documents: tuple[PlannedDocument, ...]
    waiting: Mapping[str, Waiting]
    routes: Routes
    unrouted: tuple[Unrouted, ...]


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
        """Tell whether the exchange is leaving but clusters still need it."""
        return self.exchange is not None and self.exchange.is_leaving


def group_members(given: PlanInput) -> MemberGroups:
    """Sort the members into their parts; their order in ``given`` does not matter."""
    staying: list[Member] = []
    leaving: list[Member] = []
    exchange: Member | None = None
    for each in sorted(given.members, key=_by_party):
        if each.participant.removing or each.intent is None:
            leaving.append(each)
        elif each.participant.role is ParticipantRole.EXCHANGE:
            exchange = each
        else:
            staying.append(each)
    clusters = tuple(staying)
    is_needed = bool(clusters) or any(
        remains(each, given.current) for each in leaving if not each.is_exchange
    )
    if exchange is None and is_needed:
        exchange = next((each for each in leaving if each.is_exchange), None)
    return MemberGroups(
        exchange=exchange,
        clusters=clusters,
        leaving=tuple(each for each in leaving if each is not exchange),
        is_direct=exchange is None and given.intent.exchange is None,
    )


def remains(member: Member, current: Mapping[str, StoredDocument]) -> bool:
    """Tell whether anything of a leaving participant may still be at its site."""
    document = current.get(member.participant.id)
    if document is None:
        return False
    report = member.report
    is_gone = (
        document.absent
        and report is not None
        and report.phase is Phase.GONE
        and report.observed_generation >= document.generation
    )
    return not is_gone


def _by_party(member: Member) -> tuple[int, str]:
    return member.participant.party_id, member.participant.id
