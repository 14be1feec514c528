"""Counters and histograms, written where things happen; gauges are read in ``fedhub.metrics``.

No label names a site, a federation or a person: their number has no bound, and a scrape is not the
place to learn who is there.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

_FAST_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Instruments:
    """What one hub process counts; ``registry`` is what ``/metrics`` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rest_requests = Histogram(
            "fedhub_rest_request_seconds",
            "REST requests by route and class of status, but for streams that are followed.",
            ["method", "route", "status"],
            buckets=_FAST_S,
            registry=self.registry,
        )
        self.frames = Counter(
            "fedhub_frames",
            "Frames from agents (in) and to agents (out), by kind.",
            ["direction", "kind"],
            registry=self.registry,
        )
        self.replans = Histogram(
            "fedhub_replan_seconds",
            "Planning one federation and storing the documents that changed.",
            buckets=_SLOW_S,
            registry=self.registry,
        )
        self.document_propagation = Histogram(
            "fedhub_document_propagation_seconds",
            "From planning a document to its frame in the queue of a session that was open.",
            buckets=_SLOW_S,
            registry=self.registry,
        )
        self.database_wait = Histogram(
            "fedhub_database_wait_seconds",
            "Wait of a transaction for its turn and its connection, by mode (read, write).",
            ["mode"],
            buckets=_FAST_S,
            registry=self.registry,
        )
        self.renewals = Counter(
            "fedhub_certificate_renewals",
            "Certificates that replaced an older one, by whose they are (agent, hub, console).",
            ["owner"],
            registry=self.registry,
        )
