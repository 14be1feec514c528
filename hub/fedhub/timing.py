"""Every wait of the hub: how often it looks, how long it is patient, when it gives up.

An operator sets one by ``FEDHUB_TIMING__<FIELD>``; tests hand in another value. What agents rely
on (keepalive, sizes, rates) is agreed on the wire and stands in ``fedcore.limits``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import ClassVar

from pydantic import ConfigDict

from fedcore import limits
from fedsql.timing import DatabaseTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class HubTiming:
    """The waits of one hub process, in seconds."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    heartbeat_interval_s: float = float(limits.HEARTBEAT_INTERVAL_S)
    """How often each agent says that it lives; told to it in Welcome. 1,000 agents at 15 s are 67
    heartbeats a second, written in batches of ``heartbeat_flush_s``."""

    late_heartbeat_intervals: float = 2.5
    """After so many intervals without a heartbeat the agent's loop that sends them is a finding.
    One may get lost by chance; below the 3 of the lease, so that the cause is named first."""

    admission_probe_s: float = 5.0
    """How long beyond its interval an older session may be silent and still count as alive, when
    another instance of the same agent wants its place. Covers a heartbeat's way and one retry."""

    hello_limit_s: float = float(limits.HELLO_TIMEOUT_S)
    """How long a stream may be open without its Hello. An agent sends it at once."""

    superseded_grace_s: float = 3_600.0
    """How long an agent's older certificate is still taken after a newer one was issued. The
    answer that carried the newer one may have got lost; agents retry within minutes."""

    slow_reader_limit_s: float = float(limits.DOWN_QUEUE_FULL_S)
    """How long a session's full queue may stay full before the session is ended. All that it
    would have sent is in SQL and comes again at the next Hello."""

    command_limit_s: float = 30.0
    """How long people wait for an agent's answer to a command, such as probing every route: each
    probe may take the agent 5 s, and it does several at once."""

    work_limit_s: float = 30.0
    """How long a session's loop in the hub may be at one piece of work before it is a finding; the
    limits of the database are below the lease, at which the session is ended."""

    alert_pause_s: float = 600.0
    """The same alert is raised again after this: often enough to be seen, too seldom to flood."""

    database_retry_s: float = 0.5
    """Pause before a frame is handled again whose transaction found the database away."""

    grace_period_min_s: float = 120.0
    """Shortest grace period, in which no site goes Offline after a start of the hub or an outage of
    its database: agents redial with up to 60 s of back-off (``limits.RECONNECT_CAP_S``)."""

    replica_silence_s: float = 20.0
    """After this without a word a hub process is taken for dead: four turns of the sweep."""

    document_poll_s: float = 2.0
    """Backstop of document delivery: finds what another replica committed, or a lost wake-up."""

    heartbeat_flush_s: float = 2.0
    """How often heartbeats are written, all in one statement; well below the lease."""

    sweep_s: float = 5.0
    """How often sessions, sites and other replicas are looked over; the delay of Offline."""

    loop_check_s: float = 5.0
    """How often the hub's own loops are checked; they count as stalled after 30 s."""

    answer_purge_s: float = 600.0
    """How often kept answers to requests with an Idempotency-Key are looked over."""

    answer_life_s: float = 24 * 3_600.0
    """How long such an answer is kept: a client that retries for longer has given up (Stripe's
    API keeps them for 24 h, too)."""

    certificate_check_s: float = 60.0
    """How often the hub's own certificates are looked at; they live for days."""

    trust_check_s: float = 3_600.0
    """How often authorities are looked at; they live for years, and overlap for months."""

    event_poll_s: float = 0.5
    """How often the event table is read for what other replicas wrote; this process's own events
    wake the reader. One query for all followers."""

    event_idle_s: float = 10.0
    """A follower that got no event for this long gets a blank line: proxies cut silent streams,
    nginx after 60 s."""

    follower_write_limit_s: float = 20.0
    """How long a follower may take to read what was written; then its connection is cut."""

    drain_limit_s: float = 5.0
    """How long calls under way may take to end when the hub stops; orchestrators kill after 30."""

    drain_retry_s: float = 2.0
    """When agents are asked to come back at such a stop: another replica, or the next process."""

    http_silence_limit_s: float = 20.0
    """An HTTPS connection that is silent, or slow to send a request's head, is closed after this.
    aiohttp itself has no limit for a slow head."""

    http_linger_limit_s: float = 5.0
    """How long a refused body is read on, so that the caller gets to the answer; the same for the
    end of TLS."""

    handshake_limit_s: float = float(limits.HANDSHAKE_TIMEOUT_S)
    """How long a TLS handshake may take on the HTTPS port."""

    body_pause_limit_s: float = 20.0
    """How long a caller may pause while it sends a body."""

    body_limit_s: float = 300.0
    """How long a whole body may take: a chart of 10 MB at 35 kB/s."""

    database: DatabaseTiming = field(default_factory=DatabaseTiming)
    """Waits of the database layer."""

    def __post_init__(self) -> None:
        """Refuse what cannot be: a wait of nothing, a heartbeat that agents would not follow."""
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, int | float) and value <= 0:
                raise ValueError(f"{spec.name} must be above 0")
        if self.heartbeat_interval_s > limits.HEARTBEAT_MAX_INTERVAL_S:
            raise ValueError(
                f"heartbeat_interval_s must be at most {limits.HEARTBEAT_MAX_INTERVAL_S}"
            )

    @property
    def lease_s(self) -> float:
        """A site that is not heard for so long is Offline."""
        return limits.LEASE_INTERVALS * self.heartbeat_interval_s

    @property
    def lease(self) -> timedelta:
        """``lease_s``, to reckon with times."""
        return timedelta(seconds=self.lease_s)

    @property
    def grace_period_s(self) -> float:
        """How long after a start, or an outage of the database, no site goes Offline."""
        return max(2 * self.lease_s, self.grace_period_min_s)

    @property
    def late_heartbeat_s(self) -> float:
        """Without a heartbeat for so long, the agent's loop that sends them stands still."""
        return self.late_heartbeat_intervals * self.heartbeat_interval_s
