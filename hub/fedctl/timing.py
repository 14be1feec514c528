"""Every wait of the command line and of the quickstart, as one value that callers hand in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Intervals, limits and back-offs; tests hand in shorter ones.

    Measured figures come from docs/performance.md. A figure without a source is a choice, and its
    reason is beside it.
    """

    connect_limit_s: float = 10.0
    """Until a TCP connection to the hub is open. Linux repeats a lost SYN after 1, 3 and 7 s: a
    line that loses three of them is given up."""

    request_limit_s: float = 30.0
    """One request with all its attempts. The longest is the apply of 1,000 parties, 6 s on an idle
    machine (``apply_1000_s``): five times that."""

    request_attempt_count: int = 4
    """Attempts at one request. With the pauses between them they bridge about 2 s, or 3 s where the
    hub asks for one second each (``Retry-After``): a dropped connection, or a proxy that reloads.
    ``fedctl wait`` bridges a restart of the hub."""

    retry_first_pause_s: float = 0.2
    """Pause before the second attempt; it doubles with each further one. About a round trip around
    the world: a hub that is up again is asked soon."""

    retry_jitter_s: float = 0.2
    """Up to so much is added to each pause at random, so that callers that lost the hub at the same
    moment come back at different ones."""

    stream_silence_limit_s: float = 45.0
    """Silence after which a stream of events counts as dead. The hub sends a blank line about every
    10 s (``fedhub.api.events``), so four of them are missing by then."""

    stream_reopen_pause_s: float = 1.0
    """Pause before a broken stream is opened again: a hub that restarts is asked once a second."""

    poll_interval_s: float = 0.5
    """Between two questions of a wait. A person does not notice the delay, and the hub answers in
    milliseconds (``page_100_ms`` is 15)."""

    live_refresh_interval_s: float = 0.25
    """Between two drawings of the live table. Its clocks count seconds; four keep them even."""

    causes_limit_s: float = 2.0
    """How long a wait that has ended may still ask for causes: its own limit has passed, and a
    person waits for the prompt."""

    standing_limit_s: float = 15.0
    """How long what waits for a person must stand still until a later start of the quickstart takes
    it for what people left. A restarted party passes through ``Degraded`` for some seconds while
    its pods become ready."""

    probe_wait_limit_s: float = 10.0
    """How long the quickstart waits for the routes of ready parties to be probed: an agent probes
    some seconds after a proxy has taken its table. What is not reachable by then is said so."""

    process_start_limit_s: float = 60.0
    """Until a process of the quickstart is ready. A hub alone takes 3 s (``hub_start_s``); here ten
    processes start on perhaps two cores, and may have to compile their modules first."""

    process_poll_interval_s: float = 0.05
    """Between two looks at a ready file or at a process: a small part of what a start takes."""

    process_stop_limit_s: float = 10.0
    """From SIGTERM to SIGKILL. The hub lets open requests end for 5 s (``fedhub.serving``)."""

    process_restart_pause_s: float = 1.0
    """Before a process that ended is started again: one that cannot start burns little CPU."""

    process_restart_window_s: float = 60.0
    """A process that ends more than ``process_restart_count`` times within this window does not
    stay up, and the run ends."""

    process_restart_count: int = 5
    """People are invited to kill processes and to watch them come back: five times in a row."""

    port_release_limit_s: float = 5.0
    """How long a port may stay taken by processes of a start that was killed. The kernel kills them
    with their parent; on a loaded machine they need a moment to go."""

    port_poll_interval_s: float = 0.1
    """Between two tries of a port that is taken: a small part of ``port_release_limit_s``."""
