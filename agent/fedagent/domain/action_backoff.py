"""The growing wait before an action that failed is tried again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from fedagent.domain.decision import Action
from fedagent.domain.timing import wait_after

HUB_UNAVAILABLE: Final = "HubUnavailable"
"""Reason of an action that failed because there was no session with the hub."""


@dataclass(frozen=True, slots=True)
class ActionFailure:
    """The last failure of one kind of action. ``reason`` is the code that people see."""

    reason: str
    message: str
    count: int
    retry_at: datetime


@dataclass(slots=True)
class ActionBackoff:
    """The failures of one worker, by kind of action. Kept in memory: a restart tries at once."""

    waits_s: tuple[float, ...]
    failures: dict[type[Action], ActionFailure] = field(default_factory=dict)

    def note_failure(
        self, action: Action, *, reason: str, message: str, now: datetime
    ) -> ActionFailure:
        """Note a failure; the wait grows with each in a row."""
        before = self.failures.get(type(action))
        count = before.count + 1 if before is not None else 1
        retry_at = now + timedelta(seconds=wait_after(self.waits_s, count))
        failure = ActionFailure(reason, message, count, retry_at)
        self.failures[type(action)] = failure
        return failure

    def note_success(self, action: Action) -> None:
        """Forget the failures of a kind of action."""
        self.failures.pop(type(action), None)

    def forget_hub_failures(self) -> bool:
        """Forget what failed for lack of a session with the hub; return whether anything had."""
        waiting = [
            kind for kind, failure in self.failures.items() if failure.reason == HUB_UNAVAILABLE
        ]
        for kind in waiting:
            del self.failures[kind]
        return bool(waiting)

    def last_failure(self, action: Action) -> ActionFailure | None:
        """Return the last failure of a kind of action; None when it did not fail lately."""
        return self.failures.get(type(action))

    def is_due(self, action: Action, now: datetime) -> bool:
        """Return whether an action may be tried."""
        failure = self.failures.get(type(action))
        return failure is None or now >= failure.retry_at
