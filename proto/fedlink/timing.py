"""Every wait and time limit of a program towards its hub, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from fedcore import limits, timing
from fedcore.backoff import Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTiming:
    """The waits of dialling, sessions, calls and renewals."""

    dial_limit_s: float = 10.0
    """For the first TLS handshake of a join. The hub's server gives up after 10 s, too
    (``limits.HANDSHAKE_TIMEOUT_S``)."""

    hello_limit_s: float = 10.0
    """For the hub's answer to Hello, the connection included. The hub waits 10 s for a Hello
    (``limits.HELLO_TIMEOUT_S``)."""

    call_limit_s: float = 20.0
    """For one call beside the session, and for writing one frame. The longest call signs a
    certificate and writes it to the database: milliseconds, and seconds on a hub under load."""

    download_limit_s: float = 60.0
    """For one archive, 10 MB at most (``limits.MAX_CHART_BYTES``): 1.4 Mbit/s."""

    redial: Backoff = Backoff(base_s=1.0, cap_s=60.0)
    """Before the next dial, with full jitter: 5,000 agents that lost their hub are back within a
    minute and do not return at once (docs/performance.md)."""

    redial_reset_s: float = 600.0
    """A session that lasted so long was sound: the next dial starts the waits anew."""

    renewal_check_s: float = 60.0
    """Between two looks whether the certificate is due. It is renewed at two thirds of its life,
    which is days."""

    outbox_poll_s: float = 30.0
    """Between two looks for what is to be sent when nothing announces it."""

    heartbeat_s: float = limits.HEARTBEAT_INTERVAL_S
    """Between two heartbeats until the hub names an interval; it does in its Welcome."""

    silence_intervals: int = limits.LEASE_INTERVALS
    """After so many heartbeat intervals without a frame of the hub its session is given up, as the
    hub gives up one that is silent."""

    def scaled(self, factor: float) -> LinkTiming:
        """Return a copy whose intervals are ``factor`` times less; limits stay."""
        return timing.scaled(self, factor)
