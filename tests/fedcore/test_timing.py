"""Waits as values, and what of them a test may hurry."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.backoff import Backoff
from fedcore.timing import scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    poll_s: float = 12.0
    request_limit_s: float = 30.0
    retry_count: int = 4
    backoff_s: tuple[float, ...] = (6.0, 60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    backoff: Backoff = Backoff(base_s=6.0, cap_s=60.0)
    spread_factor: float = 3.0


def test_intervals_are_hurried_at_every_depth_and_limits_and_counts_stay() -> None:
    assert scaled(Outer(), 6) == Outer(
        inner=Inner(poll_s=2.0, backoff_s=(1.0, 10.0)), backoff=Backoff(base_s=1.0, cap_s=10.0)
    )


@given(st.integers(0, 10_000), st.integers())
def test_jitter_stays_between_nothing_and_the_cap(attempt: int, seed: int) -> None:
    backoff = Backoff(base_s=1.0, cap_s=60.0)
    assert backoff.wait_s(attempt) == min(60.0, 2.0 ** min(attempt, 32))
    assert 0.0 <= backoff.jittered_s(attempt, random.Random(seed)) <= backoff.wait_s(attempt)


def test_waits_double_up_to_the_cap() -> None:
    waits = [Backoff(base_s=0.5, cap_s=3.0).wait_s(attempt) for attempt in range(5)]
    assert waits == pytest.approx([0.5, 1.0, 2.0, 3.0, 3.0])
