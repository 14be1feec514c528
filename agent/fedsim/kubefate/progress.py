"""Write down a job's progress: its status, its states, its components."""

from __future__ import annotations

from collections.abc import Mapping

from fedsim.faults import FaultName
from fedsim.kubefate.clock import ZERO_TIME
from fedsim.kubefate.clusters import AVAILABLE, all_available
from fedsim.kubefate.core import Core
from fedsim.kubefate.records import Cluster, Job, JobStatus, SubJob


class Progress:
    """Changes job records. A job whose record is gone is changed in memory alone."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def set_status(self, job: Job, status: JobStatus, *, ended: bool = False) -> None:
        """Set the status, and the time of the end where the service sets it."""
        job.status = status
        if ended:
            job.end_time = self._core.clock.now()
        self._core.state.jobs.save(job)

    def note(self, job: Job, text: str) -> None:
        """Add a state."""
        job.states = [*(job.states or []), text]
        self._core.state.jobs.save(job)

    def rewrite(self, job: Job, text: str) -> None:
        """Put a state in the last one's place."""
        job.states = [*(job.states or [""])[:-1], text]
        self._core.state.jobs.save(job)

    def save_components(self, job: Job, components: Mapping[str, str]) -> None:
        """Write the components' states as sub-jobs."""
        subs = dict(job.sub_jobs or {})
        for name, state in components.items():
            is_done = state == AVAILABLE
            sub = subs.get(name) or SubJob(name, "", "", job.start_time)
            sub.status = "Success" if is_done else "Running"
            sub.modules_status = state
            if is_done and sub.end_time == ZERO_TIME:
                sub.end_time = self._core.clock.now()
            subs[name] = sub
        job.sub_jobs = subs
        self._core.state.jobs.save(job)

    def is_late(self, job: Job) -> bool:
        """Return whether the job has passed its limit."""
        settings = self._core.settings
        age = (self._core.clock.now() - job.start_time).total_seconds()
        return age > settings.scaled(settings.job_limit_s)

    def is_gone(self, job: Job) -> bool:
        """Return whether the job's record was deleted."""
        return self._core.state.jobs.find(lambda row: row.uuid == job.uuid) is None

    def cluster_is_gone(self, cluster: Cluster) -> bool:
        """Return whether no record of that name and namespace lives."""
        key = (cluster.name, cluster.namespace)
        rows = self._core.state.clusters
        return rows.find(lambda row: (row.name, row.namespace) == key) is None

    def is_done(self, cluster: Cluster, components: Mapping[str, str]) -> bool:
        """Return whether all components are available, unless the job was ordered to hang."""
        faults = self._core.faults
        if faults.hits(FaultName.JOB_HANG, cluster.name, cluster.namespace):
            return False
        return all_available(components)
