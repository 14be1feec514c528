"""The hub's planner: a thousand parties from nothing, one address changed, and how it grows."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from tests.bench.marks import Missing
from tests.planner.strategies import (
    EXCHANGE_ID,
    exchange_report,
    party_report,
    party_resource,
    world,
)

from fedhub.planner.impact import affected_by
from fedhub.planner.plan import PlanInput, plan

__all__ = ["Missing", "measure"]
ROUNDS = 5


def federation(parties: int) -> PlanInput:
    """A federation whose parties all have addresses."""
    ids = range(1, parties + 1)
    return world(
        [{"id": number} for number in ids],
        reports=[
            exchange_report(),
            *(party_report(number, f"10.{number >> 8}.{number & 255}.9") for number in ids),
        ],
    )


def once(parties: int) -> float:
    """Milliseconds for every document of a federation, the best of some rounds."""
    given = federation(parties)
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        documents = plan(given).documents
        times.append((time.perf_counter() - started) * 1000)
        if len(documents) != parties + 1:
            raise RuntimeError(f"{len(documents)} documents for {parties} parties")
    return min(times)


def one_changed(parties: int) -> float:
    """Milliseconds from one party's new address to the documents that change for it."""
    given = federation(parties)
    before = party_report(7, "10.0.7.9")
    times = []
    for number in range(ROUNDS):
        after = party_report(7, f"10.9.9.{number + 1}")
        started = time.perf_counter()
        scope = affected_by(given, party_resource(7), before, after)
        documents = plan(given, scope=scope).documents
        times.append((time.perf_counter() - started) * 1000)
        if [document.resource_id for document in documents] != [EXCHANGE_ID]:
            raise RuntimeError("another document than the exchange's changed")
    return statistics.median(times)


async def measure(_folder: Path) -> dict[str, float]:
    """Measure in this process; blocks its loop, which serves nobody else."""
    small, middle, large = once(10), once(100), once(1_000)
    return {
        "plan_1000_ms": large,
        "plan_one_ms": one_changed(1_000),
        "plan_10_ms": small,
        "plan_100_ms": middle,
        "plan_growth_10_to_1000": large / small / 100,
    }
