"""The participants of a federation, brought in line with its intent.

A participant is its place: key (exchange or party id), site and namespace. One that moves is a new
participant at the new place, and the old one is removed: what runs at a site cannot be moved.

| place stored as  | in the new intent | what is done                                             |
|------------------|-------------------|----------------------------------------------------------|
| not at all       | yes               | added, if its namespace is free at that site             |
| staying          | yes               | kept; *changed* if its own part of the intent differs    |
| removing         | yes               | restored: its removal ends, what still runs stays        |
| staying          | no                | removed: marked as removing                              |
| removing         | no                | goes on going                                            |

What goes and never had a document leaves nothing at any site, so it is forgotten at once. The
others *remain* until their agents report Gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import ErrorCode, FieldError, Invalid
from fedcore.ids import new_id
from fedcore.words import ParticipantKind
from fedhub.domain.federation import (
    EXCHANGE_KEY,
    EXCHANGE_PARTY_ID,
    ExchangeIntent,
    FederationIntent,
    PartyIntent,
)
from fedhub.domain.models import Federation, Participant
from fedhub.services import participants as participant_service
from fedhub.services.changes import Change
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.store import documents, events, federations, participants, sites


@dataclass(frozen=True, slots=True)
class Membership:
    """What an apply did to the participants.

    ``touched`` are ids whose own intent changed; ``restored`` were being removed and shall stay;
    ``remaining`` are those being removed that have something at a site.
    """

    added: tuple[Participant, ...]
    restored: tuple[Participant, ...]
    changed: tuple[Participant, ...]
    removed: tuple[Participant, ...]
    remaining: tuple[Participant, ...]

    @property
    def touched(self) -> frozenset[str]:
        """Ids of participants whose own intent changed."""
        touched = (*self.added, *self.restored, *self.changed, *self.removed)
        return frozenset(row.id for row in touched)

    def summary(self) -> str:
        """Return it for people: +10000 9999 (taken back) ~exchange -9998."""
        words = [
            *(f"+{row.key}" for row in self.added),
            *(f"{row.key} (taken back)" for row in self.restored),
            *(f"~{row.key}" for row in self.changed),
            *(f"-{row.key}" for row in self.removed),
        ]
        return " ".join(words) or "no participant changes"


class NamespaceInUse(Invalid):
    """The input names a namespace that another participant holds: a conflict, with the field."""

    code = ErrorCode.CONFLICT


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a participant is: another place is another participant."""

    key: str
    site_id: str
    namespace: str


@dataclass(frozen=True, slots=True)
class _IntendedMember:
    """A participant as an intent has it; ``path`` leads to its namespace."""

    path: str
    key: str
    site: str
    namespace: str
    role: ParticipantKind
    party_id: int
    intent: ExchangeIntent | PartyIntent


def _members_of(intent: FederationIntent) -> Iterator[_IntendedMember]:
    if intent.exchange is not None:
        yield _IntendedMember(
            path="exchange.namespace",
            key=EXCHANGE_KEY,
            site=intent.exchange.site,
            namespace=intent.exchange.namespace,
            role=ParticipantKind.EXCHANGE,
            party_id=EXCHANGE_PARTY_ID,
            intent=intent.exchange,
        )
    for index, party in enumerate(intent.parties):
        yield _IntendedMember(
            path=f"parties.{index}.namespace",
            key=str(party.id),
            site=party.site,
            namespace=party.effective_namespace,
            role=ParticipantKind.CLUSTER,
            party_id=party.id,
            intent=party,
        )


