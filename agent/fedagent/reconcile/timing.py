"""Every wait and time limit of the reconciler, as one value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileTiming:
    """The waits of workers, observers and actors, in seconds."""

    turn_limit_s: float = 180.0
    """For one round of observing, deciding and acting; it bounds the longest action."""
    action_limit_s: float = 120.0
    """For one action: uploading a chart or uninstalling the KubeFATE service may take that long."""
    burst_s: float = 0.05
    """After a change, before the next look: changes come in bursts, one look serves them all."""
    not_yet_s: float = 1.0
    """Until an action is tried again that could not be done yet."""
    max_wait_s: float = 60.0
    """The longest wait between two looks at a resource, whatever the watches say."""
    failed_turn_max_s: float = 30.0
    """The longest wait after rounds that failed; it doubles from 2 s."""
    spool_full_s: float = 5.0
    """Until the next look while the event spool takes nothing new."""
    repeat_s: float = 0.2
    """The wait after an action that was done and changed nothing; it doubles with each repeat."""
    repeat_max_s: float = 10.0
    """The longest wait of that kind."""
    action_backoff_s: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 30.0)
    """The wait after the first failure in a row of one kind of action, the second, ..."""

    journal_poll_s: float = 1.0
    """Between two looks for what another process wrote: ``fedagent approve`` and ``retry``."""
    documents_poll_s: float = 30.0
    """Between two looks at the journal's documents when nothing announces a change."""
    names_s: float = 60.0
    """Between two resolutions of every host name of every document."""
    resolve_limit_s: float = 5.0
    """For one answer of the system's resolver, which by itself may try for 30 s."""
    nodes_s: float = 60.0
    """How long the addresses of the cluster's nodes are worth."""

    sync_limit_s: float = 15.0
    """For the first list of every kind that is watched in a namespace."""
    events_s: float = 5.0
    """Between two lists of a namespace's Warning events while something is not ready."""

    service_known_limit_s: float = 5.0
    """How long participants wait, after a start of the agent, for the first look at the service."""
    service_uninstall_limit_s: float = 60.0
    """For the objects of an uninstalled KubeFATE service to be gone."""
    record_limit_s: float = 12.0
    """For all that one look asks KubeFATE; a login alone takes it 1.25 s of a core."""
    record_s: float = 60.0
    """How long KubeFATE's records are worth when nothing hints at a change."""
    record_retry_s: float = 2.0
    """Until KubeFATE is asked again after it gave no answer."""
    record_in_doubt_s: float = 1.0
    """Until the records are read again while nobody knows whether a request has arrived."""
    job_poll_s: float = 3.0
    """Between two looks at a young job."""
    job_quick_poll_s: float = 0.5
    """The same where its end is near: every component is ready, or it uninstalls."""
    job_slow_poll_s: float = 10.0
    """The same for a job that is no longer young."""
    job_slow_after_s: float = 60.0
    """Age at which a job is no longer young."""

    exec_limit_s: float = 10.0
    """For one command in a proxy's pod."""
    probe_connect_limit_s: float = 1.5
    """For a TCP connection to the exchange's address, before its routes are tried."""
    probe_handshake_limit_s: float = 4.0
    """For one TLS handshake through the exchange; a silent party costs as much."""
