"""Random walks: whatever happened before, when things calm down the plan comes true."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedagent.domain import decision as do
from fedagent.domain.document import Chart
from fedagent.domain.policy import parse_policy
from fedcore.words import Phase

TROUBLES = (
    "step",
    "step",
    "step",
    "step",
    "tick",
    "crash-before",
    "crash-after",
    "restart",
    "down",
    "up",
    "database",
    "journal",
    "fail",
    "edit",
    "secret",
    "pod",
    "change",
    "absent",
    "back",
    "back",
)


def disturb(world: Any, make: Any, what: str, rng: random.Random) -> None:
    moves: dict[str, Callable[[], object]] = {
        "step": world.step,
        "tick": lambda: world.tick(rng.choice((0.5, 5.0, 90.0))),
        "crash-before": lambda: setattr(world, "crash", "before"),
        "crash-after": lambda: setattr(world, "crash", "after"),
        "restart": world.restart_service,
        "down": lambda: setattr(world, "is_up", False),
        "up": lambda: setattr(world, "is_up", True),
        "database": world.lose_database,
        "journal": world.lose_journal,
        "fail": lambda: setattr(world, "job_fails", "etcdserver: request timed out"),
        "edit": lambda: setattr(world, "table", () if world.table is not None else None),
        "secret": world.secrets.clear,
        "pod": lambda: world.new_pod() if world.pod else None,
        "change": lambda: change(world, make, rng, absent=False),
        "absent": lambda: change(world, make, rng, absent=True),
        "back": lambda: flip(world),
    }
    moves[what]()


def change(world: Any, make: Any, rng: random.Random, *, absent: bool) -> None:
    parties = tuple(sorted(rng.sample(range(1, 6), rng.randint(0, 4))))
    chart = Chart("fate-exchange", rng.choice(("v1.8.0", "v1.9.2")), "ab", from_hub=True)
    newer = make(world.document.generation + 1, parties, chart=chart)
    world.document = replace(newer, absent=absent)


def flip(world: Any) -> None:
    """Remove what is wanted, or take its removal back: the same text, one generation on."""
    generation = world.document.generation + 1
    world.document = replace(
        world.document,
        generation=generation,
        absent=not world.document.absent,
        body_sha256=f"flip-{generation}",
    )


def calm(world: Any) -> None:
    world.is_up = True
    world.crash = ""
    world.job_fails = ""
    wanted = Phase.GONE if world.document.absent else Phase.READY
    world.settle(wanted, steps=600)
    decision = world.decide()
    assert decision.phase is wanted
    assert [item for item in decision.actions if not isinstance(item, do.ProbeRoutes)] == []
    assert world.decide() == decision
    if world.document.absent:
        assert not world.namespace.exists
        assert world.record is None
        assert not world.pod
    else:
        assert world.table == world.document.tables[0].entries
        assert set(world.served) == set(world.table)
        assert world.chart_version == world.document.chart.version


SEEDED = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@settings(SEEDED, max_examples=150)
@given(walk=st.lists(st.sampled_from(TROUBLES), max_size=40), seed=st.integers(0, 1000))
def test_every_walk_ends_as_planned(new_world: Any, make: Any, walk: list[str], seed: int) -> None:
    rng = random.Random(seed)
    world = new_world(lingers_s=rng.choice((0.0, 3.0)))
    for what in walk:
        disturb(world, make, what, rng)
    calm(world)


@settings(SEEDED, max_examples=100)
@given(
    walk=st.lists(
        st.sampled_from(("step", "step", "tick", "down", "up", "journal", "back", "back")),
        max_size=40,
    ),
    seed=st.integers(0, 1000),
)
def test_where_removals_are_denied_nothing_is_ever_taken_away_or_put_up_again(
    new_world: Any, make: Any, walk: list[str], seed: int
) -> None:
    world = new_world(policy=parse_policy({"actions": {"remove": "deny"}}))
    rng = random.Random(seed)
    world.settle()
    pod, jobs = world.pod, dict(world.jobs)
    for what in walk:
        disturb(world, make, what, rng)
    world.is_up = True
    world.settle(Phase.REFUSED if world.document.absent else Phase.READY)
    assert (world.pod, world.jobs) == (pod, jobs)


@settings(SEEDED, max_examples=100)
@given(
    walk=st.lists(
        st.sampled_from(("step", "step", "tick", "crash-before", "crash-after", "down", "up")),
        max_size=40,
    ),
    seed=st.integers(0, 1000),
)
def test_crashes_and_outages_never_make_a_second_install(
    new_world: Any, make: Any, walk: list[str], seed: int
) -> None:
    world = new_world()
    rng = random.Random(seed)
    for what in walk:
        disturb(world, make, what, rng)
    calm(world)
    assert len(world.installs) == 1


@pytest.mark.parametrize("boundary", range(12))
def test_a_kill_at_every_step_boundary_ends_ready_with_one_install(
    world: Any, boundary: int
) -> None:
    for _ in range(boundary):
        world.step()
    world.decide()
    world.settle()
    assert world.installs == ["1.1"]
