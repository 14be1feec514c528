"""One resource's worker: observe, plan, report, act, and again, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import structlog

from fedagent.domain.decision import (
    Action,
    Decision,
    Phase,
    UninstallService,
    UploadChart,
    kind_of,
)
from fedagent.domain.document import Document, ParticipantDocument
from fedagent.domain.observed import ParticipantObserved
from fedagent.domain.plan import plan
from fedagent.domain.policy import Policy
from fedagent.domain.proxy_sync import first_notes
from fedagent.domain.removal import begins_removal
from fedagent.domain.state import LastGoodConfig, ResourceState
from fedagent.domain.timing import PlanTiming
from fedagent.journal import Journal, SpoolFull
from fedagent.journal.approvals import Wanted
from fedagent.kube.errors import KubeError
from fedagent.reconcile.backoff import ActionBackoff, code_of
from fedagent.reconcile.controllers import Observed, ResourceController
from fedagent.reconcile.proxies import NotYet
from fedagent.reconcile.timing import ReconcileTiming
from fedagent.wire.decode import read_document
from fedagent.wire.events import events_between
from fedagent.wire.status import PHASES, StatusInputs, status_of, steps_after
from fedcore.clock import Clock
from fedcore.errors import Invalid
from fedcore.tasks import LoopHealth, sleep_with_heartbeat, wait_for_wake
from fedproto.agent.v1 import document_pb2, status_pb2

log = structlog.get_logger()

_LONG: Final = (UploadChart, UninstallService)
"""Actions that may go on for as long as any may; each request of the others has 30 s."""
_FIRST_REPEATS: Final = 3


@dataclass(frozen=True, slots=True)
class Site:
    """What all workers of an agent share."""

    journal: Journal
    policy: Policy
    loop_health: LoopHealth
    clock: Clock
    hub_id: str
    plan_timing: PlanTiming = field(default_factory=PlanTiming)
    timing: ReconcileTiming = field(default_factory=ReconcileTiming)


class ResourceWorker:
    """Looks after one resource until its document is forgotten."""

    def __init__(
        self, resource_id: str, site: Site, subject: ResourceController, *, wake: asyncio.Event
    ) -> None:
        self.resource_id = resource_id
        self.wake = wake
        self.subject = subject
        self._site = site
        self._faults = ActionBackoff(site.timing.action_backoff_s)
        self._last_actions: tuple[Action, ...] = ()
        self._repeats = 0
        self._failures = 0
        self._is_well = True

    @property
    def _beat_name(self) -> str:
        return f"reconcile.{self.resource_id}"

    async def run(self) -> None:
        """Work until the document is forgotten. A turn that fails is logged and tried again."""
        self._beat()
        try:
            while (wait_s := await self._guarded_turn()) is not None:
                if wait_s > 0:
                    await self._wait(min(wait_s, self._site.timing.max_wait_s))
                await asyncio.sleep(self._site.timing.burst_s)
                self.wake.clear()
        finally:
            self._site.loop_health.records.pop(self._beat_name, None)
            await self.subject.stop()

    @property
    def _failed_turn_s(self) -> float:
        """The wait after as many rounds in a row as have failed."""
        return min(2.0 ** min(self._failures, 16), self._site.timing.failed_turn_max_s)

    def _beat(self, actions: Sequence[Action] = ()) -> None:
        """Show that this loop is well and goes on, now with these actions."""
        is_long = any(isinstance(action, _LONG) for action in actions)
        interval_s = self._site.timing.action_limit_s / 3 if is_long else None
        self._site.loop_health.heartbeat(self._beat_name, interval_s)

    async def _wait(self, wait_s: float) -> None:
        """Wait for a change; a loop whose turn failed does not say meanwhile that it is well."""
        if self._is_well:
            await sleep_with_heartbeat(
                self._beat_name, wait_s, loop_health=self._site.loop_health, wake=self.wake
            )
        else:
            await wait_for_wake(self.wake, wait_s)

    def hear_hub(self) -> None:
        """Go on at once with what failed for want of the hub."""
        if self._faults.hear_hub():
            self.wake.set()

    async def _guarded_turn(self) -> float | None:
        self._is_well = False
        try:
            async with asyncio.timeout(self._site.timing.turn_limit_s):
                wait_s = await self.turn()
            self._failures = 0
            self._is_well = True
        except SpoolFull:
            log.warning("spool.full", resource_id=self.resource_id)
            return self._site.timing.spool_full_s
        except KubeError as error:
            self._failures += 1
            await self._report_blind(error)
            self._is_well = True
            return self._failed_turn_s
        except Exception:
            self._failures += 1
            log.exception("reconcile.failed", resource_id=self.resource_id)
            return self._failed_turn_s
        return wait_s

    async def turn(self) -> float | None:
        """Do one round; return the seconds until the next, None when there is no document."""
        journal = self._site.journal
        message = await journal.documents.get(self.resource_id)
        if message is None:
            return None
        try:
            document = read_document(message)
        except Invalid as error:
            await self._report_invalid(message, error)
            return self._site.timing.max_wait_s
        memory = await journal.memories.load(self.resource_id)
        observed = await self.subject.observe(document, memory)
        self._beat()
        memory = await self._note_tables(document, observed, memory)
        decision = plan(
            document,
            observed,
            memory,
            now=self._site.clock.now(),
            policy=self._site.policy,
            hub_id=self._site.hub_id,
            timing=self._site.plan_timing,
        )
        self.subject.decided(document, decision)
        decision = self._held_back(decision)
        memory = await self._note_progress(document, decision, memory)
        await self._report(document, observed, memory, decision)
        return await self._act(document, observed, memory, decision)

    async def _note_tables(
        self, document: Document, observed: Observed, memory: ResourceState
    ) -> ResourceState:
        """Note when each table was first seen as it is: pods that are younger have read it."""
        if not isinstance(observed, ParticipantObserved) or not isinstance(
            document, ParticipantDocument
        ):
            return memory
        now = self._site.clock.now()
        for note in first_notes(document, observed, memory, now):
            await self._site.journal.memories.put_proxy(self.resource_id, note)
            memory = replace(memory, proxies={**memory.proxies, note.deployment: note})
        seen: Mapping[str, tuple[str, datetime]] = {
            name: known
            if (known := memory.table_seen.get(name)) is not None and known[0] == table.digest
            else (table.digest, now)
            for name, table in observed.tables.items()
        }
        if dict(seen) == dict(memory.table_seen):
            return memory
        await self._site.journal.memories.put_table_seen(self.resource_id, seen)
        return replace(memory, table_seen=seen)

    async def _note_progress(
        self, document: Document, decision: Decision, memory: ResourceState
    ) -> ResourceState:
        memories = self._site.journal.memories
        now = self._site.clock.now()
        steps = steps_after(decision, document.generation, memory, now)
        if steps != dict(memory.steps) or memory.steps_generation != document.generation:
            await memories.put_steps(self.resource_id, document.generation, steps)
            memory = replace(memory, steps=steps, steps_generation=document.generation)
        if decision.phase is Phase.READY and memory.ready_generation < document.generation:
            good = _good_of(document)
            await memories.put_ready(self.resource_id, document.generation, good)
            memory = replace(memory, ready_generation=document.generation, good=good)
        if begins_removal(document, decision):
            await memories.forget_live(self.resource_id)
            memory = memory.without_live()
        if decision.phase is Phase.AWAITING_APPROVAL:
            await self._site.journal.approvals.ask(
                Wanted(self.resource_id, document.generation, document.body_sha256),
                decision.reason.partition(".")[2],
                summary=decision.message,
                at=now,
            )
        return memory

    def _held_back(self, decision: Decision) -> Decision:
        """Leave out actions that failed a moment ago, and say why in the status."""
        now = self._site.clock.now()
        faults = [self._faults.pending(action) for action in decision.actions]
        fault = next((item for item in faults if item is not None), None)
        if not self._site.journal.spool.takes_new_work and decision.actions:
            text = "the event spool is full: nothing new is begun until the hub takes events"
            return replace(
                decision,
                reason="SpoolFull",
                message=text,
                actions=(),
                next_check_s=self._site.timing.spool_full_s,
            )
        if fault is None:
            return decision
        due = tuple(item for item in decision.actions if self._faults.is_due(item, now))
        left_s = max(0.1, (fault.again_at - now).total_seconds())
        return replace(
            decision,
            reason=fault.code,
            message=f"{decision.message}: {fault.message}",
            actions=due,
            next_check_s=min(decision.next_check_s, left_s) if not due else 0.0,
        )

    async def _report(
        self, document: Document, observed: Observed, memory: ResourceState, decision: Decision
    ) -> None:
        journal, now = self._site.journal, self._site.clock.now()
        before = await journal.statuses.get(self.resource_id)
        told = StatusInputs(
            document, observed, memory, decision, self._site.policy, self._site.plan_timing, now
        )
        after = status_of(told, before)
        if before != after:
            await journal.report(after, events_between(document, before, after, now))

    async def _report_invalid(self, message: document_pb2.DesiredDocument, error: Invalid) -> None:
        status = status_pb2.ResourceStatus(
            resource_id=message.resource_id,
            observed_generation=message.generation,
            digest=message.digest,
            phase=PHASES[Phase.REFUSED],
            reason="InvalidDocument",
            message=error.message,
        )
        before = await self._site.journal.statuses.get(self.resource_id)
        if before is not None and before.reason == status.reason:
            status.since.CopyFrom(before.since)
        else:
            status.since.FromDatetime(self._site.clock.now())
        await self._site.journal.report(status)

    async def _report_blind(self, error: KubeError) -> None:
        """Say that Kubernetes cannot be asked; what was known last stays visible."""
        log.warning("reconcile.blind", resource_id=self.resource_id, error=error.message)
        message = await self._site.journal.documents.get(self.resource_id)
        before = await self._site.journal.statuses.get(self.resource_id)
        if message is None:
            return
        status = status_pb2.ResourceStatus(phase=PHASES[Phase.WAITING])
        if before is not None:
            status.CopyFrom(before)
        status.resource_id = self.resource_id
        status.reason = code_of(error)
        status.message = f"the cluster cannot be looked at: {error.message}"
        if before is None or before.reason != status.reason:
            status.since.FromDatetime(self._site.clock.now())
        await self._site.journal.report(status)

    async def _act(
        self, document: Document, observed: Observed, memory: ResourceState, decision: Decision
    ) -> float:
        """Do the actions side by side; return the seconds until the next round."""
        if not decision.actions:
            self._last_actions = ()
            return decision.next_check_s
        self._beat(decision.actions)
        results = await asyncio.gather(
            *(self._do(document, observed, memory, action) for action in decision.actions)
        )
        waits = [wait_s for wait_s in results if wait_s is not None]
        if waits:
            return min(waits)
        self._repeats = self._repeats + 1 if decision.actions == self._last_actions else 0
        self._last_actions = decision.actions
        if self._repeats < _FIRST_REPEATS:
            return 0.0
        # It was done and changes nothing that we see: no hot loop.
        return min(
            self._site.timing.repeat_s * 2.0 ** min(self._repeats, 8),
            self._site.timing.repeat_max_s,
        )

    async def _do(
        self, document: Document, observed: Observed, memory: ResourceState, action: Action
    ) -> float | None:
        """Do one action; return the seconds to wait when it was not done."""
        name = type(action).__name__
        try:
            async with asyncio.timeout(self._site.timing.action_limit_s):
                await self.subject.act(document, observed, memory, action)
        except NotYet as news:
            log.debug("action.not_yet", action=name, why=str(news))
            return self._site.timing.not_yet_s
        except Exception as error:
            fault = self._faults.failed(action, error, self._site.clock.now())
            log.warning(
                "action.failed",
                resource_id=self.resource_id,
                action=name,
                code=fault.code,
                error=fault.message,
                exc_info=fault.code == "AgentFault",
            )
            return 0.0
        self._faults.succeeded(action)
        log.debug("action.done", resource_id=self.resource_id, action=name, kind=kind_of(action))
        return None


def _good_of(document: Document) -> LastGoodConfig | None:
    """Return what is kept of a document that is Ready, for when a later one fails."""
    if not isinstance(document, ParticipantDocument):
        return None
    return LastGoodConfig(document.generation, document.cluster_json)
