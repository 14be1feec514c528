"""Recompute desired documents: the only writer of them.

Whoever changes intent or receives a report calls ``replan`` in its own transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.ids import new_id
from fedhub.domain.federation import EXCHANGE_KEY, ExchangeIntent, FederationIntent, PartyIntent
from fedhub.domain.models import (
    Endpoint,
    Federation,
    Participant,
    PlannedDocument,
    StoredDocument,
)
from fedhub.planner.endpoint import endpoint_document
from fedhub.planner.plan import Member, Plan, PlanInput, plan, report_of
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.services.intents import Unplannable, read_intent
from fedhub.store import charts, documents, endpoints, participants, sites, statuses


@dataclass(frozen=True, slots=True)
class Replanned:
    """What a replanning did: stored documents whose generation rose, and the plan itself."""

    plan: Plan
    before: Mapping[str, StoredDocument]
    planned: tuple[PlannedDocument, ...]
    changed: tuple[StoredDocument, ...]

    def site_ids(self) -> frozenset[str]:
        """Sites that must be told."""
        return frozenset(document.site_id for document in self.changed)


def intent_of(federation: Federation) -> FederationIntent:
    """Read a stored intent, to compare with: its values may be refused by today's rules."""
    return read_intent(federation.intent).intent


def _member_intent(
    intent: FederationIntent, parties: Mapping[str, PartyIntent], participant: Participant
) -> ExchangeIntent | PartyIntent | None:
    """Find the part of the intent that describes ``participant``; None when it is to go."""
    if participant.removing:
        return None
    if participant.key == EXCHANGE_KEY:
        return intent.exchange
    return parties.get(participant.key)


async def load_plan_input(
    hub: HubContext, db: AsyncSession, federation: Federation, *, with_documents: bool = True
) -> PlanInput:
    """Read everything that the planner looks at for one federation.

    Of the stored documents it needs those of leaving participants; the others, large as they are,
    come only ``with_documents``. Raises Held where the stored intent cannot be planned; of one
    that is being removed no member's intent counts.
    """
    stored = hub.intents.of(federation)
    if stored.is_unplannable and not federation.removing:
        raise Unplannable(stored.unplannable_reason(federation.name), errors=stored.errors)
    intent = stored.intent
    rows = await participants.of_federation(db, federation.id)
    reported = await statuses.of_resources(db, [row.id for row in rows])
    names = await sites.names(db)
    parties = {str(party.id): party for party in intent.parties}
    release = hub.catalogue.get(intent.release, intent.engine)
    members = tuple(
        Member(
            participant=row,
            intent=_member_intent(intent, parties, row),
            site_name=names[row.site_id],
            report=report_of(reported[row.id]) if row.id in reported else None,
            release=release,
        )
        for row in rows
    )
    wanted = [member.participant.id for member in members if with_documents or member.is_leaving]
    return PlanInput(
        federation=federation,
        intent=intent,
        members=members,
        charts=await charts.digests(db),
        current=await documents.of_resources(db, wanted),
    )


async def try_load_plan_input(
    hub: HubContext, db: AsyncSession, federation: Federation, *, with_documents: bool = True
) -> PlanInput | None:
    """Gather; None for a federation that is held, which is told, not again within ten minutes."""
    try:
        return await load_plan_input(hub, db, federation, with_documents=with_documents)
    except Unplannable as held:
        if hub.fleet.is_news("held", federation.id):
            await record(
                hub,
                db,
                "federation.unplannable",
                held.message,
                severity="error",
                federation_id=federation.id,
            )
        return None


async def replan(
    hub: HubContext, db: AsyncSession, given: PlanInput, *, scope: frozenset[str] | None = None
) -> Replanned:
    """Compute and store the documents of ``scope`` (participant ids).

    None: all of them, and the endpoints of their sites. Endpoints follow from intent alone, so a
    report, which has a scope, never touches them.
    """
    computed = plan(given, scope=scope)
    planned = [*computed.documents]
    if scope is None:
        planned = [*await _endpoint_documents(hub, db, given), *planned]
    before = dict(given.current)
    unread = [d.resource_id for d in planned if d.resource_id not in before]
    before |= await documents.of_resources(db, unread)
    stored = await documents.put_all(db, planned, hub.clock.now())
    changed = tuple(
        one
        for one in stored.values()
        if (known := before.get(one.resource_id)) is None or one.generation != known.generation
    )
    await _note_waiting(db, given, computed, scope)
    return Replanned(plan=computed, before=before, planned=tuple(planned), changed=changed)


async def _endpoint_documents(
    hub: HubContext, db: AsyncSession, given: PlanInput
) -> list[PlannedDocument]:
    """Give every site that takes part a KubeFATE endpoint, and plan it."""
    wanted = {
        member.participant.site_id: member for member in given.members if member.intent is not None
    }
    known = {endpoint.site_id: endpoint for endpoint in await endpoints.all(db)}
    planned = []
    for site_id, member in sorted(wanted.items()):
        endpoint = known.get(site_id)
        if endpoint is None:
            endpoint = Endpoint(
                id=new_id(),
                site_id=site_id,
                name=member.site_name,
                mode="auto",
                created_at=hub.clock.now(),
            )
            await endpoints.add(db, endpoint)
        elif endpoint.removing:
            # It was to go, and is needed again.
            endpoint = await endpoints.update(db, endpoint.id, removing=False)
        planned.append(endpoint_document(endpoint, member.release.minimum_kubefate))
    return planned


async def _note_waiting(
    db: AsyncSession, given: PlanInput, computed: Plan, scope: frozenset[str] | None
) -> None:
    for member in given.members:
        row = member.participant
        if scope is not None and row.id not in scope:
            continue
        waiting = computed.waiting.get(row.id)
        reason = waiting.reason if waiting is not None else None
        message = waiting.message if waiting is not None else None
        if (row.waiting_reason, row.waiting_message) != (reason, message):
            await participants.update(db, row.id, waiting_reason=reason, waiting_message=message)
