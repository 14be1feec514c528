"""Serve /api/v1/operations."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from fedhub.api.request import NameFilter, PageQuery, hub_of
from fedhub.domain.access import Principal
from fedhub.domain.models import Operation
from fedhub.domain.phases import OperationState
from fedhub.services import operations
from fedweb.routes import Answer, Call, Route


class TargetView(BaseModel):
    """One resource that the operation waits for; its name is kept when it is gone."""

    model_config = ConfigDict(from_attributes=True)

    resource_id: str
    name: str
    generation: int
    done: bool


class OperationView(BaseModel):
    """Who asked for what, and how it goes."""

    id: str
    kind: str
    subject: str
    requested_by: str
    state: OperationState
    message: str
    created_at: datetime
    ended_at: datetime | None
    targets: list[TargetView]


class StepView(BaseModel):
    """One step of a resource's way to Ready."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    state: str
    started_at: datetime | None
    ended_at: datetime | None
    message: str


class TargetDetail(TargetView):
    """One resource with what its site last said."""

    site: str
    site_state: str
    observed_generation: int
    phase: str
    reason: str
    message: str
    steps: list[StepView]


class OperationDetail(BaseModel):
    """An operation with the progress of every resource."""

    operation: OperationView
    progress: list[TargetDetail]


class OperationPage(BaseModel):
    """A page of operations."""

    items: list[OperationView]
    next_cursor: str | None


class OperationQuery(PageQuery):
    """Filters of the list of operations."""

    state: OperationState | None = Field(default=None, description="Only those in this state.")
    federation: NameFilter = Field(default=None, description="Only those of this federation.")


def view(operation: Operation) -> OperationView:
    """Build the public form of an operation."""
    return OperationView(
        id=operation.id,
        kind=operation.kind,
        subject=operation.subject,
        requested_by=operation.requested_by,
        state=operation.state,
        message=operation.message,
        created_at=operation.created_at,
        ended_at=operation.ended_at,
        targets=[TargetView.model_validate(target) for target in operation.targets],
    )


async def list_operations(call: Call[Principal]) -> Answer:
    """Answer a page of operations, newest first."""
    page = await operations.list_page(
        hub_of(call),
        call.principal,
        federation=call.query.federation,
        state=call.query.state,
        cursor=call.query.cursor,
        limit=call.query.limit,
    )
    items = [view(operation) for operation in page.items]
    return Answer(OperationPage(items=items, next_cursor=page.next_cursor))


async def get_operation(call: Call[Principal]) -> Answer:
    """Answer one operation with the progress of its targets."""
    detail = await operations.get(hub_of(call), call.principal, call.path("id"))
    progress = [TargetDetail.model_validate(target) for target in detail.targets]
    return Answer(OperationDetail(operation=view(detail.operation), progress=progress))


ROUTES = (
    Route(
        "GET",
        "/api/v1/operations",
        list_operations,
        "List operations, newest first.",
        "operations",
        OperationPage,
        query=OperationQuery,
    ),
    Route(
        "GET",
        "/api/v1/operations/{id}",
        get_operation,
        "Get an operation with the progress of every resource.",
        "operations",
        OperationDetail,
    ),
)
