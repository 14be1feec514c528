"""The marks: what each figure should reach on two cores."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """A figure's unit and the value that it should not exceed (or fall below)."""

    unit: str
    mark: float
    at_least: bool = False


MARKS: dict[str, Mark] = {
    "exchange_overhead_s": Mark("s", 1.5),
    "party_overhead_s": Mark("s", 2.0),
    "route_serving_s": Mark("s", 8.0),
    "tunnels_cut": Mark("count", 0),
    "kubefate_requests_per_party": Mark("count", 10),
    "ten_parties_s": Mark("s", 15.0),
    "ten_parties_routed": Mark("count", 10, at_least=True),
    "party_removed_s": Mark("s", 5.0),
    "list_1000_ms": Mark("ms", 100.0),
    "page_100_ms": Mark("ms", 20.0),
    "intent_to_agent_p50_ms": Mark("ms", 50.0),
    "intent_to_agent_p99_ms": Mark("ms", 250.0),
    "agents_1000_core_percent": Mark("%", 10.0),
    "agents_1000_rss_mb": Mark("MB", 400.0),
    "plan_1000_ms": Mark("ms", 500.0),
    "plan_one_ms": Mark("ms", 20.0),
    "quickstart_s": Mark("s", 30.0),
    "rss_hub_mb": Mark("MB", 150.0),
    "rss_agent_mb": Mark("MB", 120.0),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value beside its mark."""

    name: str
    value: float
    unit: str
    mark: float | None
    ok: bool

    def as_dict(self) -> dict[str, object]:
        """Return the figure for JSON."""
        return asdict(self)

    def line(self) -> str:
        """Return the figure for people."""
        mark = "" if self.mark is None else f"mark {self.mark:g}"
        verdict = "" if self.ok else "MISSED"
        return f"{self.name:30} {self.value:12.2f} {self.unit:6} {mark:12} {verdict}".rstrip()


def row(name: str, value: float) -> Figure:
    """Judge a value; one without a mark is only told."""
    mark = MARKS.get(name)
    if mark is None:
        return Figure(name, value, "", None, ok=True)
    ok = value >= mark.mark if mark.at_least else value <= mark.mark
    return Figure(name, round(value, 3), mark.unit, mark.mark, ok=ok)


class Missing(Exception):
    """A group cannot be measured here; the message names the command that provides its part."""
