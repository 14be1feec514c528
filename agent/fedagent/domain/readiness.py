"""What an install is for: components ready, addresses known, tables true.

lacking                             | and                         | what is done
------------------------------------|-----------------------------|----------------------------
a component, lately installed       |                             | wait: the watches come late
a component, or all its pods        | `repair: report`, was Ready | Degraded, nothing is done
a component, or all its pods        | KubeFATE does not answer    | wait for it
a component, or all its pods        |                             | update, with a growing wait
a component's readiness             |                             | wait, and name the cause
an address                          |                             | wait for the Service
a table's entries, lately installed |                             | wait: the watches come late
a table's entries                   | as for a component          | as for a component
"""

from __future__ import annotations

from fedagent.domain.document import Table
from fedagent.domain.install import submit_update
from fedagent.domain.stage import PlanContext, StageResult
from fedagent.domain.state import Outcome
from fedagent.domain.timing import wait_after
from fedcore.words import Phase, RepairPolicy


def components(ctx: PlanContext) -> StageResult | None:
    """Ensure that every component is there and ready, by Kubernetes' own word."""
    workloads = ctx.observed.workloads
    names = [component.name for component in ctx.document.components]
    missing = [name for name in names if name not in workloads or workloads[name].desired == 0]
    down = [name for name in names if name not in missing and not workloads[name].is_ready]
    if missing and _since_success_s(ctx) > ctx.timing.missing_grace_s:
        text = f"{listed(missing)} is missing or scaled to nothing"
        return _drift(ctx, "ComponentMissing", text)
    if not missing and not down:
        return None
    worst = ctx.worst_finding
    if worst is not None:
        reason, message = worst.code, worst.message
    else:
        reason = "ComponentsDown" if ctx.was_ready else "ComponentsStarting"
        message = f"waiting for {listed(missing + down)}"
    return StageResult(ctx.busy_phase, reason, message, next_check_s=ctx.timing.recheck_progress_s)


def addresses(ctx: PlanContext) -> StageResult | None:
    """Ensure that every address is known that others need."""
    roles = {address.role for address in ctx.observed.addresses if address.ip and address.port}
    lacking = [spec for spec in ctx.document.addresses if spec.role not in roles]
    if not lacking:
        return None
    named = listed([f"{spec.service}/{spec.port_name}" for spec in lacking])
    message = f"Service {named} has no outside address yet"
    return StageResult(
        ctx.busy_phase, "AddressPending", message, next_check_s=ctx.timing.recheck_progress_s
    )


def routes(ctx: PlanContext) -> StageResult | None:
    """Ensure that the ConfigMaps hold exactly the document's tables."""
    wrong = [table for table in ctx.document.tables if not table_matches(ctx, table)]
    if not wrong:
        return None
    if _since_success_s(ctx) < ctx.timing.observe_grace_s:
        text = "reading the route tables"
        return StageResult(
            ctx.busy_phase, "TablesPending", text, next_check_s=ctx.timing.recheck_ending_s
        )
    text = f"ConfigMap {listed([table.config_map for table in wrong])} does not hold its table"
    return _drift(ctx, "Drift", text)


def table_matches(ctx: PlanContext, table: Table) -> bool:
    """Return whether a ConfigMap holds exactly the table's entries."""
    view = ctx.observed.tables.get(table.config_map)
    return view is not None and not view.error and view.digest == table.digest


def _drift(ctx: PlanContext, reason: str, text: str) -> StageResult:
    """Put drift right by a new submission, with a growing wait, or only report it."""
    if ctx.was_ready and ctx.document.repair is RepairPolicy.REPORT:
        message = f"{text}; repairs are left to you"
        return StageResult(Phase.DEGRADED, "Drift", message, next_check_s=ctx.timing.recheck_idle_s)
    if not ctx.observed.kubefate.answers:
        message = f"{text}; it is put right when KubeFATE is back"
        return StageResult(
            ctx.busy_phase,
            "KubeFateUnavailable",
            message,
            next_check_s=ctx.timing.recheck_kubefate_s,
        )
    tries = _recent_successes(ctx)
    last = ctx.state.last
    if tries > 1 and last is not None:
        wait_s = wait_after(ctx.timing.backoff_s, tries - 1) - ctx.age_s(last.ended_at)
        if wait_s > 0:
            message = f"{text}, though KubeFATE said Success; next try in {wait_s:.0f} s"
            return StageResult(ctx.busy_phase, reason, message, next_check_s=wait_s)
    return submit_update(ctx, reason, f"{text}; it is put right")


def _recent_successes(ctx: PlanContext) -> int:
    """Count the jobs of this generation that succeeded lately, and evidently did not help."""
    return sum(
        1
        for submission in ctx.state.of_generation(ctx.document.generation)
        if submission.outcome is Outcome.SUCCEEDED
        and ctx.age_s(submission.ended_at) < ctx.timing.backoff_s[-1]
    )


def _since_success_s(ctx: PlanContext) -> float:
    last = ctx.state.last
    if last is None or last.outcome is not Outcome.SUCCEEDED:
        return float("inf")
    return ctx.age_s(last.ended_at)


def listed(names: list[str], most: int = 5) -> str:
    """Return names for a sentence, cut after ``most``."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
