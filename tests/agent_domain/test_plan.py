"""The participant's plan, case by case."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fedagent.domain import decision as do
from fedagent.domain.document import RouteEntry
from fedagent.domain.observed import NamespaceView, OwnerView, RecordState, SecretView
from fedagent.domain.policy import parse_policy
from fedagent.domain.state import Method, Outcome
from fedcore.words import Phase, ProbeState, RepairPolicy, StepState

EVIL = (RouteEntry("evil.example.com", "10.9.9.9", 443),)


def kinds(decision: do.Decision) -> list[str]:
    return [type(action).__name__ for action in decision.actions]


def test_the_steps_follow_each_other_and_end_ready(world: Any) -> None:
    seen: list[str] = []
    for _ in range(40):
        decision = world.step()
        seen += kinds(decision)
        if decision.phase is Phase.READY:
            break
    assert seen == [
        "EnsureNamespace",
        "IssueCertificate",
        "UploadChart",
        "Submit",
        "EndSubmission",
        "NoteProxy",
    ]
    assert [step.name for step in decision.steps] == [
        "namespace",
        "certificates",
        "chart",
        "install",
        "components",
        "addresses",
        "routes",
        "proxies",
    ]
    assert all(step.state is StepState.DONE for step in decision.steps)


def test_a_ready_participant_has_nothing_to_do(world: Any) -> None:
    world.settle()
    assert world.decide().actions == ()
    assert world.decide() == world.decide()


def test_an_install_whose_answer_was_lost_is_taken_up_not_repeated(world: Any) -> None:
    world.crash = "after"
    world.settle()
    assert world.installs == ["1.1"]


def test_an_install_that_never_arrived_is_sent_again_after_a_while(world: Any) -> None:
    world.crash = "before"
    world.settle()
    assert world.installs == ["1.2"]


def test_several_changes_become_one_update(world: Any, make: Any) -> None:
    world.settle()
    world.document = make(2, (1,))
    world.step()
    for generation in (3, 4, 5):
        world.document = make(generation, tuple(range(generation)))
    world.settle()
    methods = [item.method for item in world.state.submissions]
    assert methods == [Method.INSTALL, Method.UPDATE, Method.UPDATE]


def test_a_removed_route_is_proven_gone_and_an_added_one_served(world: Any, make: Any) -> None:
    world.document = make(1, (1, 2))
    world.settle()
    world.document = make(2, (2, 3))
    world.settle()
    states = {key: probe.state for key, probe in world.state.probes.items()}
    assert states == {
        "1.fed.example.com": ProbeState.NOT_SERVED,
        "2.fed.example.com": ProbeState.REACHABLE,
        "3.fed.example.com": ProbeState.REACHABLE,
    }


def test_a_moved_route_is_not_proven_by_the_old_one_that_still_answers(
    world: Any, make: Any
) -> None:
    """The party's certificate is the same at both addresses: time alone tells them apart."""
    world.document = make(1, (1, 2))
    world.settle()
    world.document = make(2, (1, 2), base_port=31_000)
    reloaded_at = None
    for _ in range(200):
        decision = world.decide()
        if decision.phase is Phase.READY and reloaded_at is not None:
            break
        for action in decision.actions:
            if isinstance(action, do.ReloadProxy):
                reloaded_at = world.now
                world.note(replace(action.note, applied_at=world.now))
            else:
                world.do(action)
        world.tick(0.1 if decision.actions else decision.next_check_s)
    assert decision.phase is Phase.READY
    assert world.now - reloaded_at >= timedelta(seconds=7.5)
    assert world.now - reloaded_at <= timedelta(seconds=9)


def test_an_added_route_proves_that_the_whole_table_is_taken(world: Any, make: Any) -> None:
    world.document = make(1, (1,))
    world.settle()
    world.document = make(2, (1, 2), base_port=31_000)
    reloaded_at = None
    for _ in range(200):
        decision = world.decide()
        if decision.phase is Phase.READY and reloaded_at is not None:
            break
        for action in decision.actions:
            if isinstance(action, do.ReloadProxy):
                reloaded_at = world.now
            world.do(action)
        world.tick(0.1 if decision.actions else decision.next_check_s)
    assert world.now - reloaded_at < timedelta(seconds=2)


