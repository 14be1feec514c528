"""Gauges for Prometheus, read at scrape time from what is there anyway."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fedcore.tasks import LoopHealth
from fedhub.fleet.agent_sessions import SessionRegistry


class HubMetrics(Collector):
    """Sessions and loops of this process. No label names a site: their number has no bound."""

    def __init__(self, registry: SessionRegistry, loop_health: LoopHealth) -> None:
        self._registry = registry
        self._loop_health = loop_health

    def collect(self) -> Iterator[Metric]:
        """Yield the present figures."""
        sessions = tuple(self._registry)
        yield GaugeMetricFamily(
            "fedhub_sessions", "Agents connected to this process.", value=len(sessions)
        )
        yield GaugeMetricFamily(
            "fedhub_queued_frames",
            "Frames waiting for agents to read them.",
            value=sum(session.stream.waiting_count for session in sessions),
        )
        age = GaugeMetricFamily(
            "fedhub_loop_age_seconds",
            "Seconds since each loop was last well.",
            labels=["loop"],
        )
        now = self._loop_health.clock.now()
        for record in self._loop_health.records.values():
            age.add_metric([record.name], (now - record.last_success_at).total_seconds())
        yield age
        yield GaugeMetricFamily(
            "fedhub_loops_stalled",
            "Loops that stand still; /readyz and the events name them.",
            value=len(self._loop_health.stalled()),
        )
