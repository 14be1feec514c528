"""Bring the participants of a federation in line with its intent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.federation import (
    EXCHANGE_KEY,
    EXCHANGE_PARTY_ID,
    ExchangeIntent,
    FederationIntent,
    PartyIntent,
)
from fedhub.domain.records import Federation, Participant, ParticipantRole
from fedhub.services import operations as operation_service
from fedhub.services.hub import Hub, record
from fedhub.services.planning import intent_of
from fedhub.store import documents, federations, participants, sites
from fedproto.errors import Conflict
from fedproto.ids import new_id


@dataclass(frozen=True, slots=True)
class Membership:
    """What an apply did to the participants.

    ``touched`` are ids whose own intent changed; ``remaining`` are those being removed that have
    something at a site.
    """

    added: tuple[Participant, ...]
    changed: tuple[Participant, ...]
    removed: tuple[Participant, ...]
    remaining: tuple[Participant, ...]

    @property
    def touched(self) -> frozenset[str]:
        """Ids of participants whose own intent changed."""
        return frozenset(row.id for row in (*self.added, *self.changed, *self.removed))

    def summary(self) -> str:
        """Say it for people: +10000 ~exchange -9999."""
        words = [
            *(f"+{row.key}" for row in self.added),
            *(f"~{row.key}" for row in self.changed),
            *(f"-{row.key}" for row in self.removed),
        ]
        return " ".join(words) or "no participant changes"


@dataclass(frozen=True, slots=True)
class _Wanted:
    key: str
    site: str
    namespace: str
    role: ParticipantRole
    party_id: int
    intent: ExchangeIntent | PartyIntent


def _wanted(intent: FederationIntent) -> Iterator[_Wanted]:
    if intent.exchange is not None:
        yield _Wanted(
            key=EXCHANGE_KEY,
            site=intent.exchange.site,
            namespace=intent.exchange.namespace,
            role=ParticipantRole.EXCHANGE,
            party_id=EXCHANGE_PARTY_ID,
            intent=intent.exchange,
        )
    for party in intent.parties:
        yield _Wanted(
            key=str(party.id),
            site=party.site,
            namespace=party.effective_namespace,
            role=ParticipantRole.CLUSTER,
            party_id=party.id,
            intent=party,
        )


async def sync_members(
    hub: Hub,
    db: AsyncSession,
    federation: Federation,
    old: Federation | None,
    intent: FederationIntent,
) -> Membership:
    """Add, mark and drop participants so that they are those of ``intent``.

    A participant that moves to another site or namespace is a new one; the old one is removed.
    One that never had a document leaves nothing at a site and is dropped at once. Raises Conflict
    when a namespace at a site is still taken.
    """
    rows = await participants.of_federation(db, federation.id)
    site_ids = {site.name: site.id for site in await sites.all(db)}
    present = {(row.key, row.site_id, row.namespace): row for row in rows if not row.removing}
    wanted = {(w.key, site_ids[w.site], w.namespace): w for w in _wanted(intent)}
    before = {w.key: w.intent for w in _wanted(intent_of(old))} if old is not None else {}
    added = [
        await _add(hub, db, federation, site_ids[w.site], w)
        for place, w in wanted.items()
        if place not in present
    ]
    changed = [
        row
        for place, row in present.items()
        if place in wanted and before.get(row.key) != wanted[place].intent
    ]
    removed = [
        await participants.update(db, row.id, removing=True)
        for place, row in present.items()
        if place not in wanted
    ]
    going = [row for row in rows if row.removing] + removed
    remaining = [row for row in going if not await _drop_if_nowhere(hub, db, row)]
    return Membership(tuple(added), tuple(changed), tuple(removed), tuple(remaining))


async def _add(
    hub: Hub, db: AsyncSession, federation: Federation, site_id: str, wanted: _Wanted
) -> Participant:
    for other in await participants.of_site(db, site_id):
        if other.namespace == wanted.namespace:
            state = "is being removed from" if other.removing else "runs in"
            raise Conflict(
                f"{other.name} {state} namespace {other.namespace} at site {wanted.site}: "
                "wait until it is gone, or choose another namespace"
            )
    row = Participant(
        id=new_id(),
        federation_id=federation.id,
        site_id=site_id,
        key=wanted.key,
        role=wanted.role,
        party_id=wanted.party_id,
        name=f"{federation.name}/{wanted.key}",
        namespace=wanted.namespace,
        created_at=hub.clock.now(),
    )
    await participants.add(db, row)
    return row


async def _drop_if_nowhere(hub: Hub, db: AsyncSession, row: Participant) -> bool:
    if await documents.get(db, row.id) is not None:
        return False
    await operation_service.drop_target(hub, db, row.id)
    await participants.delete(db, row.id)
    return True


async def drop_if_empty(hub: Hub, db: AsyncSession, federation_id: str) -> bool:
    """Forget a federation that is being removed once its last participant is gone."""
    federation = await federations.get(db, federation_id)
    if not federation.removing or await participants.of_federation(db, federation_id):
        return False
    await federations.delete(db, federation_id)
    await record(
        hub,
        db,
        "federation.gone",
        f"federation {federation.name} is gone; nothing of it is left at any site",
        federation_id=federation_id,
    )
    return True
