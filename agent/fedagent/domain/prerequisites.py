"""What must stand before an install: the namespace, the certificates, the chart.

lacking                                    | what is done
-------------------------------------------|--------------------------------------
a namespace that is ours: another owns it  | Refused, nothing is touched
... it is being deleted                    | wait: it takes nothing new
... it has no owner, and somebody uses it  | Refused, nothing is touched
... it is ours, and somebody else came too | Refused while we have not used it yet
... it is not there, or has no owner       | make it, or label it
the agent's rights in it                   | grant them
a Secret's ownership                       | Refused, nothing is touched
a certificate, or one that can be used     | ask the hub for one
a certificate, `repair: report`, was Ready | Degraded, nothing is done
the chart's archive at KubeFATE            | upload it, where the hub has one
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from fedagent.domain.decision import (
    MISSING,
    Action,
    EnsureNamespace,
    IssueCertificate,
    UploadChart,
)
from fedagent.domain.document import CertificateSpec
from fedagent.domain.observed import CertificateView
from fedagent.domain.stage import PlanContext, StageResult, owned_by_another, without_service
from fedca import renewal
from fedcore.words import Phase, RepairPolicy

_STRANGER = "nobody we know"


def namespace(ctx: PlanContext) -> StageResult | None:
    """Ensure that the namespace is there and ours; one that somebody uses is left alone."""
    view = ctx.observed.namespace
    name = ctx.document.namespace
    if view.exists and view.owner is not None and view.owner != ctx.us:
        return owned_by_another(ctx, f"namespace {name}", view.owner)
    if view.terminating:
        message = f"namespace {name} is being deleted; a new one follows"
        return StageResult(ctx.busy_phase, "NamespaceTerminating", message)
    stranger = _occupant(ctx) if view.exists and view.owner is None else ""
    stranger = stranger or _late_stranger(ctx)
    if stranger:
        return owned_by_another(ctx, f"namespace {name} holds {stranger}, which", _STRANGER)
    if not view.exists or view.owner is None:
        return StageResult(
            ctx.busy_phase,
            "NamespaceMissing",
            f"making namespace {name}",
            actions=(EnsureNamespace(),),
        )
    return rights(ctx)


def rights(ctx: PlanContext) -> StageResult | None:
    """Ensure the agent's own rights in the namespace, so that nothing in it is overlooked."""
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
        is_ours = record.owner == str(ctx.us)
        return "" if is_ours else f"KubeFATE cluster {ctx.document.release_name}"
    if observed.releases:
        return f"Helm release {ctx.document.release_name}"
    return next(iter((*observed.objects, *observed.foreign)), "")


def _late_stranger(ctx: PlanContext) -> str:
    """Return what was overlooked in a namespace that we have claimed but not used yet.

    Pods can be seen only with rights in the namespace, which come with the claim. Once we have
    installed there, a stranger's objects are no reason to stop looking after our own.
    """
    observed, view = ctx.observed, ctx.observed.namespace
    is_used = bool(
        observed.kubefate.record or observed.releases or observed.objects or ctx.state.submissions
    )
    if view.owner != ctx.us or view.made_by_us or is_used:
        return ""
    return next(iter(observed.foreign), "")


def certificates(ctx: PlanContext) -> StageResult | None:
    """Ensure that every certificate is in its Secret; a mere renewal halts nothing."""
    requests: list[IssueCertificate] = []
    for spec in ctx.document.certificates:
        view = ctx.observed.secrets.get(spec.secret_name)
        if view is not None and view.owner != ctx.us:
            owner = view.owner if view.owner is not None else _STRANGER
            return owned_by_another(ctx, f"Secret {spec.secret_name}", owner)
        reason = _issue_reason(ctx, spec)
        if reason:
            requests.append(IssueCertificate(spec.secret_name, reason))
    if not requests:
        return None
    names = ", ".join(request.secret_name for request in requests)
    if ctx.was_ready and ctx.document.repair is RepairPolicy.REPORT:
        message = f"certificate {names} is {requests[0].reason}; repairs are left to you"
        idle_s = ctx.timing.recheck_idle_s
        return StageResult(Phase.DEGRADED, "Drift", message, next_check_s=idle_s)
    # The chart goes along: uploading it takes seconds in which the hub can sign.
    actions: tuple[Action, ...] = (*requests, *_chart_action(ctx))
    message = f"certificate {names}: {requests[0].reason}; a new one is asked for"
    return StageResult(ctx.busy_phase, "CertificateNeeded", message, actions=actions)


def renewals(ctx: PlanContext) -> tuple[IssueCertificate, ...]:
    """Return the certificates past two thirds of their life, to be renewed beside other work."""
    due: list[IssueCertificate] = []
    for spec in ctx.document.certificates:
        view = ctx.observed.secrets.get(spec.secret_name)
        if view is None or view.owner != ctx.us or _issue_reason(ctx, spec):
            continue
        if view.certificate is not None and ctx.now >= renew_at(view.certificate):
            due.append(IssueCertificate(spec.secret_name, "due for renewal"))
    return tuple(due)


def renew_at(certificate: CertificateView) -> datetime:
    """Return when a certificate is renewed: at 2/3 of its life, +-5 % of it by its serial."""
    draw = hashlib.sha256(certificate.serial.encode()).digest()[0] / 255
    return renewal.renew_at(certificate.not_before, certificate.not_after, spread=2 * draw - 1)


def _issue_reason(ctx: PlanContext, spec: CertificateSpec) -> str:
    """Return why a certificate must be issued; empty when the one that is there can be used."""
    view = ctx.observed.secrets.get(spec.secret_name)
    if view is None:
        return MISSING
    if view.error or view.certificate is None:
        return f"unusable ({view.error or 'empty'})"
    if ctx.now >= view.certificate.not_after:
        return "expired"
    if sorted(view.certificate.dns_names) != sorted(spec.dns_names):
        return "of other names"
    return ""


def chart(ctx: PlanContext) -> StageResult | None:
    """Ensure that KubeFATE has the chart's archive, where the hub has one."""
    if not _lacks_chart(ctx):
        return None
    if not ctx.observed.kubefate.answers:
        return without_service(ctx)
    chart_name = f"{ctx.document.chart.name} {ctx.document.chart.version}"
    return StageResult(
        ctx.busy_phase,
        "ChartNeeded",
        f"giving chart {chart_name} to KubeFATE",
        actions=_chart_action(ctx),
    )


def _lacks_chart(ctx: PlanContext) -> bool:
    is_at_hub = ctx.document.chart.from_hub and bool(ctx.document.chart.sha256)
    hands_off = ctx.was_ready and ctx.document.repair is RepairPolicy.REPORT
    return is_at_hub and not ctx.observed.kubefate.chart_present and not hands_off


def _chart_action(ctx: PlanContext) -> tuple[UploadChart, ...]:
    return (UploadChart(),) if _lacks_chart(ctx) and ctx.observed.kubefate.answers else ()
