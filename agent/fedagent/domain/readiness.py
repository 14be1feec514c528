"""What an install is for: components ready, addresses known, tables true."""

from __future__ import annotations

from typing import Final

from fedagent.domain.decision import Phase
from fedagent.domain.diagnosis import worst_of
from fedagent.domain.document import Repair, Table
from fedagent.domain.install import submit_update
from fedagent.domain.stage import BACKOFF_S, CALM_S, PlanContext, StageResult
from fedagent.domain.state import Outcome

_GRACE_S: Final = 3.0
"""What KubeFATE has just done may not be seen yet."""
_MISSING_GRACE_S: Final = 10.0


def components(given: PlanContext) -> StageResult | None:
    """Have every component there and ready, by Kubernetes' own word."""
    workloads = given.observed.workloads
    wanted = [item.name for item in given.document.components]
    missing = [name for name in wanted if name not in workloads or workloads[name].desired == 0]
    down = [name for name in wanted if name not in missing and not workloads[name].is_ready]
    if missing and _since_success_s(given) > _MISSING_GRACE_S:
        text = f"{listed(missing)} is missing or scaled to nothing"
        return _drift(given, "ComponentMissing", text)
    if not missing and not down:
        return None
    worst = worst_of(given.observed, given.now)
    if worst is not None:
        reason, message = worst.code, worst.message
    else:
        reason = "ComponentsDown" if given.was_ready else "ComponentsStarting"
        message = f"waiting for {listed(missing + down)}"
    return StageResult(given.busy_phase, reason, message, next_check_s=2.0)


def addresses(given: PlanContext) -> StageResult | None:
    """Know every address that others need."""
    known = {item.role for item in given.observed.addresses if item.ip and item.port}
    lacking = [item for item in given.document.addresses if item.role not in known]
    if not lacking:
        return None
    named = listed([f"{item.service}/{item.port_name}" for item in lacking])
    message = f"Service {named} has no outside address yet"
    return StageResult(given.busy_phase, "AddressPending", message, next_check_s=2.0)


def routes(given: PlanContext) -> StageResult | None:
    """Have exactly the document's tables in the ConfigMaps."""
    wrong = [table for table in given.document.tables if not table_matches(given, table)]
    if not wrong:
        return None
    if _since_success_s(given) < _GRACE_S:
        text = "reading the route tables"
        return StageResult(given.busy_phase, "TablesPending", text, next_check_s=0.3)
    text = f"ConfigMap {listed([table.config_map for table in wrong])} does not hold its table"
    return _drift(given, "Drift", text)


def table_matches(given: PlanContext, table: Table) -> bool:
    """Tell whether a ConfigMap holds exactly the table's entries."""
    found = given.observed.tables.get(table.config_map)
    return found is not None and not found.fault and found.digest == table.digest


def _drift(given: PlanContext, reason: str, text: str) -> StageResult:
    """Put it right by a new submission, with a growing wait, or only tell."""
    if given.was_ready and given.document.repair is Repair.REPORT:
        message = f"{text}; repairs are left to you"
        return StageResult(Phase.DEGRADED, "Drift", message, next_check_s=CALM_S)
    if not given.observed.kubefate.answers:
        message = f"{text}; it is put right when KubeFATE is back"
        return StageResult(given.busy_phase, "KubeFateUnavailable", message, next_check_s=5.0)
    tries = _recent_successes(given)
    last = given.memory.last
    if tries > 1 and last is not None:
        wait_s = BACKOFF_S[min(tries - 1, len(BACKOFF_S)) - 1] - given.age_s(last.ended_at)
        if wait_s > 0:
            message = f"{text}, though KubeFATE said Success; next try in {wait_s:.0f} s"
            return StageResult(given.busy_phase, reason, message, next_check_s=wait_s)
    return submit_update(given, reason, f"{text}; it is put right")


def _recent_successes(given: PlanContext) -> int:
    """Count the jobs of this generation that succeeded lately, and evidently did not help."""
    return sum(
        1
        for item in given.memory.of_generation(given.document.generation)
        if item.outcome is Outcome.SUCCEEDED and given.age_s(item.ended_at) < BACKOFF_S[-1]
    )


def _since_success_s(given: PlanContext) -> float:
    last = given.memory.last
    if last is None or last.outcome is not Outcome.SUCCEEDED:
        return float("inf")
    return given.age_s(last.ended_at)


def listed(names: list[str], most: int = 5) -> str:
    """Return names for a sentence, cut after ``most``."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
