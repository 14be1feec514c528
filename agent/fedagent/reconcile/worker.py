"""One resource's worker: observe, plan, report, act, and again, for ever.

a round that ...                         | is followed by
-----------------------------------------|---------------------------------------------------------
finds no document                        | the worker's end
finds a document that cannot be used     | a wait of ``max_wait_s``, or the next change
decides nothing                          | the plan's wait, or the next change
does something                           | another round at once: what was done must show
does the same for the fourth time        | a doubled wait: it is done and changes nothing we see
cannot do something yet                  | a wait of ``not_yet_s``
fails to do something                    | another round, whose plan leaves that action out a while
cannot ask Kubernetes, or fails          | a doubled wait, up to ``failed_turn_max_s``
finds the event spool full               | a wait of ``spool_full_s``: nothing is done unrecorded

The status is written before the actions are begun, so that a crash between the two loses no event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Generic

import structlog

from fedagent.domain.action_backoff import ActionBackoff
from fedagent.domain.decision import Action, Decision, UninstallService, UploadChart, kind_of
from fedagent.domain.state import ResourceState
from fedagent.journal import SpoolFull
from fedagent.kube.errors import KubeError
from fedagent.reconcile.controller import D, O, ResourceController
from fedagent.reconcile.proxies import NotYet
from fedagent.reconcile.recorder import AGENT_FAULT, Recorder, message_of, reason_of
from fedagent.reconcile.site import Site
from fedagent.wire.decode import DocumentDecoder
from fedcore.errors import Invalid
from fedcore.tasks import sleep_with_heartbeat, wait_for_wake

log = structlog.get_logger()

_LONG: Final = (UploadChart, UninstallService)
"""Actions that may go on for as long as any may; each request of the others has 30 s."""
_FREE_REPEATS: Final = 3
_MAX_DOUBLINGS: Final = 16


class ResourceWorker(Generic[D, O]):
    """Looks after one resource until its document is forgotten."""

    def __init__(
        self,
        resource_id: str,
        site: Site,
        controller: ResourceController[D, O],
        *,
        wake: asyncio.Event,
    ) -> None:
        self.resource_id = resource_id
        self.wake = wake
        self._site = site
        self._timing = site.timing
        self._controller = controller
        self._decoder = DocumentDecoder(controller.decode)
        self._recorder = Recorder(resource_id, site)
        self._backoff = ActionBackoff(site.timing.action_backoff_s)
        self._last_actions: tuple[Action, ...] = ()
        self._repeats = 0
        self._failures = 0
        self._is_well = True

    @property
    def _loop_name(self) -> str:
        return f"reconcile.{self.resource_id}"

    async def run(self) -> None:
        """Work until the document is forgotten. A round that fails is logged and tried again."""
        self._heartbeat()
        try:
            while (wait_s := await self._guarded_turn()) is not None:
                if wait_s > 0:
                    await self._wait(min(wait_s, self._timing.max_wait_s))
                await asyncio.sleep(self._timing.burst_s)
                self.wake.clear()
        finally:
            self._site.loop_health.records.pop(self._loop_name, None)
            await self._controller.stop()

    def refresh(self) -> None:
        """Read everything anew, now: the service came or went, or a person approved."""
        self._controller.invalidate()
        self.wake.set()

    def retry_hub_requests(self) -> None:
        """Go on at once with what failed for lack of a session with the hub."""
        if self._backoff.forget_hub_failures():
            self.wake.set()

    def _heartbeat(self, actions: Sequence[Action] = ()) -> None:
        """Show that this loop is well and goes on, now with these actions."""
        is_long = any(isinstance(action, _LONG) for action in actions)
        interval_s = self._timing.action_limit_s / 3 if is_long else None
        self._site.loop_health.heartbeat(self._loop_name, interval_s)

    async def _wait(self, wait_s: float) -> None:
        """Wait for a change; a loop whose round failed shows no heartbeat meanwhile."""
        if self._is_well:
            await sleep_with_heartbeat(
                self._loop_name, wait_s, loop_health=self._site.loop_health, wake=self.wake
            )
        else:
            await wait_for_wake(self.wake, wait_s)

    async def _guarded_turn(self) -> float | None:
        self._is_well = False
        try:
            async with asyncio.timeout(self._timing.turn_limit_s):
                wait_s = await self.turn()
            self._failures = 0
            self._is_well = True
        except SpoolFull:
            log.warning("spool.full", resource_id=self.resource_id)
            return self._timing.spool_full_s
        except KubeError as error:
            # The worker is well: it is the cluster that does not answer, and the status says so.
            await self._recorder.report_unobservable(error)
            self._is_well = True
            return self._failed_turn_s()
        except Exception:
            log.exception("reconcile.failed", resource_id=self.resource_id)
            return self._failed_turn_s()
        return wait_s

    def _failed_turn_s(self) -> float:
        """Count a round that failed; return the wait after it."""
        self._failures += 1
        wait_s = 2.0 ** min(self._failures, _MAX_DOUBLINGS)
        return min(wait_s, self._timing.failed_turn_max_s)

    async def turn(self) -> float | None:
        """Do one round; return the seconds until the next, None when there is no document."""
        journal, controller = self._site.journal, self._controller
        message = await journal.documents.get(self.resource_id)
        if message is None:
            return None
        try:
            document = self._decoder.decode(message)
        except Invalid as error:
            await self._recorder.report_invalid(message, error)
            return self._timing.max_wait_s
        state = await journal.states.load(self.resource_id)
        observed = await controller.observe(document, state)
        self._heartbeat()
        state = await controller.remember(document, observed, state)
        decision = controller.plan(document, observed, state)
        controller.publish(document, decision)
        decision = self._without_failed(decision)
        good = controller.good_config(document)
        state = await self._recorder.note_progress(document, decision, state, good)
        await self._recorder.report(document, observed, state, decision)
        return await self._act(document, observed, state, decision)

    def _without_failed(self, decision: Decision) -> Decision:
        """Leave out actions that failed a moment ago, and say why in the status."""
        now = self._site.clock.now()
        if not self._site.journal.spool.takes_new_work and decision.actions:
            text = "the event spool is full: nothing new is begun until the hub takes events"
            check_s = self._timing.spool_full_s
            return replace(
                decision, reason="SpoolFull", message=text, actions=(), next_check_s=check_s
            )
        failures = [self._backoff.last_failure(action) for action in decision.actions]
        failure = next((item for item in failures if item is not None), None)
        if failure is None:
            return decision
        due = tuple(action for action in decision.actions if self._backoff.is_due(action, now))
        left_s = max(0.1, (failure.retry_at - now).total_seconds())
        return replace(
            decision,
            reason=failure.reason,
            message=f"{decision.message}: {failure.message}",
            actions=due,
            next_check_s=min(decision.next_check_s, left_s) if not due else 0.0,
        )

    async def _act(
        self, document: D, observed: O, state: ResourceState, decision: Decision
    ) -> float:
        """Do the actions side by side; return the seconds until the next round."""
        if not decision.actions:
            self._last_actions = ()
            return decision.next_check_s
        self._heartbeat(decision.actions)
        results = await asyncio.gather(
            *(self._act_once(document, observed, state, action) for action in decision.actions)
        )
        waits = [wait_s for wait_s in results if wait_s is not None]
        if waits:
            return min(waits)
        self._repeats = self._repeats + 1 if decision.actions == self._last_actions else 0
        self._last_actions = decision.actions
        if self._repeats < _FREE_REPEATS:
            return 0.0
        wait_s = self._timing.repeat_s * 2.0 ** min(self._repeats, _MAX_DOUBLINGS)
        return min(wait_s, self._timing.repeat_max_s)

    async def _act_once(
        self, document: D, observed: O, state: ResourceState, action: Action
    ) -> float | None:
        """Do one action; return the seconds to wait when it was not done."""
        name = type(action).__name__
        try:
            async with asyncio.timeout(self._timing.action_limit_s):
                await self._controller.act(document, observed, state, action)
        except NotYet as reason:
            log.debug("action.not_yet", action=name, reason=str(reason))
            return self._timing.not_yet_s
        except Exception as error:
            failure = self._backoff.note_failure(
                action,
                reason=reason_of(error),
                message=message_of(error),
                now=self._site.clock.now(),
            )
            log.warning(
                "action.failed",
                resource_id=self.resource_id,
                action=name,
                code=failure.reason,
                error=failure.message,
                exc_info=failure.reason == AGENT_FAULT,
            )
            return 0.0
        self._backoff.note_success(action)
        log.debug("action.done", resource_id=self.resource_id, action=name, kind=kind_of(action))
        return None