def test_a_reload_that_is_lost_ends_in_one_restart(world: Any, make: Any) -> None:
    world.settle()
    world.document = make(2, (1,))
    restarts = 0
    for _ in range(300):
        decision = world.decide()
        for action in decision.actions:
            restarts += isinstance(action, do.RestartProxy)
            if isinstance(action, do.ReloadProxy):
                world.note(replace(action.note, applied_at=world.now))
            else:
                world.do(action)
        if decision.phase is Phase.READY and world.state.ready_generation == 2:
            break
        world.tick(0.1 if decision.actions else decision.next_check_s)
    assert restarts == 1
    assert world.state.probes["1.fed.example.com"].state == ProbeState.REACHABLE


def test_a_proxy_that_never_serves_is_reported_and_restarted_only_once(
    world: Any, make: Any
) -> None:
    world.settle()
    world.document = make(2, (1,))
    restarts = 0
    for _ in range(600):
        decision = world.decide()
        for action in decision.actions:
            restarts += isinstance(action, do.RestartProxy)
            world.do(action)
            world.served = ()
        world.tick(0.1 if decision.actions else decision.next_check_s)
    assert decision.phase is Phase.DEGRADED
    assert decision.reason == "RouteNotServed"
    assert restarts == 1


def test_a_rollback_to_the_wrong_revision_is_put_right_by_a_new_attempt(
    world: Any, make: Any
) -> None:
    world.settle()
    world.document = make(2, (1,))
    world.job_fails = "UPGRADE FAILED: connection refused"
    world.settle()
    assert [item.revision for item in world.state.submissions] == ["1.1", "2.1", "2.2"]
    assert {item.key for item in world.served} >= {"1.fed.example.com"}


@pytest.mark.parametrize(
    ("text", "code", "tries"),
    [
        ("helm install error, template: fate:1: nil pointer", "ChartRefused", 3),
        ('failed to download "kubefate/fate-exchange" at version "v1.8.0"', "ChartMissing", 3),
        ("exceeded quota: compute", "QuotaExceeded", 3),
        ("Service is invalid: provided port is already allocated", "NodePortTaken", 3),
        ("something nobody knows", "HelmFailed", 5),
    ],
)
def test_a_lasting_failure_is_named_after_some_tries(
    world: Any, make: Any, text: str, code: str, tries: int
) -> None:
    for _ in range(400):
        world.job_fails = text
        decision = world.step()
        if decision.phase is Phase.FAILED:
            break
    assert (decision.phase, decision.reason) == (Phase.FAILED, code)
    assert len(world.installs) == tries
    world.job_fails = ""
    world.document = make(2)
    world.settle()


def test_a_transient_failure_is_tried_for_ever_and_retry_forgives(world: Any) -> None:
    for _ in range(200):
        world.job_fails = "another operation (install/upgrade/rollback) is in progress"
        decision = world.step()
        assert decision.phase is not Phase.FAILED
    assert len(world.installs) > 5
    world.job_fails = ""
    world.state = replace(world.state, retried_at=world.now)
    world.settle()


def test_a_job_that_the_service_forgot_to_end_is_got_over(world: Any) -> None:
    world.until_busy()
    world.restart_service()
    world.settle()
    assert next(item.outcome for item in world.state.submissions) is Outcome.STUCK


def test_a_lost_database_is_repaired_without_a_new_pod(world: Any, make: Any) -> None:
    world.settle()
    pod = world.pod
    world.lose_database()
    world.settle()
    assert world.pod == pod
    assert world.record is not None
    assert world.forgotten == 1


