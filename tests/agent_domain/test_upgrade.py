"""A live participant gets another chart: shown as Upgrading, and taken back when it fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fedagent.domain.document import Chart
from fedagent.domain.state import Method
from fedcore.words import Phase

OLD = Chart("fate-exchange", "v1.8.0", "ab", from_hub=True)
NEW = Chart("fate-exchange", "v1.9.2", "cd", from_hub=True)
BUSY = {Phase.DEPLOYING, Phase.RECONFIGURING, Phase.UPGRADING, Phase.DEGRADED}


def busy_phases(world: Any) -> set[Phase]:
    """Step until it is Ready; return the phases that showed work."""
    phases = set()
    for _ in range(400):
        decision = world.step()
        phases.add(decision.phase)
        if decision.phase is Phase.READY:
            return phases & BUSY
    raise AssertionError("it did not become Ready")


@pytest.mark.parametrize(
    "chart", [NEW, replace(OLD, sha256="cd")], ids=["another version", "another archive"]
)
def test_another_chart_of_a_live_participant_shows_as_upgrading(
    world: Any, make: Any, chart: Chart
) -> None:
    world.settle()
    world.document = make(2, chart=chart)
    world.has_chart = False
    assert busy_phases(world) == {Phase.UPGRADING}
    assert world.chart_version == chart.version


def test_a_change_with_the_same_chart_shows_as_reconfiguring(world: Any, make: Any) -> None:
    world.settle()
    world.document = make(2, (9999,))
    assert busy_phases(world) == {Phase.RECONFIGURING}


def test_a_digest_that_one_side_does_not_know_is_no_upgrade(world: Any, make: Any) -> None:
    world.document = make(chart=replace(OLD, sha256="", from_hub=False))
    world.settle()
    world.document = make(2, (9999,))
    world.has_chart = True
    assert busy_phases(world) == {Phase.RECONFIGURING}


def test_a_first_install_shows_as_deploying_whatever_its_chart(world: Any) -> None:
    assert busy_phases(world) == {Phase.DEPLOYING}


def test_a_chart_that_cannot_be_upgraded_to_gives_way_to_the_one_that_worked(
    world: Any, make: Any
) -> None:
    world.settle()
    world.document = make(2, (9999,))
    world.settle()
    good, pod = world.table, world.pod
    world.document = make(3, (9999, 10000), chart=NEW)
    world.always_fails_at = 3

    decision = world.settle(Phase.FAILED)

    assert "Generation 2, which last worked, is in force" in decision.message
    assert (world.chart_version, world.table) == (OLD.version, good)
    assert world.pod == pod


def test_the_old_chart_is_not_sent_over_a_record_of_the_new_one(world: Any, make: Any) -> None:
    """KubeFATE refuses to downgrade, and would leave the record half changed."""
    world.settle()
    world.document = make(2, chart=NEW)
    world.always_fails_at = 2
    world.restores_spec = False

    world.settle(Phase.FAILED)

    sent = [item.generation for item in world.state.submissions if item.method is Method.UPDATE]
    assert set(sent) == {2}


def test_another_archive_of_the_same_version_is_not_taken_for_what_worked(
    world: Any, make: Any
) -> None:
    world.settle()
    world.document = make(2, (9999,), chart=replace(OLD, sha256="cd"))
    world.always_fails_at = 2

    world.settle(Phase.FAILED)

    sent = [item.generation for item in world.state.submissions if item.method is Method.UPDATE]
    assert set(sent) == {2}
