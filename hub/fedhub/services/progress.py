"""The progress of an operation: every resource that it waits for, with what its site last said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.access import Permission, Principal
from fedhub.domain.models import Operation, OperationTarget, Site, StoredStatus
from fedhub.services.context import HubContext
from fedhub.store import endpoints, operations, participants, sites, statuses
from fedproto.agent.v1 import status_pb2


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a resource's way to Ready."""

    name: str
    state: str
    started_at: datetime | None
    ended_at: datetime | None
    message: str


@dataclass(frozen=True, slots=True)
class TargetProgress:
    """One resource of an operation."""

    resource_id: str
    generation: int
    done: bool
    name: str
    site: str
    site_state: str
    observed_generation: int
    phase: str
    reason: str
    message: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class OperationProgress:
    """An operation and its resources."""

    operation: Operation
    targets: tuple[TargetProgress, ...]


async def of_operation(
    hub: HubContext, principal: Principal, operation_id: str
) -> OperationProgress:
    """Return one operation with the progress of every resource."""
    principal.require(Permission.READ)
    async with hub.database.read() as db:
        operation = await operations.get(db, operation_id)
        reported = await statuses.of_resources(db, [t.resource_id for t in operation.targets])
        by_id = {site.id: site for site in await sites.all(db)}
        targets = [await _progress(db, t, reported, by_id) for t in operation.targets]
    return OperationProgress(operation, tuple(sorted(targets, key=lambda t: t.name)))


async def _progress(
    db: AsyncSession,
    target: OperationTarget,
    reported: Mapping[str, StoredStatus],
    by_id: Mapping[str, Site],
) -> TargetProgress:
    name, site_id, waiting = await _place(db, target)
    site = by_id.get(site_id or "")
    status = reported.get(target.resource_id)
    reason, message = waiting
    if status is not None:
        reason, message = status.reason, status.message
    return TargetProgress(
        resource_id=target.resource_id,
        generation=target.generation,
        done=target.done,
        name=name,
        site=site.name if site is not None else "",
        site_state=site.state.value if site is not None else "",
        observed_generation=status.observed_generation if status is not None else 0,
        phase=status.phase.value if status is not None else ("Gone" if target.done else "Waiting"),
        reason=reason,
        message=message,
        steps=steps_of(status.status) if status is not None else (),
    )


async def _place(
    db: AsyncSession, target: OperationTarget
) -> tuple[str, str | None, tuple[str, str]]:
    row = await participants.find(db, target.resource_id)
    if row is not None:
        return row.name, row.site_id, (row.waiting_reason or "", row.waiting_message or "")
    endpoint = await endpoints.find(db, target.resource_id)
    if endpoint is not None:
        return f"endpoint/{endpoint.name}", endpoint.site_id, ("", "")
    return target.name or target.resource_id, None, ("", "")


def steps_of(status: status_pb2.ResourceStatus) -> tuple[Step, ...]:
    """Read the steps of a status."""
    return tuple(
        Step(
            name=step.name,
            state=status_pb2.StepState.Name(step.state).removeprefix("STEP_STATE_").capitalize(),
            started_at=(step.started_at.ToDatetime(UTC) if step.HasField("started_at") else None),
            ended_at=step.ended_at.ToDatetime(UTC) if step.HasField("ended_at") else None,
            message=step.message,
        )
        for step in status.steps
    )
