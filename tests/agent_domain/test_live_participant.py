"""A participant that people work with is never destroyed by what mends its records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fedagent.domain import decision as do
from fedagent.domain.state import Method
from fedcore.words import Phase


def keys(world: Any) -> list[str]:
    return [item.key for item in world.table]


def test_a_lost_database_is_taken_up_with_what_last_worked_and_changed_afterwards(
    world: Any, make: Any
) -> None:
    world.settle()
    pod = world.pod
    world.lose_database()
    world.document = make(2, (9999,))

    world.settle()

    after = [(item.method, item.revision) for item in world.state.submissions[1:]]
    assert after == [(Method.INSTALL, "1.2"), (Method.UPDATE, "2.1")]
    assert world.pod == pod
    assert "9999.fed.example.com" in keys(world)


def test_a_lost_database_and_a_document_that_fails_leave_what_runs(world: Any, make: Any) -> None:
    world.settle()
    pod = world.pod
    world.lose_database()
    world.document = make(2, (9999,))
    world.always_fails_at = 2

    world.settle(Phase.FAILED)

    assert world.pod == pod
    assert world.record is not None
    assert keys(world) == ["sentinel.fed.example.com"]


def test_an_install_over_a_live_participant_is_let_go_and_never_stopped(
    world: Any, make: Any
) -> None:
    world.settle()
    pod = world.pod
    world.lose_database()
    world.all_ready = False
    world.until_busy()
    world.document = make(2, (9999,))

    actions = world.run_for(300)

    assert not [item for item in actions if isinstance(item, do.StopJob)]
    assert [type(item) for item in actions].count(do.DetachJob) == 1
    assert world.pod == pod
    assert "9999.fed.example.com" in keys(world)


def test_what_helm_left_half_done_over_a_live_participant_is_forgotten_not_uninstalled(
    world: Any,
) -> None:
    world.settle()
    pod = world.pod
    world.lose_database()
    world.until_busy()
    world.releases = [("pending-install", world.table, world.now)]
    world.restart_service()

    world.settle()

    assert world.pod == pod


@pytest.mark.parametrize("tries", [1, 2])
def test_an_update_that_is_given_up_leaves_what_last_worked_in_force(
    world: Any, make: Any, tries: int
) -> None:
    world.settle()
    for generation in range(2, 2 + tries):
        world.document = make(generation, tuple(range(1, generation)))
        world.settle()
    wanted, pod = keys(world), world.pod
    world.document = make(9, (1, 2, 3, 4))
    world.always_fails_at = 9

    decision = world.settle(Phase.FAILED)

    assert decision.reason == "NodePortTaken"
    assert "in force" in decision.message
    assert keys(world) == wanted
    assert world.pod == pod
    sent = len(world.state.submissions)
    world.run_for(600)
    assert len(world.state.submissions) == sent
    world.always_fails_at = 0
    world.document = make(10, (1, 2, 3))
    world.settle()
    assert "3.fed.example.com" in keys(world)


def test_a_deletion_that_finds_no_release_has_done_what_it_should(world: Any) -> None:
    world.settle()
    world.document = replace(world.document, generation=2, absent=True)
    world.releases = []

    world.settle(Phase.GONE)

    assert not world.state.failures(2)
