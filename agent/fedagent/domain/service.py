"""The plan of a KubeFATE service: adopt what is there, install where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fedagent.domain.decision import Action, Decision, InstallService, Step, UninstallService
from fedagent.domain.document import EndpointDocument
from fedagent.domain.observed import OwnerView, ServiceObserved
from fedagent.domain.stage import PlanSettings
from fedagent.domain.state import ResourceState
from fedagent.domain.timing import PlanTiming
from fedcore.words import EndpointMode, Phase, StepState

_STEP: Final = "service"


@dataclass(frozen=True, slots=True)
class ServicePlanContext:
    """All that the plan of a service depends on."""

    document: EndpointDocument
    observed: ServiceObserved
    state: ResourceState
    settings: PlanSettings

    @property
    def timing(self) -> PlanTiming:
        """The waits and limits."""
        return self.settings.timing

    @property
    def us(self) -> OwnerView:
        """The owner that our labels name."""
        return OwnerView(self.settings.hub_id, self.document.resource_id)


def plan_service(ctx: ServicePlanContext) -> Decision:
    """Return what is next for the KubeFATE service."""
    if ctx.document.absent:
        return _remove(ctx)
    if ctx.observed.is_external:
        return _verify(ctx)
    if ctx.observed.terminating:
        text = f"namespace {ctx.document.namespace} is being deleted"
        return _busy(ctx, "NamespaceTerminating", text)
    return _not_ours(ctx) or (_verify(ctx) if ctx.observed.is_installed else _absent(ctx))


def _not_ours(ctx: ServicePlanContext) -> Decision | None:
    observed = ctx.observed
    namespace = ctx.document.namespace
    if observed.owner is not None and observed.owner != ctx.us:
        text = f"KubeFATE in namespace {namespace} belongs to {observed.owner}; it is left alone"
        return _stop(ctx, Phase.REFUSED, "OwnedByAnother", text)
    stranger = observed.is_installed and observed.owner is None
    if stranger and ctx.document.mode is EndpointMode.INSTALL:
        text = f"namespace {namespace} holds a KubeFATE that is not ours; mode adopt would use it"
        return _stop(ctx, Phase.REFUSED, "OwnedByAnother", text)
    return None


def _absent(ctx: ServicePlanContext) -> Decision:
    namespace = ctx.document.namespace
    if ctx.document.mode is EndpointMode.ADOPT:
        text = f"there is no KubeFATE in namespace {namespace}; install one, or choose mode auto"
        return _stop(
            ctx,
            Phase.WAITING,
            "KubeFateNotFound",
            text,
            next_check_s=ctx.timing.recheck_absent_service_s,
        )
    text = f"installing KubeFATE in namespace {namespace}"
    return _busy(ctx, "Installing", text, (InstallService(),))


def _verify(ctx: ServicePlanContext) -> Decision:
    observed = ctx.observed
    again = _apply_again(ctx)
    if again is not None:
        return again
    if not observed.is_ready:
        reason = "KubeFateUnavailable" if ctx.state.ready_generation else "KubeFateStarting"
        return _busy(ctx, reason, observed.message or "KubeFATE does not answer yet")
    if not observed.version_enough:
        text = f"KubeFATE {observed.version} is older than {ctx.document.minimum_version}"
        return _stop(ctx, Phase.FAILED, "VersionTooOld", f"{text}; upgrade it")
    how = "installed" if observed.owner == ctx.us else "adopted"
    message = f"KubeFATE {observed.version} answers ({how}, reached by {observed.access})"
    steps = (Step(_STEP, StepState.DONE),)
    return Decision(
        Phase.READY, "Ready", message, steps=steps, next_check_s=ctx.timing.recheck_service_s
    )


def _apply_again(ctx: ServicePlanContext) -> Decision | None:
    """Apply our manifests where the document has changed, or a removal was taken back half-way."""
    observed = ctx.observed
    if observed.owner != ctx.us or observed.is_external:
        return None
    if observed.applied_generation != str(ctx.document.generation):
        return _busy(ctx, "Updating", "applying the service's manifests", (InstallService(),))
    if observed.missing:
        text = (
            f"{', '.join(observed.missing)} is missing; the service's manifests are applied again"
        )
        return _busy(ctx, "ObjectsMissing", text, (InstallService(),))
    return None


def _remove(ctx: ServicePlanContext) -> Decision:
    observed = ctx.observed
    if observed.is_external or not observed.is_installed or observed.owner != ctx.us:
        message = "nothing of ours is left" if not observed.leftovers else "some objects are left"
        return Decision(
            Phase.GONE,
            "Removed",
            message,
            steps=(Step(_STEP, StepState.DONE),),
            next_check_s=ctx.timing.recheck_idle_s,
            leftovers=observed.leftovers,
        )
    if observed.in_use_by:
        names = ", ".join(observed.in_use_by[:5])
        text = f"KubeFATE stays until {names} are removed"
        return Decision(Phase.REMOVING, "InUse", text, next_check_s=ctx.timing.recheck_kubefate_s)
    return Decision(
        Phase.REMOVING,
        "Uninstalling",
        "uninstalling KubeFATE",
        actions=(UninstallService(),),
        steps=(Step(_STEP, StepState.RUNNING),),
        next_check_s=ctx.timing.recheck_soon_s,
    )


def _busy(
    ctx: ServicePlanContext, reason: str, message: str, actions: tuple[Action, ...] = ()
) -> Decision:
    phase = Phase.DEGRADED if ctx.state.ready_generation else Phase.INSTALLING
    step = Step(_STEP, StepState.RUNNING, message)
    return Decision(
        phase, reason, message, actions, (step,), next_check_s=ctx.timing.recheck_soon_s
    )


def _stop(
    ctx: ServicePlanContext,
    phase: Phase,
    reason: str,
    message: str,
    *,
    next_check_s: float | None = None,
) -> Decision:
    step = Step(_STEP, StepState.FAILED, message)
    check_s = ctx.timing.recheck_idle_s if next_check_s is None else next_check_s
    return Decision(phase, reason, message, steps=(step,), next_check_s=check_s)
