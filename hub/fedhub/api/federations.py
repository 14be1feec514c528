"""Serve /api/v1/federations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from fedhub.api.operations import OperationView
from fedhub.api.operations import view as operation_view
from fedhub.api.request import IF_MATCH, PageQuery, hub_of, revision_etag, wanted_revision
from fedhub.domain.access import Principal
from fedhub.domain.federation import FederationIntent
from fedhub.domain.models import Federation
from fedhub.services import federations, routes
from fedhub.services.changes import ApplyResult, ChangeKind
from fedhub.services.context import HubContext
from fedweb.problems import FieldErrorView
from fedweb.routes import Answer, Call, Query, Route


class FederationView(BaseModel):
    """A federation: its intent and how often it changed."""

    id: str
    name: str
    domain: str
    release: str
    revision: int
    removing: bool
    created_at: datetime
    updated_at: datetime
    party_count: int
    intent: dict[str, Any] = Field(description="What was applied, defaults filled in.")
    errors: list[FieldErrorView] = Field(
        description="What today's rules say against the stored intent; apply a corrected file."
    )
    unplannable: bool = Field(
        description="True: the errors keep it from being planned; it stays as it is."
    )


class FederationPage(BaseModel):
    """A page of federations."""

    items: list[FederationView]
    next_cursor: str | None


class DocumentDiffView(BaseModel):
    """What would change, or changed, at one site."""

    resource_id: str
    resource: str = Field(description="Participant or endpoint, as people call it.")
    site: str
    change: str = Field(description="created, changed, removed or taken back (from a removal).")
    lines: list[str] = Field(description="Unified diff of the readable document.")


class WaitingView(BaseModel):
    """A participant that has no document yet."""

    participant: str
    reason: str
    message: str


class UnroutedView(BaseModel):
    """A participant without a route, and why."""

    participant: str
    reason: str


class AppliedView(BaseModel):
    """The outcome of an apply, a delete, or their preview."""

    federation: FederationView
    created: bool
    dry_run: bool
    operation: OperationView | None = Field(
        description="Follow it; null when nothing changes or on a dry run."
    )
    changes: list[DocumentDiffView]
    waiting: list[WaitingView]
    unrouted: list[UnroutedView] = Field(
        description="Participants that no route table mentions until their addresses are known."
    )
    restored: list[str] = Field(
        description="Participants that were being removed and stay by this."
    )


class ApplyQuery(Query):
    """Options of an apply."""

    dry_run: bool = Field(default=False, description="Only say what would change.")


class DeleteQuery(ApplyQuery):
    """Options of a removal."""

    cascade: bool = Field(default=False, description="Remove every participant, too.")


class RouteView(BaseModel):
    """One entry of one route table."""

    participant: str
    site: str
    table: str
    config_map: str
    key: str
    host: str
    port: int
    generation: int
    deployed: bool = Field(description="True: the site's ConfigMap holds it.")
    probe: str = Field(description="Reachable, Unreachable, NotServed, PartyDown, or empty.")
    probe_message: str


class RoutesView(BaseModel):
    """Every route table of a federation."""

    federation: str
    routes: list[RouteView]
    unrouted: list[UnroutedView]


def view(hub: HubContext, federation: Federation) -> FederationView:
    """Build the public form of a federation."""
    parties = federation.intent.get("parties")
    stored = hub.intents.of(federation)
    return FederationView(
        id=federation.id,
        name=federation.name,
        domain=federation.domain,
        release=federation.release,
        revision=federation.revision,
        removing=federation.removing,
        created_at=federation.created_at,
        updated_at=federation.updated_at,
        party_count=len(parties) if isinstance(parties, list) else 0,
        intent=federation.intent,
        errors=[FieldErrorView(path=error.path, message=error.message) for error in stored.errors],
        unplannable=stored.is_unplannable,
    )


def _applied(hub: HubContext, result: ApplyResult, *, dry_run: bool) -> Answer:
    federation, plan, names = result.change.federation, result.replanned.plan, result.names
    operation = result.operation if not dry_run else None
    body = AppliedView(
        federation=view(hub, federation),
        created=result.change.kind is ChangeKind.CREATE,
        dry_run=dry_run,
        operation=operation_view(operation) if operation is not None else None,
        changes=[
            DocumentDiffView(
                resource_id=diff.resource_id,
                resource=names.get(diff.resource_id, diff.resource_id),
                site=names.get(diff.site_id, diff.site_id),
                change=diff.change,
                lines=list(diff.lines),
            )
            for diff in result.diffs
        ],
        waiting=[
            WaitingView(
                participant=names.get(participant_id, participant_id),
                reason=waiting.reason,
                message=waiting.message,
            )
            for participant_id, waiting in plan.waiting.items()
        ],
        unrouted=[
            UnroutedView(
                participant=names.get(unrouted.participant_id, unrouted.participant_id),
                reason=f"{unrouted.reason}: {unrouted.message}",
            )
            for unrouted in plan.unrouted
        ],
        restored=list(result.restored),
    )
    headers = {"ETag": revision_etag(federation.revision)}
    if operation is None:
        return Answer(body, 200, headers)
    return Answer(body, 202, {**headers, "Location": f"/api/v1/operations/{operation.id}"})


async def list_federations(call: Call[Principal]) -> Answer:
    """Answer a page of federations."""
    page = await federations.list_page(
        hub_of(call), call.principal, cursor=call.query.cursor, limit=call.query.limit
    )
    items = [view(hub_of(call), federation) for federation in page.items]
    return Answer(FederationPage(items=items, next_cursor=page.next_cursor))


async def create_federation(call: Call[Principal]) -> Answer:
    """Create a federation; it must be new."""
    result = await federations.apply(
        hub_of(call),
        call.principal,
        call.body,
        must_be_new=True,
        dry_run=call.query.dry_run,
    )
    return _applied(hub_of(call), result, dry_run=call.query.dry_run)


async def apply_federation(call: Call[Principal]) -> Answer:
    """Make a federation as the body says."""
    result = await federations.apply(
        hub_of(call),
        call.principal,
        call.body,
        name=call.path("name"),
        if_revision=wanted_revision(call),
        dry_run=call.query.dry_run,
    )
    return _applied(hub_of(call), result, dry_run=call.query.dry_run)


async def get_federation(call: Call[Principal]) -> Answer:
    """Answer one federation."""
    federation = await federations.get(hub_of(call), call.principal, call.path("name"))
    headers = {"ETag": revision_etag(federation.revision)}
    return Answer(view(hub_of(call), federation), headers=headers)


async def delete_federation(call: Call[Principal]) -> Answer:
    """Remove a federation."""
    result = await federations.remove(
        hub_of(call),
        call.principal,
        call.path("name"),
        cascade=call.query.cascade,
        dry_run=call.query.dry_run,
    )
    return _applied(hub_of(call), result, dry_run=call.query.dry_run)


async def get_routes(call: Call[Principal]) -> Answer:
    """Answer the route tables of a federation."""
    routed = await routes.view(hub_of(call), call.principal, call.path("name"))
    return Answer(
        RoutesView(
            federation=routed.federation.name,
            routes=[RouteView.model_validate(row, from_attributes=True) for row in routed.rows],
            unrouted=[
                UnroutedView(participant=name, reason=reason)
                for name, reason in routed.unrouted.items()
            ],
        )
    )


_BASE = "/api/v1/federations"
ROUTES = (
    Route(
        "GET",
        _BASE,
        list_federations,
        "List federations.",
        "federations",
        FederationPage,
        query=PageQuery,
    ),
    Route(
        "POST",
        _BASE,
        create_federation,
        "Create a federation.",
        "federations",
        AppliedView,
        status=202,
        also=(200,),
        query=ApplyQuery,
        body=FederationIntent,
        parse_body=False,
    ),
    Route(
        "GET",
        _BASE + "/{name}",
        get_federation,
        "Get a federation.",
        "federations",
        FederationView,
    ),
    Route(
        "PUT",
        _BASE + "/{name}",
        apply_federation,
        "Create a federation or change it to what the body says.",
        "federations",
        AppliedView,
        status=202,
        also=(200,),
        headers=(IF_MATCH,),
        query=ApplyQuery,
        body=FederationIntent,
        parse_body=False,
    ),
    Route(
        "DELETE",
        _BASE + "/{name}",
        delete_federation,
        "Remove a federation and, with cascade, its participants.",
        "federations",
        AppliedView,
        status=202,
        also=(200,),
        query=DeleteQuery,
    ),
    Route(
        "GET",
        _BASE + "/{name}/routes",
        get_routes,
        "Get the route tables: computed, deployed and probed.",
        "federations",
        RoutesView,
    ),
)
