"""What one round of a worker leaves in the journal: progress, status, events."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import structlog

from fedagent.domain.action_backoff import HUB_UNAVAILABLE
from fedagent.domain.decision import Decision
from fedagent.domain.document import Document
from fedagent.domain.observed import ParticipantObserved, ServiceObserved
from fedagent.domain.removal import begins_removal
from fedagent.domain.state import LastGoodConfig, ResourceState
from fedagent.journal.approvals import Wanted
from fedagent.kube.errors import Forbidden, KubeError
from fedagent.kubefate.access import BadCredentials
from fedagent.kubefate.charts import BadArchive
from fedagent.kubefate.errors import KubeFateError, Unauthorized
from fedagent.reconcile.site import Site
from fedagent.wire.events import events_between
from fedagent.wire.status import StatusInputs, status_of, steps_after
from fedcore.errors import ErrorCode, FedError, Invalid
from fedcore.words import Phase
from fedproto.agent.v1 import document_pb2, status_pb2
from fedproto.words import to_wire

log = structlog.get_logger()

AGENT_FAULT: Final = "AgentFault"
"""Reason of an error that nobody foresaw: a defect of the agent."""
_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (Forbidden, "PermissionMissing"),
    (KubeError, "KubernetesUnavailable"),
    (Unauthorized, "KubeFateRefused"),
    (BadCredentials, "KubeFateRefused"),
    (BadArchive, "ChartInvalid"),
    (KubeFateError, "KubeFateUnavailable"),
    (TimeoutError, "ActionTimedOut"),
)
_NO_SESSION: Final = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT})


def reason_of(error: Exception) -> str:
    """Return the reason code that people see for an error of an action or an observation."""
    if isinstance(error, FedError):
        return HUB_UNAVAILABLE if error.code in _NO_SESSION else "HubRefused"
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), AGENT_FAULT)


def message_of(error: Exception) -> str:
    """Return what people read about an error."""
    return str(getattr(error, "message", "")) or f"{type(error).__name__}: {error}"


class Recorder:
    """Writes the journal for one resource."""

    def __init__(self, resource_id: str, site: Site) -> None:
        self._resource_id = resource_id
        self._site = site

    async def note_progress(
        self,
        document: Document,
        decision: Decision,
        state: ResourceState,
        good: LastGoodConfig | None,
    ) -> ResourceState:
        """Note step times, what is Ready, what a removal takes away, what a person must approve.

        Return the state with it.
        """
        states = self._site.journal.states
        now = self._site.clock.now()
        steps = steps_after(decision, document.generation, state, now)
        if steps != dict(state.steps) or state.steps_generation != document.generation:
            await states.put_steps(self._resource_id, document.generation, steps)
            state = replace(state, steps=steps, steps_generation=document.generation)
        if decision.phase is Phase.READY and state.ready_generation < document.generation:
            await states.put_ready(self._resource_id, document.generation, good)
            state = replace(state, ready_generation=document.generation, good=good)
        if begins_removal(document, decision):
            await states.forget_live(self._resource_id)
            state = state.without_live()
        if decision.phase is Phase.AWAITING_APPROVAL:
            await self._site.journal.approvals.ask(
                Wanted(self._resource_id, document.generation, document.body_sha256),
                decision.reason.partition(".")[2],
                summary=decision.message,
                at=now,
            )
        return state

    async def report(
        self,
        document: Document,
        observed: ParticipantObserved | ServiceObserved,
        state: ResourceState,
        decision: Decision,
    ) -> None:
        """Write the status, when it has changed, with the events that led to it."""
        journal, now = self._site.journal, self._site.clock.now()
        before = await journal.statuses.get(self._resource_id)
        settings = self._site.plan_settings
        after = status_of(StatusInputs(document, observed, state, decision, settings, now), before)
        if before != after:
            await journal.report(after, events_between(document, before, after, now))

    async def report_invalid(self, message: document_pb2.DesiredDocument, error: Invalid) -> None:
        """Report a document that cannot be used; nothing is done about it."""
        status = status_pb2.ResourceStatus(
            resource_id=message.resource_id,
            observed_generation=message.generation,
            digest=message.digest,
            phase=to_wire(Phase.REFUSED),
            reason="InvalidDocument",
            message=error.message,
        )
        await self._report_since(status)

    async def report_unobservable(self, error: KubeError) -> None:
        """Report that Kubernetes cannot be asked; what was seen last stays visible."""
        log.warning("reconcile.unobservable", resource_id=self._resource_id, error=error.message)
        journal = self._site.journal
        if await journal.documents.get(self._resource_id) is None:
            return
        before = await journal.statuses.get(self._resource_id)
        status = status_pb2.ResourceStatus(phase=to_wire(Phase.WAITING))
        if before is not None:
            status.CopyFrom(before)
        status.resource_id = self._resource_id
        status.reason = reason_of(error)
        status.message = f"the cluster cannot be looked at: {error.message}"
        await self._report_since(status)

    async def _report_since(self, status: status_pb2.ResourceStatus) -> None:
        """Write a status; its ``since`` stays while the reason does."""
        before = await self._site.journal.statuses.get(self._resource_id)
        if before is not None and before.reason == status.reason:
            status.since.CopyFrom(before.since)
        else:
            status.since.FromDatetime(self._site.clock.now())
        await self._site.journal.report(status)