async def sync_members(hub: HubContext, db: AsyncSession, change: Change) -> Membership:
    """Carry a change of intent over to the participants, by the table above.

    Raises NamespaceInUse when a namespace at a site is still another participant's.
    """
    site_ids = {name: site_id for site_id, name in (await sites.names(db)).items()}
    intended = {
        _Place(member.key, site_ids[member.site], member.namespace): member
        for member in _members_of(change.intent)
    }
    stored = {
        _Place(row.key, row.site_id, row.namespace): row
        for row in await participants.of_federation(db, change.federation.id)
    }
    old_intents = (
        {member.key: member.intent for member in _members_of(change.old_intent)}
        if change.old_intent is not None
        else {}
    )
    restored, added, changed = [], [], []
    for place, member in intended.items():
        row = stored.get(place)
        if row is None:
            added.append(await _add(hub, db, change.federation, place.site_id, member))
        elif row.removing:
            restored.append(await participants.update(db, row.id, removing=False))
        elif old_intents.get(row.key) != member.intent:
            changed.append(row)
    leaving = [row for place, row in stored.items() if place not in intended]
    removed = [
        await participants.update(db, row.id, removing=True) for row in leaving if not row.removing
    ]
    going = [row for row in leaving if row.removing] + removed
    remaining = await _drop_undeployed(hub, db, going)
    _refuse_bare_parties(change.intent, restored, remaining)
    return Membership(
        added=tuple(added),
        restored=tuple(restored),
        changed=tuple(changed),
        removed=tuple(removed),
        remaining=remaining,
    )


def _refuse_bare_parties(
    intent: FederationIntent, restored: Sequence[Participant], remaining: Sequence[Participant]
) -> None:
    """Raise where parties come back without the exchange that their tables lead to."""
    has_party = any(row.role is ParticipantKind.CLUSTER for row in restored)
    has_leaving_exchange = any(row.key == EXCHANGE_KEY for row in remaining)
    if has_party and intent.exchange is None and has_leaving_exchange:
        message = "is being removed, and parties that are taken back use it; write it again"
        raise NamespaceInUse(f"exchange: {message}", errors=(FieldError("exchange", message),))


async def _add(
    hub: HubContext,
    db: AsyncSession,
    federation: Federation,
    site_id: str,
    member: _IntendedMember,
) -> Participant:
    # Of all federations: the namespace may be another one's, or this one's that moved.
    for other in await participants.of_site(db, site_id):
        if other.namespace == member.namespace:
            raise _namespace_in_use(other, member)
    row = Participant(
        id=new_id(),
        federation_id=federation.id,
        site_id=site_id,
        key=member.key,
        role=member.role,
        party_id=member.party_id,
        name=f"{federation.name}/{member.key}",
        namespace=member.namespace,
        created_at=hub.clock.now(),
    )
    await participants.add(db, row)
    return row


def _namespace_in_use(other: Participant, member: _IntendedMember) -> NamespaceInUse:
    if other.removing:
        state, cure = "is being removed from", "wait until it is gone, or set another `namespace`"
    else:
        state, cure = "runs in", "a namespace holds one participant: set another `namespace`"
    message = f"{other.name} {state} namespace {other.namespace} at site {member.site}; {cure}"
    return NamespaceInUse(f"{member.path}: {message}", errors=(FieldError(member.path, message),))


async def _drop_undeployed(
    hub: HubContext, db: AsyncSession, going: Sequence[Participant]
) -> tuple[Participant, ...]:
    """Forget those of ``going`` that nobody was ever asked to deploy; return the others."""
    with_document = await documents.existing(db, [row.id for row in going])
    for row in going:
        if row.id not in with_document:
            await participant_service.forget(hub, db, row)
    return tuple(row for row in going if row.id in with_document)


async def drop_if_empty(hub: HubContext, db: AsyncSession, federation_id: str) -> bool:
    """Forget a federation that is being removed once its last participant is gone."""
    federation = await federations.get(db, federation_id)
    if not federation.removing or await participants.of_federation(db, federation_id):
        return False
    await federations.delete(db, federation_id)
    force_removed = await events.facts_of(db, federation_id, kind="participant.force_removed")
    leftovers = ", ".join(
        f"namespace {facts['namespace']} at {facts['site']}" for facts in force_removed
    )
    await record(
        hub,
        db,
        "federation.gone",
        f"federation {federation.name} is gone; "
        + (
            f"given up, and maybe left: {leftovers}"
            if leftovers
            else "nothing of it is left at any site"
        ),
        severity="warning" if leftovers else "info",
        federation_id=federation_id,
    )
    return True
