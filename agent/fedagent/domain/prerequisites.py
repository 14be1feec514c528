"""What must stand before an install: the namespace, the certificates, the chart."""

from __future__ import annotations

import hashlib
from datetime import datetime

from fedagent.domain.decision import (
    MISSING,
    Action,
    EnsureNamespace,
    IssueCertificate,
    Phase,
    UploadChart,
)
from fedagent.domain.document import CertificateSpec, Repair
from fedagent.domain.observed import CertificateView
from fedagent.domain.stage import (
    PlanContext,
    StageResult,
    owned_by_another,
    without_service,
)
from fedca import renewal


def namespace(ctx: PlanContext) -> StageResult | None:
    """Have the namespace there and ours; one that somebody uses is left alone."""
    view = ctx.observed.namespace
    name = ctx.document.namespace
    if view.exists and view.owner is not None and view.owner != ctx.us:
        return owned_by_another(ctx, f"namespace {name}", view.owner)
    if view.terminating:
        message = f"namespace {name} is being deleted; a new one follows"
        return StageResult(ctx.busy_phase, "NamespaceTerminating", message)
    if view.exists and view.owner is None:
        occupant = _occupant(ctx)
        if occupant:
            return owned_by_another(
                ctx, f"namespace {name} holds {occupant}, which", "nobody we know"
            )
    stranger = _late_stranger(ctx)
    if stranger:
        return owned_by_another(ctx, f"namespace {name} holds {stranger}, which", "nobody we know")
    if not view.exists or view.owner is None:
        return StageResult(
            ctx.busy_phase,
            "NamespaceMissing",
            f"making namespace {name}",
            actions=(EnsureNamespace(),),
        )
    return rights(ctx)


def rights(ctx: PlanContext) -> StageResult | None:
    """Have the agent's own rights in the namespace, so that nothing in it is overlooked."""
    if not ctx.observed.namespace.exists or ctx.observed.namespace.readable:
        return None
    text = f"taking the agent's rights in namespace {ctx.document.namespace}"
    phase = Phase.REMOVING if ctx.document.absent else ctx.busy_phase
    return StageResult(phase, "RightsMissing", text, actions=(EnsureNamespace(),))


def _occupant(ctx: PlanContext) -> str:
    """Return what uses a namespace that bears no owner; our own record is no stranger."""
    observed = ctx.observed
    record = observed.kubefate.record
    if observed.kubefate.occupant:
        return f"KubeFATE cluster {observed.kubefate.occupant}"
    if record is not None:
        ours = record.owner == str(ctx.us)
        return "" if ours else f"KubeFATE cluster {ctx.document.release_name}"
    if observed.releases:
        return f"Helm release {ctx.document.release_name}"
    return next(iter((*observed.objects, *observed.foreign)), "")


def _late_stranger(ctx: PlanContext) -> str:
    """Return what was overlooked in a namespace that we have claimed but not used yet.

    Pods can be seen only with rights in the namespace, which come with the claim.
    """
    observed, view = ctx.observed, ctx.observed.namespace
    is_used = bool(
        observed.kubefate.record or observed.releases or observed.objects or ctx.memory.submissions
    )
    if view.owner != ctx.us or view.made_by_us or is_used:
        return ""
    return next(iter(observed.foreign), "")


def certificates(ctx: PlanContext) -> StageResult | None:
    """Have every certificate in its Secret; renewal alone halts nothing."""
    actions: list[IssueCertificate] = []
    for wish in ctx.document.certificates:
        view = ctx.observed.secrets.get(wish.secret_name)
        if view is not None and view.owner != ctx.us:
            owner = view.owner if view.owner is not None else "nobody we know"
            return owned_by_another(ctx, f"Secret {wish.secret_name}", owner)
        reason = _why_issue(ctx, wish)
        if reason:
            actions.append(IssueCertificate(wish.secret_name, reason))
    if not actions:
        return None
    names = ", ".join(action.secret_name for action in actions)
    if ctx.was_ready and ctx.document.repair is Repair.REPORT:
        message = f"certificate {names} is {actions[0].reason}; repairs are left to you"
        return StageResult(Phase.DEGRADED, "Drift", message, next_check_s=ctx.timing.recheck_idle_s)
    wanted: tuple[Action, ...] = (*actions, *_chart_action(ctx))
    message = f"certificate {names}: {actions[0].reason}; a new one is asked for"
    return StageResult(ctx.busy_phase, "CertificateNeeded", message, actions=wanted)


def renewals(ctx: PlanContext) -> tuple[IssueCertificate, ...]:
    """Return the certificates past two thirds of their life, to be renewed beside other work."""
    found: list[IssueCertificate] = []
    for wish in ctx.document.certificates:
        view = ctx.observed.secrets.get(wish.secret_name)
        if view is None or view.owner != ctx.us or _why_issue(ctx, wish):
            continue
        if view.certificate is not None and ctx.now >= renew_at(view.certificate):
            found.append(IssueCertificate(wish.secret_name, "due for renewal"))
    return tuple(found)


def renew_at(certificate: CertificateView) -> datetime:
    """Return when a certificate is renewed: at 2/3 of its life, +-5 % of it by its serial."""
    draw = hashlib.sha256(certificate.serial.encode()).digest()[0] / 255
    return renewal.renew_at(certificate.not_before, certificate.not_after, spread=2 * draw - 1)


def _why_issue(ctx: PlanContext, wish: CertificateSpec) -> str:
    view = ctx.observed.secrets.get(wish.secret_name)
    if view is None:
        return MISSING
    if view.fault or view.certificate is None:
        return f"unusable ({view.fault or 'empty'})"
    if ctx.now >= view.certificate.not_after:
        return "expired"
    if sorted(view.certificate.dns_names) != sorted(wish.dns_names):
        return "of other names"
    return ""


def chart(ctx: PlanContext) -> StageResult | None:
    """Have the chart's archive at KubeFATE, where the hub has one and an install needs it."""
    if not _lacks_chart(ctx):
        return None
    if not ctx.observed.kubefate.answers:
        return without_service(ctx)
    named = f"{ctx.document.chart.name} {ctx.document.chart.version}"
    return StageResult(
        ctx.busy_phase,
        "ChartNeeded",
        f"giving chart {named} to KubeFATE",
        actions=_chart_action(ctx),
    )


def _lacks_chart(ctx: PlanContext) -> bool:
    wanted = ctx.document.chart.from_hub and bool(ctx.document.chart.sha256)
    hands_off = ctx.was_ready and ctx.document.repair is Repair.REPORT
    return wanted and not ctx.observed.kubefate.chart_present and not hands_off


def _chart_action(ctx: PlanContext) -> tuple[UploadChart, ...]:
    return (UploadChart(),) if _lacks_chart(ctx) and ctx.observed.kubefate.answers else ()
