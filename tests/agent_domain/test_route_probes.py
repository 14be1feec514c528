"""Which handshakes count, and what is told of a party that does not answer as itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fedagent.domain import decision as do
from fedagent.domain.route_probes import probed_routes
from fedagent.domain.state import Probe
from fedcore.words import Phase, ProbeState, Severity

KEY = "1.fed.example.com"


def counted(world: Any) -> tuple[Probe, ...]:
    routes = probed_routes(world.document, world.state, world.timing)
    assert routes is not None
    return routes.counted()


class Shown:
    """Answers for the proxy: what a route shows, and when the proxy takes its table."""

    def __init__(self, world: Any, state: str, *, foreign: bool = False) -> None:
        self.world = world
        self.answer = (state, foreign)
        self.before = (ProbeState.REACHABLE, False)
        self.taken_after_s = 0.0
        self.applied_at = world.now
        self.counted: list[str] = []

    def run(self, seconds: float) -> do.Decision:
        """Step for so long; note which probe of the route counts, at each step."""
        world, end = self.world, self.world.now.timestamp() + seconds
        while True:
            decision = world.decide()
            for action in decision.actions:
                self.do(action)
            found = [item.state for item in counted(world)]
            self.counted += found
            if world.now.timestamp() >= end:
                return decision
            world.tick(0.1 if decision.actions else min(decision.next_check_s, 5.0))

    def do(self, action: do.Action) -> None:
        world = self.world
        if isinstance(action, do.ReloadProxy):
            self.applied_at = world.now
            world.note(replace(action.note, applied_at=world.now))
        elif isinstance(action, do.ProbeRoutes):
            taken = (world.now - self.applied_at).total_seconds() >= self.taken_after_s
            state, foreign = self.answer if taken else self.before
            probes = dict(world.state.probes)
            for key in action.keys:
                old = probes.get(key)
                same = old is not None and old.state == state
                since = (old.since or old.at) if same else world.now
                probes[key] = Probe(
                    key, state, "as seen", world.now, action.table_digest, foreign, since
                )
            world.state = replace(world.state, probes=probes)
        else:
            world.do(action)


def test_a_route_that_moved_to_a_wrong_certificate_is_never_told_proven(
    world: Any, make: Any
) -> None:
    world.document = make(1, (1,))
    world.settle()
    world.document = make(2, (1,), base_port=31_000)
    shown = Shown(world, ProbeState.PARTY_DOWN, foreign=True)
    shown.taken_after_s = 6.0
    decision = shown.run(20)
    assert set(shown.counted) == {ProbeState.PARTY_DOWN}
    assert decision.phase is Phase.READY
    (finding,) = decision.findings
    assert (finding.code, finding.severity) == ("WrongPartyCertificate", Severity.WARNING)
    assert "party 1 at 10.0.0.9:31001: as seen" in finding.message
    assert "fedctl routes" in finding.hint
    assert finding.about == f"Route/{KEY}"


def test_a_party_that_is_silent_is_told_after_it_had_time_to_start(world: Any, make: Any) -> None:
    world.document = make(1, (1,))
    shown = Shown(world, ProbeState.PARTY_DOWN)
    assert shown.run(20).findings == ()
    decision = shown.run(30)
    assert decision.phase is Phase.READY
    assert [item.code for item in decision.findings] == ["PartyUnreachable"]
    shown.answer = (ProbeState.REACHABLE, False)
    assert shown.run(20).findings == ()


def test_a_probe_of_the_old_table_does_not_count_after_a_long_pause(world: Any, make: Any) -> None:
    world.document = make(1, (1,))
    world.settle()
    world.document = make(2, (1,), base_port=31_000)
    shown = Shown(world, ProbeState.NOT_SERVED)
    shown.taken_after_s = 6.0
    shown.run(5)
    world.tick(600)
    assert counted(world) == ()
    assert world.decide().phase is not Phase.READY
