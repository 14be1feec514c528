"""What all workers of an agent share."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedagent.domain.policy import Policy
from fedagent.domain.stage import PlanSettings
from fedagent.domain.timing import PlanTiming
from fedagent.journal import Journal
from fedagent.reconcile.timing import ReconcileTiming
from fedcore.clock import Clock
from fedcore.tasks import LoopHealth


@dataclass(frozen=True, slots=True)
class Site:
    """The journal, the site's policy, and by what the agent goes."""

    journal: Journal
    policy: Policy
    loop_health: LoopHealth
    clock: Clock
    hub_id: str
    plan_timing: PlanTiming = field(default_factory=PlanTiming)
    timing: ReconcileTiming = field(default_factory=ReconcileTiming)

    @property
    def plan_settings(self) -> PlanSettings:
        """What every plan depends on, whatever the resource."""
        return PlanSettings(self.hub_id, self.policy, self.plan_timing)