def test_a_lost_database_is_only_told_when_repairs_are_left_to_people(
    world: Any, make: Any
) -> None:
    world.document = make(repair=RepairPolicy.REPORT)
    world.settle()
    world.lose_database()
    decision = world.decide()
    assert (decision.phase, decision.reason) == (Phase.DEGRADED, "DatabaseLost")
    assert decision.actions == ()


@pytest.mark.parametrize("repair", list(RepairPolicy))
def test_a_hand_edited_table_is_put_right_or_told(
    world: Any, make: Any, repair: RepairPolicy
) -> None:
    world.document = make(repair=repair)
    world.settle()
    world.tick(60)
    world.table = EVIL
    decision = world.decide()
    assert (decision.phase, decision.reason) == (Phase.DEGRADED, "Drift")
    if repair is RepairPolicy.REPORT:
        assert decision.actions == ()
    else:
        world.settle()
        assert world.table != EVIL


def test_nothing_of_another_owner_is_touched_and_the_owner_is_named(world: Any) -> None:
    world.namespace = NamespaceView(exists=True, owner=OwnerView("hub-2", "p-9"))
    decision = world.decide()
    assert (decision.phase, decision.reason) == (Phase.REFUSED, "OwnedByAnother")
    assert "hub-2/p-9" in decision.message
    assert decision.actions == ()
    world.document = replace(world.document, absent=True)
    assert world.decide().phase is Phase.GONE


def test_a_secret_of_somebody_else_is_not_overwritten(world: Any) -> None:
    world.step()
    world.secrets["traffic-server-cert"] = SecretView("traffic-server-cert", None)
    decision = world.decide()
    assert decision.reason == "OwnedByAnother"
    assert decision.actions == ()


def test_a_certificate_is_renewed_in_time_and_its_reader_restarted(world: Any) -> None:
    world.settle()
    world.tick(18 * 86_400)
    early = kinds(world.decide())
    world.tick(4 * 86_400)
    assert "IssueCertificate" not in early
    decision = world.decide()
    assert decision.phase is Phase.READY
    assert kinds(decision) == ["IssueCertificate"]
    pod = world.pod
    world.step()
    world.settle()
    assert world.pod != pod


def test_a_participant_whose_service_is_down_stays_ready_and_says_so(world: Any) -> None:
    world.settle()
    world.is_up = False
    decision = world.decide()
    assert decision.phase is Phase.READY
    assert [item.code for item in decision.findings] == ["KubeFateUnavailable"]


def test_a_change_waits_for_the_service(world: Any, make: Any) -> None:
    world.settle()
    world.is_up = False
    world.document = make(2, (1,))
    decision = world.decide()
    assert (decision.phase, decision.reason) == (Phase.RECONFIGURING, "KubeFateUnavailable")
    world.is_up = True
    world.settle()


def test_a_removal_leaves_nothing(world: Any) -> None:
    world.settle()
    world.document = replace(world.document, absent=True, generation=2)
    decision = world.settle(Phase.GONE)
    assert not world.namespace.exists
    assert not world.secrets
    assert world.record is None
    assert decision.leftovers == ()


def test_a_removal_waits_for_the_service_and_says_so(world: Any) -> None:
    world.settle()
    world.is_up = False
    world.document = replace(world.document, absent=True, generation=2)
    decision = world.decide()
    assert (decision.phase, decision.reason) == (Phase.REMOVING, "KubeFateUnavailable")
    world.is_up = True
    world.settle(Phase.GONE)


def test_a_removal_goes_on_without_a_record(world: Any) -> None:
    world.settle()
    world.lose_database()
    world.document = replace(world.document, absent=True, generation=2)
    world.settle(Phase.GONE)
    assert not world.pod
    assert not world.namespace.exists


def test_a_stranger_that_is_seen_only_with_rights_in_the_namespace_stops_the_install(
    world: Any,
) -> None:
    world.namespace = NamespaceView(exists=True, owner=world.us)
    observed = replace(world.observe(), foreign=("Pod/log-x2",))
    decision = world.decide(observed)
    assert (decision.phase, decision.reason) == (Phase.REFUSED, "OwnedByAnother")
    assert "Pod/log-x2" in decision.message
    world.settle()
    decision = world.decide(replace(world.observe(), foreign=("Pod/log-x2",)))
    assert decision.phase is Phase.READY


