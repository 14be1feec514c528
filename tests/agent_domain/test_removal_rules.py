"""A removal is judged by the site's policy before anything else is looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fedagent.domain import decision as do
from fedagent.domain.policy import parse_policy
from fedagent.domain.state import Method, Outcome, ResourceState
from fedcore.words import Phase, StepState

DENIED = {"actions": {"remove": "deny"}}
HELD = {"approval": {"remove": "manual"}}


def take_away(world: Any) -> None:
    world.document = replace(
        world.document,
        absent=True,
        generation=world.document.generation + 1,
        body_sha256=f"absent-{world.document.generation + 1}",
    )


def put_back(world: Any, make: Any, parties: tuple[int, ...] = ()) -> None:
    world.document = make(world.document.generation + 1, parties)


@pytest.mark.parametrize("is_up", [True, False])
def test_a_denied_removal_is_refused_whether_kubefate_answers_or_not(
    world: Any, *, is_up: bool
) -> None:
    world.settle()
    world.policy = parse_policy(DENIED)
    world.is_up = is_up
    take_away(world)
    decision = world.decide()
    assert (decision.phase, decision.reason) == (Phase.REFUSED, "actions.remove")
    assert decision.actions == ()
    assert {step.state for step in decision.steps} == {StepState.PENDING}
    assert {step.message for step in decision.steps} == {""}
    for words in ("runs on", "fate-exchange", "2 of 2", "allow `remove`", "restart", "file"):
        assert words in decision.message


@pytest.mark.parametrize("is_up", [True, False])
def test_a_held_removal_waits_for_a_person_whether_kubefate_answers_or_not(
    world: Any, *, is_up: bool
) -> None:
    world.settle()
    world.policy = parse_policy(HELD)
    world.is_up = is_up
    take_away(world)
    decision = world.decide()
    assert (decision.phase, decision.reason) == (Phase.AWAITING_APPROVAL, "Approval.remove")
    assert decision.actions == ()
    assert {step.state for step in decision.steps} == {StepState.PENDING}
    assert "fedagent approve" in decision.message
    world.is_up = True
    world.state = replace(
        world.state, approvals=frozenset({(world.document.body_sha256, "remove")})
    )
    world.settle(Phase.GONE)


@pytest.mark.parametrize("rules", [DENIED, HELD])
def test_what_is_not_there_any_more_needs_no_permission(world: Any, rules: dict[str, Any]) -> None:
    take_away(world)
    world.policy = parse_policy(rules)
    assert world.decide().phase is Phase.GONE
    world.policy = parse_policy({})
    world.document = replace(world.document, absent=False, generation=3)
    world.settle()
    take_away(world)
    world.settle(Phase.GONE)
    world.policy = parse_policy(rules)
    assert world.decide().phase is Phase.GONE


def test_a_removal_needs_leave_to_remove_and_no_other(world: Any) -> None:
    world.settle()
    world.policy = parse_policy({"actions": dict.fromkeys(("install", "update"), "deny")})
    world.lose_database()
    take_away(world)
    world.settle(Phase.GONE)


def test_a_denied_removal_that_is_taken_back_reinstalls_nothing(world: Any, make: Any) -> None:
    world.settle()
    pod, installs = world.pod, list(world.installs)
    world.policy = parse_policy(DENIED)
    take_away(world)
    world.run_for(60)
    put_back(world, make)
    world.settle()
    assert (world.pod, world.installs) == (pod, installs)
    assert [item.method for item in world.state.submissions] == [Method.INSTALL]


def until(world: Any, reached: Any) -> None:
    for _ in range(100):
        if reached():
            return
        world.step()
    raise AssertionError("it never came to that")


@pytest.mark.parametrize(
    "moment",
    [
        lambda world: world is not None,
        lambda world: world.state.last.method is Method.DELETE,
        lambda world: world.live_job and world.state.last.method is Method.DELETE,
        lambda world: world.record is None,
        lambda world: world.state.last.outcome is Outcome.SUCCEEDED and world.record is None,
        lambda world: not world.namespace.exists,
        lambda world: world.namespace.terminating,
    ],
)
@pytest.mark.parametrize("parties", [(), (7,)])
def test_a_removal_can_be_taken_back_at_any_moment(
    world: Any, make: Any, moment: Any, parties: tuple[int, ...]
) -> None:
    world.lingers_s = 2.0
    world.settle()
    take_away(world)
    until(world, lambda: moment(world))
    put_back(world, make, parties)
    world.settle()
    assert world.table == world.document.tables[0].entries
    assert set(world.served) == set(world.table)
    assert world.secrets
    assert world.namespace.exists


def test_what_is_removed_is_no_more_taken_for_what_people_work_with(world: Any, make: Any) -> None:
    world.settle()
    take_away(world)
    until(world, lambda: world.record is None)
    put_back(world, make)
    assert world.state.ready_generation == 0
    assert world.state.good is None
    world.all_ready = False
    world.until_busy()
    names = {type(action).__name__ for action in world.run_for(200)}
    assert "DetachJob" not in names
    world.all_ready = True
    world.settle()


def test_probes_of_an_exchange_that_was_removed_do_not_count_for_the_new_one(
    world: Any, make: Any
) -> None:
    world.document = make(1, (7,))
    world.settle()
    take_away(world)
    until(world, lambda: world.record is None)
    put_back(world, make, (7,))
    assert world.state.probes == {}
    world.settle()
    assert world.state.probes["7.fed.example.com"].at > world.pod_at


def test_an_install_that_the_removal_cut_off_has_time_to_end_before_the_next(
    world: Any, make: Any
) -> None:
    """KubeFATE's install looks each second for its record, and uninstalls by name without one."""
    world.all_ready = False
    world.until_busy()
    take_away(world)
    until(world, lambda: world.record is None and world.state.open_submission is None)
    gone_at = world.now
    put_back(world, make)
    world.all_ready = True
    world.until_busy()
    assert (world.now - gone_at).total_seconds() >= 3.0
    world.settle()


def test_a_lost_journal_in_an_uninstall_that_is_taken_back_is_got_over(
    world: Any, make: Any
) -> None:
    world.settle()
    take_away(world)
    until(world, lambda: world.live_job)
    put_back(world, make)
    world.state = ResourceState()
    adoptions = [item for item in world.run_for(10) if isinstance(item, do.AdoptSubmission)]
    assert len(adoptions) <= 1
    world.settle()
