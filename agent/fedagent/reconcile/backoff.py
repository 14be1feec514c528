"""What goes wrong while acting: a name for people, and a growing wait before the next try."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from fedagent.domain.decision import Action
from fedagent.domain.timing import wait_after
from fedagent.kube.errors import Forbidden, KubeError
from fedagent.kubefate.access import BadCredentials
from fedagent.kubefate.charts import BadArchive
from fedagent.kubefate.errors import KubeFateError, Unauthorized
from fedcore.errors import ErrorCode, FedError

_HUB_UNAVAILABLE: Final = "HubUnavailable"
_HUB_AWAY: Final = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT})


@dataclass(frozen=True, slots=True)
class Fault:
    """The last failure of one kind of action."""

    code: str
    message: str
    count: int
    again_at: datetime


_CODES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (Forbidden, "PermissionMissing"),
    (KubeError, "KubernetesUnavailable"),
    (Unauthorized, "KubeFateRefused"),
    (BadCredentials, "KubeFateRefused"),
    (BadArchive, "ChartInvalid"),
    (KubeFateError, "KubeFateUnavailable"),
    (TimeoutError, "ActionTimedOut"),
)


def code_of(error: Exception) -> str:
    """Return the reason code that people see for an error."""
    if isinstance(error, FedError):
        return _HUB_UNAVAILABLE if error.code in _HUB_AWAY else "HubRefused"
    return next((code for kind, code in _CODES if isinstance(error, kind)), "AgentFault")


@dataclass(slots=True)
class ActionBackoff:
    """The failures of one worker, by kind of action. Kept in memory: a restart tries at once."""

    waits_s: tuple[float, ...]
    faults: dict[type[Action], Fault] = field(default_factory=dict)

    def failed(self, action: Action, error: Exception, now: datetime) -> Fault:
        """Note a failure."""
        before = self.faults.get(type(action))
        count = before.count + 1 if before is not None else 1
        wait_s = wait_after(self.waits_s, count)
        message = str(getattr(error, "message", "")) or f"{type(error).__name__}: {error}"
        fault = Fault(code_of(error), message, count, now + timedelta(seconds=wait_s))
        self.faults[type(action)] = fault
        return fault

    def succeeded(self, action: Action) -> None:
        """Forget the failures of a kind of action."""
        self.faults.pop(type(action), None)

    def hear_hub(self) -> bool:
        """Forget the failures for want of the hub; tell whether there were any."""
        away = [kind for kind, fault in self.faults.items() if fault.code == _HUB_UNAVAILABLE]
        for kind in away:
            del self.faults[kind]
        return bool(away)

    def pending(self, action: Action) -> Fault | None:
        """Return the last failure of a kind of action."""
        return self.faults.get(type(action))

    def is_due(self, action: Action, now: datetime) -> bool:
        """Tell whether an action may be tried."""
        fault = self.faults.get(type(action))
        return fault is None or now >= fault.again_at