def test_a_namespace_that_was_there_is_handed_back(world: Any) -> None:
    world.namespace = NamespaceView(exists=True)
    world.settle()
    world.document = replace(world.document, absent=True, generation=2)
    world.settle(Phase.GONE)
    assert world.namespace == NamespaceView(exists=True)
    assert not world.secrets


def test_the_policy_refuses_by_name(world: Any) -> None:
    world.policy = parse_policy({"namespaces": ["bank-*"]})
    decision = world.decide()
    assert (decision.phase, decision.reason) == (Phase.REFUSED, "namespaces")
    world.policy = parse_policy({"actions": {"install": "deny"}})
    decision = world.decide()
    assert (decision.phase, decision.reason) == (Phase.REFUSED, "actions.install")
    assert decision.actions == ()


def test_a_manual_step_waits_for_a_person(world: Any) -> None:
    world.policy = parse_policy({"approval": {"install": "manual"}})
    decision = world.decide()
    assert decision.phase is Phase.AWAITING_APPROVAL
    assert decision.actions == ()
    world.state = replace(
        world.state, approvals=frozenset({(world.document.body_sha256, "install")})
    )
    world.settle()


def test_consent_to_one_text_covers_no_other_text_of_that_generation(world: Any) -> None:
    world.policy = parse_policy({"approval": {"install": "manual"}})
    world.state = replace(
        world.state, approvals=frozenset({(world.document.body_sha256, "install")})
    )
    assert world.decide().phase is not Phase.AWAITING_APPROVAL
    world.document = replace(world.document, body_sha256="another")
    assert world.decide().phase is Phase.AWAITING_APPROVAL


def test_a_lost_journal_costs_nothing_but_a_reload(world: Any, make: Any) -> None:
    world.settle()
    world.document = make(2, (1,))
    world.settle()
    world.tick(60)
    world.lose_journal()
    installs, pod = list(world.installs), world.pod
    world.settle()
    assert (world.installs, world.pod) == (installs, pod)


def test_a_lost_journal_in_an_install_follows_the_job_that_runs(world: Any) -> None:
    world.until_busy()
    world.lose_journal()
    world.settle()
    assert world.installs == ["1.1"]


def test_an_install_that_cannot_succeed_is_stopped_for_a_newer_document(
    world: Any, make: Any
) -> None:
    world.all_ready = False
    world.until_busy()
    world.document = make(2)
    decision = world.step()
    assert "StopJob" not in kinds(decision)
    world.now += timedelta(minutes=4)
    world.jobs[world.live_job] = replace(world.jobs[world.live_job], changed_at=world.now)
    assert kinds(world.decide()) == ["StopJob"]
    world.step()
    world.all_ready = True
    world.settle()
    assert world.installs[-1].startswith("2.")


def test_what_keeps_an_install_from_ending_is_the_reason_while_kubefate_waits(world: Any) -> None:
    world.all_ready = False
    world.until_busy()
    world.run_for(5)
    pods = (replace(world.observe().pods[0], unready=(("ats", world.now),), is_ready=False),)
    seen = replace(world.observe(), pods=pods)
    assert world.decide(seen).reason == "JobRunning"
    world.now += timedelta(minutes=4)
    world.jobs[world.live_job] = replace(world.jobs[world.live_job], changed_at=world.now)
    decision = world.decide(replace(world.observe(), pods=pods))
    assert (decision.phase, decision.reason) == (Phase.DEPLOYING, "NotBecomingReady")
    assert "KubeFATE is installing: 0 of 2" in decision.message
    assert "ats runs and has not been ready for 4 min" in decision.message


def test_a_half_made_record_is_removed_before_the_next_install(world: Any) -> None:
    world.until_busy()
    world.restart_service()
    world.settle()
    assert world.record is not None
    assert world.record.state is RecordState.RUNNING
