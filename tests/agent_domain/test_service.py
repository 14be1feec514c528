"""The plan of a KubeFATE service."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fedagent.domain.decision import Decision, InstallService, UninstallService
from fedagent.domain.document import EndpointDocument
from fedagent.domain.observed import OwnerView, ServiceObserved
from fedagent.domain.plan import plan_endpoint
from fedagent.domain.policy import default_policy, parse_policy
from fedagent.domain.stage import PlanSettings
from fedagent.domain.state import ResourceState
from fedagent.domain.timing import PlanTiming
from fedcore.words import EndpointMode, Phase

DOCUMENT = EndpointDocument(
    resource_id="e-1",
    generation=1,
    digest="d",
    body_sha256="sha",
    absent=False,
    mode=EndpointMode.AUTO,
    namespace="kube-fate",
    service_image="federatedai/kubefate:v1.4.5",
    database_image="mariadb:10",
    storage_class="",
    storage_size="2Gi",
    minimum_version="v1.4.4",
)
OURS = OwnerView("hub-1", "e-1")
THEIRS = OwnerView("hub-2", "e-7")


def decide(document: EndpointDocument = DOCUMENT, **seen: Any) -> Decision:
    policy = seen.pop("policy", default_policy())
    state = seen.pop("state", ResourceState())
    settings = PlanSettings("hub-1", policy, PlanTiming())
    return plan_endpoint(document, ServiceObserved(**seen), state, settings)


def running(owner: OwnerView | None) -> dict[str, Any]:
    return {
        "is_installed": True,
        "owner": owner,
        "is_ready": True,
        "version": "v1.4.5",
        "version_enough": True,
        "applied_generation": "1",
    }


def test_where_there_is_none_it_is_installed_unless_it_shall_be_adopted() -> None:
    assert decide().actions == (InstallService(),)
    waiting = decide(replace(DOCUMENT, mode=EndpointMode.ADOPT))
    assert (waiting.phase, waiting.reason) == (Phase.WAITING, "KubeFateNotFound")


@pytest.mark.parametrize("owner", [OURS, None])
def test_ours_and_nobodys_are_used(owner: OwnerView | None) -> None:
    assert decide(**running(owner)).phase is Phase.READY


def test_another_hubs_is_left_alone_and_named() -> None:
    decision = decide(**running(THEIRS))
    assert (decision.phase, decision.reason) == (Phase.REFUSED, "OwnedByAnother")
    assert "hub-2/e-7" in decision.message
    assert decide(replace(DOCUMENT, absent=True), **running(THEIRS)).phase is Phase.GONE


def test_mode_install_does_not_take_over_a_strangers() -> None:
    decision = decide(replace(DOCUMENT, mode=EndpointMode.INSTALL), **running(None))
    assert decision.reason == "OwnedByAnother"


def test_an_old_version_is_named() -> None:
    decision = decide(**(running(None) | {"version": "v1.4.0", "version_enough": False}))
    assert (decision.phase, decision.reason) == (Phase.FAILED, "VersionTooOld")


def test_a_service_that_falls_silent_is_degraded_not_installing() -> None:
    seen = running(OURS) | {"is_ready": False, "message": "no ready pod"}
    assert decide(**seen).phase is Phase.INSTALLING
    assert decide(**seen, state=ResourceState(ready_generation=1)).phase is Phase.DEGRADED


def test_a_changed_document_applies_the_manifests_again() -> None:
    newer = replace(DOCUMENT, generation=2)
    state = ResourceState(ready_generation=1)
    assert decide(newer, **running(OURS), state=state).actions == (InstallService(),)
    applied = running(OURS) | {"applied_generation": "2"}
    assert decide(newer, **applied, state=state).phase is Phase.READY
    assert decide(newer, **running(None), state=state).phase is Phase.READY


def test_what_our_installation_lacks_is_applied_again() -> None:
    seen = running(OURS) | {"is_ready": False, "version": "", "missing": ("Deployment/mariadb",)}
    decision = decide(**seen)
    assert (decision.reason, decision.actions) == ("ObjectsMissing", (InstallService(),))


@pytest.mark.parametrize(
    ("rules", "phase"),
    [
        ({"actions": {"remove": "deny"}}, Phase.REFUSED),
        ({"approval": {"remove": "manual"}}, Phase.AWAITING_APPROVAL),
    ],
)
def test_a_removal_is_judged_by_the_policy_before_its_users_are_waited_for(
    rules: dict[str, Any], phase: Phase
) -> None:
    absent = replace(DOCUMENT, absent=True)
    users, policy = ("credit/9999",), parse_policy(rules)
    decision = decide(absent, **running(OURS), in_use_by=users, policy=policy)
    assert (decision.phase, decision.actions) == (phase, ())
    assert "KubeFATE runs on in namespace kube-fate" in decision.message
    assert decide(absent, **running(None), policy=policy).phase is Phase.GONE


def test_a_removal_takes_ours_leaves_theirs_and_waits_for_its_users() -> None:
    absent = replace(DOCUMENT, absent=True)
    assert decide(absent, **running(OURS)).actions == (UninstallService(),)
    assert decide(absent, **running(None)).phase is Phase.GONE
    held = decide(absent, **running(OURS), in_use_by=("credit/9999",))
    assert (held.reason, held.actions) == ("InUse", ())


def test_a_site_may_forbid_to_use_what_it_did_not_get_from_us() -> None:
    policy = parse_policy({"actions": {"adopt": "deny"}})
    assert decide(**running(None), policy=policy).reason == "actions.adopt"
    assert decide(**running(OURS), policy=policy).phase is Phase.READY
