"""Bring the participants of a federation in line with its intent."""

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
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.services.planning import intent_of
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
        """Say it for people: +10000 9999 (taken back) ~exchange -9998."""
        words = [
            *(f"+{row.key}" for row in self.added),
            *(f"{row.key} (taken back)" for row in self.restored),
            *(f"~{row.key}" for row in self.changed),
            *(f"-{row.key}" for row in self.removed),
        ]
        return " ".join(words) or "no participant changes"


class NamespaceInUse(Invalid):
    """The input names a place that another participant holds: a conflict, with the field."""

    code = ErrorCode.CONFLICT


@dataclass(frozen=True, slots=True)
class _Wanted:
    path: str
    key: str
    site: str
    namespace: str
    role: ParticipantKind
    party_id: int
    intent: ExchangeIntent | PartyIntent


def _wanted(intent: FederationIntent) -> Iterator[_Wanted]:
    if intent.exchange is not None:
        yield _Wanted(
            path="exchange.namespace",
            key=EXCHANGE_KEY,
            site=intent.exchange.site,
            namespace=intent.exchange.namespace,
            role=ParticipantKind.EXCHANGE,
            party_id=EXCHANGE_PARTY_ID,
            intent=intent.exchange,
        )
    for index, party in enumerate(intent.parties):
        yield _Wanted(
            path=f"parties.{index}.namespace",
            key=str(party.id),
            site=party.site,
            namespace=party.effective_namespace,
            role=ParticipantKind.CLUSTER,
            party_id=party.id,
            intent=party,
        )


async def sync_members(
    hub: HubContext,
    db: AsyncSession,
    federation: Federation,
    old: Federation | None,
    intent: FederationIntent,
) -> Membership:
    """Add, mark, take back and drop participants so that they are those of ``intent``.

    A participant that moves to another site or namespace is a new one; the old one is removed.
    One that is being removed and is wanted again at its place is taken back. One that never had a
    document leaves nothing at a site and is dropped at once. Raises Taken when a namespace at a
    site is still another's.
    """
    rows = await participants.of_federation(db, federation.id)
    site_ids = {site.name: site.id for site in await sites.all(db)}
    present = {_place(row): row for row in rows if not row.removing}
    leaving = {_place(row): row for row in rows if row.removing}
    wanted = {(w.key, site_ids[w.site], w.namespace): w for w in _wanted(intent)}
    before = {w.key: w.intent for w in _wanted(intent_of(old))} if old is not None else {}
    restored = [
        await participants.update(db, row.id, removing=False)
        for place, row in leaving.items()
        if place in wanted
    ]
    added = [
        await _add(hub, db, federation, site_ids[w.site], w)
        for place, w in wanted.items()
        if place not in present and place not in leaving
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
    going = [row for place, row in leaving.items() if place not in wanted] + removed
    remaining = [row for row in going if not await _drop_if_nowhere(hub, db, row)]
    _refuse_bare_parties(intent, restored, remaining)
    return Membership(
        added=tuple(added),
        restored=tuple(restored),
        changed=tuple(changed),
        removed=tuple(removed),
        remaining=tuple(remaining),
    )


def _refuse_bare_parties(
    intent: FederationIntent, restored: Sequence[Participant], remaining: Sequence[Participant]
) -> None:
    """Raise where parties come back without the exchange that their tables lead to."""
    leads = any(row.role is ParticipantKind.CLUSTER for row in restored)
    if leads and intent.exchange is None and any(row.key == EXCHANGE_KEY for row in remaining):
        message = "is being removed, and parties that are taken back use it; write it again"
        raise NamespaceInUse(f"exchange: {message}", errors=(FieldError("exchange", message),))


def _place(row: Participant) -> tuple[str, str, str]:
    return row.key, row.site_id, row.namespace


async def _add(
    hub: HubContext, db: AsyncSession, federation: Federation, site_id: str, wanted: _Wanted
) -> Participant:
    for other in await participants.of_site(db, site_id):
        if other.namespace == wanted.namespace:
            raise _taken(other, wanted)
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


def _taken(other: Participant, wanted: _Wanted) -> NamespaceInUse:
    if other.removing:
        state, cure = "is being removed from", "wait until it is gone, or set another `namespace`"
    else:
        state, cure = "runs in", "a namespace holds one participant: set another `namespace`"
    message = f"{other.name} {state} namespace {other.namespace} at site {wanted.site}; {cure}"
    return NamespaceInUse(f"{wanted.path}: {message}", errors=(FieldError(wanted.path, message),))


async def _drop_if_nowhere(hub: HubContext, db: AsyncSession, row: Participant) -> bool:
    if await documents.get(db, row.id) is not None:
        return False
    await participant_service.forget(hub, db, row)
    return True


async def drop_if_empty(hub: HubContext, db: AsyncSession, federation_id: str) -> bool:
    """Forget a federation that is being removed once its last participant is gone."""
    federation = await federations.get(db, federation_id)
    if not federation.removing or await participants.of_federation(db, federation_id):
        return False
    await federations.delete(db, federation_id)
    given_up = await events.facts_of(db, federation_id, kind="participant.force_removed")
    left = ", ".join(f"namespace {one['namespace']} at {one['site']}" for one in given_up)
    await record(
        hub,
        db,
        "federation.gone",
        f"federation {federation.name} is gone; "
        + (f"given up, and maybe left: {left}" if left else "nothing of it is left at any site"),
        severity="warning" if left else "info",
        federation_id=federation_id,
    )
    return True
