"""Every wait and time limit of the plan, as one value.

The planner reads time only from here and from ``now``, so that it stays a pure function: a test, or
an operator, hands in other figures and gets the same decisions sooner or later.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTiming:
    """The waits of the planner, in seconds."""

    recheck_idle_s: float = 60.0
    """Until the next look at a resource that lacks nothing; its watches wake the worker sooner."""
    recheck_soon_s: float = 1.0
    """Until the next look where a change is expected and nothing announces it."""
    recheck_progress_s: float = 2.0
    """Until the next look at a job, a component or an address that takes its time."""
    recheck_ending_s: float = 0.5
    """Until the next look at something that is about to end: an uninstall, a pod, a ConfigMap."""
    recheck_kubefate_s: float = 5.0
    """Until the next look while KubeFATE does not answer, or is kept for its last participants."""
    recheck_probes_s: float = 15.0
    """Until the next look at an exchange that is Ready: its routes' probes become old."""
    recheck_service_s: float = 5.0
    """Until the next look at a KubeFATE service that is Ready.

    With the worth of others' evidence and the limit of a question (``KubeFateTiming``) it lets a
    service that has died show within 15 s.
    """
    recheck_absent_service_s: float = 10.0
    """Until the next look for a KubeFATE service that somebody else is to install."""

    backoff_s: tuple[float, ...] = (1.0, 5.0, 30.0, 120.0, 300.0, 600.0)
    """The wait after the first failure in a row, the second, ...; the last one repeats.

    The first is short because most failures are a busy API server. The last bounds what a
    configuration that always fails costs the site: six submissions an hour.
    """

    answer_settle_s: float = 3.0
    """How long a request whose answer was lost may still be on its way to KubeFATE."""
    job_restart_stuck_s: float = 6.0
    """Silence after which a job that is older than the service's pod counts as dead.

    KubeFATE resumes no job after a restart. A live job writes its row each 1 s (install,
    KubeFATE ``pkg/job/cluster_install.go``) or 5 s (update, ``pkg/job/job.go``).
    """
    job_ready_stuck_s: float = 15.0
    """Silence after which a job counts as dead though every component is ready.

    KubeFATE looks at the components each 1 s (install) or 5 s (update): three looks are missed.
    """
    job_checks_stuck_s: float = 30.0
    """Silence after which an install counts as dead that has begun to write its 1 s checks."""
    job_install_stuck_s: float = 90.0
    """Silence after which an install or uninstall counts as dead that has written no check yet.

    Helm itself writes nothing while it renders and applies a chart.
    """
    job_limit_s: float = 3720.0
    """Silence after which any job counts as dead: KubeFATE's own limit of an hour, and 2 min more.

    KubeFATE gives up on a job that is older than an hour (``pkg/job``, ``time_limit`` of the job).
    """
    install_hopeless_s: float = 180.0
    """Age at which an unready install may be stopped for the sake of a newer document.

    FATE's slowest components take one to two minutes to become ready.
    """
    detach_s: float = 60.0
    """Age at which an install over a live participant is taken out of KubeFATE's hands.

    At its limit, or when it is stopped, KubeFATE uninstalls (``pkg/job/cluster_install.go``).
    """
    detach_for_newer_s: float = 10.0
    """The same age where a newer document waits for the job's end."""

    release_settle_s: float = 5.0
    """How long Helm may still be clearing an old release away, or writing a pending one."""
    install_cut_off_s: float = 3.0
    """How long an install goes on whose record a removal has deleted.

    KubeFATE misses the record at its next check, within 1 s, and then uninstalls the release by
    its name (``pkg/job/cluster_install.go``): a new install must not be there yet.
    """
    restore_after_s: float = 10.0
    """A wait for the next try that is longer than this is spent with what last worked."""

    observe_grace_s: float = 3.0
    """How long the effect of a job that has just succeeded may be missing from the watches."""
    missing_grace_s: float = 10.0
    """How long a component may be missing after a job's success before that counts as drift."""

    update_wait_s: float = 120.0
    """How long a removal waits for a running update.

    Deleting the record under an update makes KubeFATE spin without a pause (``pkg/job/job.go``).
    """
    linger_s: float = 10.0
    """How long objects of an uninstalled release may take to go before they count as left over."""

    reload_grace_s: float = 15.0
    """How long a proxy may take to serve its new table before it is reloaded again or restarted.

    Traffic Server 9.2 took 2.9 to 7.2 s to act on ``traffic_ctl config reload`` (13 measurements).
    """
    probe_interval_s: float = 0.5
    """Between two handshakes with a route that is waited for."""
    reprobe_down_s: float = 15.0
    """Age at which the probe of a route is renewed whose party did not answer."""
    reprobe_s: float = 300.0
    """Age at which any other probe is renewed while the exchange is Ready."""
    reapply_window_s: float = 60.0
    """Within this time after a reload a second remedy is a restart, and removed keys are kept."""
    table_file_grace_s: float = 180.0
    """How long pods may see their old table before the proxy is restarted.

    A kubelet brings a changed ConfigMap into its pods within its sync period, about a minute
    (Kubernetes, "Mounted ConfigMaps are updated automatically").
    """
    reload_s: float = 7.5
    """The longest time that Traffic Server took to load a table: see ``reload_grace_s``.

    A handshake this long after a reload speaks of the new table.
    """
    party_start_grace_s: float = 30.0
    """How long a new route's party may be silent: the route is there before its broker answers."""

    unready_limit_s: float = 180.0
    """How long a container may run without being ready before that is a finding.

    FATE's slowest components take one to two minutes from their start to ready.
    """


def wait_after(waits_s: tuple[float, ...], count: int) -> float:
    """Return the wait that follows failure ``count`` in a row, from 1; the last one repeats."""
    return waits_s[min(count, len(waits_s)) - 1]
