"""The plan of a KubeFATE service: adopt what is there, install where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fedagent.domain.decision import (
    Action,
    Decision,
    InstallService,
    Phase,
    Step,
    StepState,
    UninstallService,
)
from fedagent.domain.document import EndpointDocument, EndpointMode
from fedagent.domain.observed import OwnerView, ServiceObserved
from fedagent.domain.stage import CALM_S, SOON_S
from fedagent.domain.state import ResourceState

_STEP: Final = "service"
LOOK_S: Final = 5.0
"""A Ready service is looked at this often. With the worth of others' evidence and the limit of a
question (``kubefate/service.py``) one that has died shows within 15 s.
"""


@dataclass(frozen=True, slots=True)
class GivenService:
    """All that the plan of a service depends on."""

    document: EndpointDocument
    observed: ServiceObserved
    memory: ResourceState
    hub_id: str

    @property
    def us(self) -> OwnerView:
        """The owner that our labels name."""
        return OwnerView(self.hub_id, self.document.resource_id)


def plan_service(given: GivenService) -> Decision:
    """Return what is next for the KubeFATE service."""
    if given.document.absent:
        return _remove(given)
    if given.observed.is_external:
        return _verify(given)
    if given.observed.terminating:
        text = f"namespace {given.document.namespace} is being deleted"
        return _busy(given, "NamespaceTerminating", text)
    return _not_ours(given) or (_verify(given) if given.observed.is_installed else _absent(given))


def _not_ours(given: GivenService) -> Decision | None:
    seen = given.observed
    namespace = given.document.namespace
    if seen.owner is not None and seen.owner != given.us:
        text = f"KubeFATE in namespace {namespace} belongs to {seen.owner}; it is left alone"
        return _stop(Phase.REFUSED, "OwnedByAnother", text)
    stranger = seen.is_installed and seen.owner is None
    if stranger and given.document.mode is EndpointMode.INSTALL:
        text = f"namespace {namespace} holds a KubeFATE that is not ours; mode adopt would use it"
        return _stop(Phase.REFUSED, "OwnedByAnother", text)
    return None


def _absent(given: GivenService) -> Decision:
    namespace = given.document.namespace
    if given.document.mode is EndpointMode.ADOPT:
        text = f"there is no KubeFATE in namespace {namespace}; install one, or choose mode auto"
        return _stop(Phase.WAITING, "KubeFateNotFound", text, next_check_s=10.0)
    text = f"installing KubeFATE in namespace {namespace}"
    return _busy(given, "Installing", text, (InstallService(),))


def _verify(given: GivenService) -> Decision:
    seen = given.observed
    again = _apply_again(given)
    if again is not None:
        return again
    if not seen.is_ready:
        reason = "KubeFateUnavailable" if given.memory.ready_generation else "KubeFateStarting"
        return _busy(given, reason, seen.message or "KubeFATE does not answer yet")
    if not seen.version_enough:
        text = f"KubeFATE {seen.version} is older than {given.document.minimum_version}"
        return _stop(Phase.FAILED, "VersionTooOld", f"{text}; upgrade it")
    how = "installed" if seen.owner == given.us else "adopted"
    message = f"KubeFATE {seen.version} answers ({how}, reached by {seen.access})"
    steps = (Step(_STEP, StepState.DONE),)
    return Decision(Phase.READY, "Ready", message, steps=steps, next_check_s=LOOK_S)


def _apply_again(given: GivenService) -> Decision | None:
    """Apply our manifests where the document has changed, or a removal was taken back half-way."""
    seen = given.observed
    if seen.owner != given.us or seen.is_external:
        return None
    if seen.applied_generation != str(given.document.generation):
        return _busy(given, "Updating", "applying the service's manifests", (InstallService(),))
    if seen.missing:
        text = f"{', '.join(seen.missing)} is missing; the service's manifests are applied again"
        return _busy(given, "ObjectsMissing", text, (InstallService(),))
    return None


def _remove(given: GivenService) -> Decision:
    seen = given.observed
    if seen.is_external or not seen.is_installed or seen.owner != given.us:
        message = "nothing of ours is left" if not seen.leftovers else "some objects are left"
        return Decision(
            Phase.GONE,
            "Removed",
            message,
            steps=(Step(_STEP, StepState.DONE),),
            next_check_s=CALM_S,
            leftovers=seen.leftovers,
        )
    if seen.in_use_by:
        names = ", ".join(seen.in_use_by[:5])
        text = f"KubeFATE stays until {names} are removed"
        return Decision(Phase.REMOVING, "InUse", text, next_check_s=5.0)
    return Decision(
        Phase.REMOVING,
        "Uninstalling",
        "uninstalling KubeFATE",
        actions=(UninstallService(),),
        steps=(Step(_STEP, StepState.RUNNING),),
        next_check_s=SOON_S,
    )


def _busy(
    given: GivenService, reason: str, message: str, actions: tuple[Action, ...] = ()
) -> Decision:
    phase = Phase.DEGRADED if given.memory.ready_generation else Phase.INSTALLING
    step = Step(_STEP, StepState.RUNNING, message)
    return Decision(phase, reason, message, actions, (step,), next_check_s=SOON_S)


def _stop(phase: Phase, reason: str, message: str, *, next_check_s: float = CALM_S) -> Decision:
    step = Step(_STEP, StepState.FAILED, message)
    return Decision(phase, reason, message, steps=(step,), next_check_s=next_check_s)
