"""Recompute desired documents: the only writer of them.

Whoever changes intent or receives a report calls ``replan`` in its own transaction. Only an
endpoint's removal is asked for apart (``ask_endpoint_removal``): no federation is planned for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import NotFound
from fedcore.ids import new_id
from fedcore.words import EndpointMode
from fedhub.domain.federation import EXCHANGE_KEY, ExchangeIntent, FederationIntent, PartyIntent
from fedhub.domain.models import (
    Endpoint,
    Federation,
    Participant,
    PlannedDocument,
    StoredDocument,
)
from fedhub.planner.documents import removal_document
from fedhub.planner.endpoint import endpoint_document
from fedhub.planner.plan import Member, Plan, PlanInput, Scope, plan, report_of
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.services.intents import Unplannable
from fedhub.store import charts, documents, endpoints, participants, sites, statuses


@dataclass(frozen=True, slots=True)
class Replanned:
    """What a replanning did: stored documents whose generation rose, and the plan itself."""

    plan: Plan
    before: Mapping[str, StoredDocument]
    planned: tuple[PlannedDocument, ...]
    changed: tuple[StoredDocument, ...]

    def site_ids(self) -> frozenset[str]:
        """Return the sites whose documents changed."""
        return frozenset(document.site_id for document in self.changed)


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
    hub: HubContext,
    db: AsyncSession,
    federation: Federation,
    *,
    intent: FederationIntent | None = None,
    with_documents: bool = True,
) -> PlanInput:
    """Read everything that the planner looks at for one federation.

    ``intent``: the federation's, where the caller has it parsed. Of the stored documents the
    planner needs those of leaving participants; the others, large as they are, come only
    ``with_documents``. Raises Unplannable where the stored intent cannot be planned.
    """
    intent = intent if intent is not None else _plannable_intent(hub, federation)
    rows = await participants.of_federation(db, federation.id)
    reported = await statuses.of_resources(db, [row.id for row in rows])
    site_names = await sites.names(db)
    parties = {str(party.id): party for party in intent.parties}
    release = hub.catalogue.get(intent.release, intent.engine)
    members = tuple(
        Member(
            participant=row,
            intent=_member_intent(intent, parties, row),
            site_name=site_names[row.site_id],
            report=report_of(reported[row.id]) if row.id in reported else None,
            release=release,
        )
        for row in rows
    )
    needed = [member.participant.id for member in members if with_documents or member.is_leaving]
    return PlanInput(
        federation=federation,
        intent=intent,
        members=members,
        charts=await charts.digests(db),
        current=await documents.of_resources(db, needed),
    )


def _plannable_intent(hub: HubContext, federation: Federation) -> FederationIntent:
    stored = hub.intents.of(federation)
    # Of a federation that is being removed no member's intent counts, good or bad.
    if stored.is_unplannable and not federation.removing:
        raise Unplannable(stored.unplannable_reason(federation.name), errors=stored.errors)
    return stored.intent


async def try_load_plan_input(
    hub: HubContext, db: AsyncSession, federation: Federation, *, with_documents: bool = True
) -> PlanInput | None:
    """Load the plan's input; None for an unplannable federation, after an event says so.

    The event is not repeated within ten minutes: reports come by the second.
    """
    try:
        return await load_plan_input(hub, db, federation, with_documents=with_documents)
    except Unplannable as unplannable:
        if hub.alerts.allow("unplannable", federation.id):
            await record(
                hub,
                db,
                "federation.unplannable",
                unplannable.message,
                severity="error",
                federation_id=federation.id,
            )
        return None


async def replan(
    hub: HubContext, db: AsyncSession, plan_input: PlanInput, *, scope: Scope = None
) -> Replanned:
    """Compute and store the documents of ``scope`` (participant ids).

    None: all of them, and the endpoints of their sites. Endpoints follow from intent alone, so a
    report, which has a scope, never touches them.
    """
    started = hub.clock.monotonic()
    computed = plan(plan_input, scope=scope)
    planned = [*computed.documents]
    if scope is None:
        planned = [*await _endpoint_documents(hub, db, plan_input), *planned]
    before = dict(plan_input.current)
    unread = [d.resource_id for d in planned if d.resource_id not in before]
    before |= await documents.of_resources(db, unread)
    stored = await documents.put_all(db, planned, before, hub.clock.now())
    changed = tuple(
        document
        for document in stored.values()
        if (old := before.get(document.resource_id)) is None
        or document.generation != old.generation
    )
    await _note_waiting(db, plan_input, computed, scope)
    hub.instruments.replans.observe(hub.clock.monotonic() - started)
    return Replanned(plan=computed, before=before, planned=tuple(planned), changed=changed)


async def ask_endpoint_removal(hub: HubContext, db: AsyncSession, endpoint: Endpoint) -> None:
    """Ask a site to remove its KubeFATE: what was sent last, now absent."""
    stored = await documents.get(db, endpoint.id)
    if stored is None:
        raise NotFound(f"endpoint {endpoint.name} has no document")
    await documents.put(db, removal_document(stored), hub.clock.now())


async def _endpoint_documents(
    hub: HubContext, db: AsyncSession, plan_input: PlanInput
) -> list[PlannedDocument]:
    """Give every site that takes part a KubeFATE endpoint, and plan it."""
    needed = {
        member.participant.site_id: member
        for member in plan_input.members
        if member.intent is not None
    }
    by_site = {endpoint.site_id: endpoint for endpoint in await endpoints.all(db)}
    planned = []
    for site_id, member in sorted(needed.items()):
        endpoint = by_site.get(site_id)
        if endpoint is None:
            endpoint = Endpoint(
                id=new_id(),
                site_id=site_id,
                name=member.site_name,
                mode=EndpointMode.AUTO.value,
                created_at=hub.clock.now(),
            )
            await endpoints.add(db, endpoint)
        elif endpoint.removing:
            # It was to go, and is needed again.
            endpoint = await endpoints.update(db, endpoint.id, removing=False)
        planned.append(endpoint_document(endpoint, member.release.minimum_kubefate))
    return planned


async def _note_waiting(
    db: AsyncSession, plan_input: PlanInput, computed: Plan, scope: Scope
) -> None:
    """Store why participants wait, for lists; of those in scope, and only what differs."""
    for member in plan_input.members:
        row = member.participant
        if scope is not None and row.id not in scope:
            continue
        waiting = computed.waiting.get(row.id)
        reason = waiting.reason if waiting is not None else None
        message = waiting.message if waiting is not None else None
        if (row.waiting_reason, row.waiting_message) != (reason, message):
            await participants.update(db, row.id, waiting_reason=reason, waiting_message=message)
