"""What the agent remembers about one resource: the journal's rows as values.

Everything else is observed. Losing it costs at most a needless proxy reload.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from fedagent.domain.document import Chart
from fedcore.words import ProbeState


class Method(StrEnum):
    """What was asked of KubeFATE."""

    INSTALL = "install"
    UPDATE = "update"
    DELETE = "delete"


class Outcome(StrEnum):
    """How a submission ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ROLLED_BACK = "rolled-back"
    CANCELED = "canceled"
    LOST = "lost"
    """It never arrived, or the service forgot it."""
    STUCK = "stuck"
    """The service stopped working on it (KubeFATE resumes no job after a restart)."""
    REFUSED = "refused"
    """The service answered an error and began nothing."""


FAILURES = frozenset({Outcome.FAILED, Outcome.ROLLED_BACK, Outcome.REFUSED, Outcome.STUCK})
"""Outcomes that count against a generation."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One request to KubeFATE, noted before it is sent; ``job_id`` follows its answer."""

    generation: int
    attempt: int
    method: Method
    begun_at: datetime
    job_id: str = ""
    outcome: Outcome | None = None
    cause: str = ""
    message: str = ""
    ended_at: datetime | None = None

    @property
    def revision(self) -> str:
        """The lcmRevision that the record bears when this submission has arrived."""
        return f"{self.generation}.{self.attempt}"

    @property
    def is_open(self) -> bool:
        """Whether its end is not known yet."""
        return self.outcome is None


@dataclass(frozen=True, slots=True)
class LastGoodConfig:
    """What a participant was last Ready with: the cluster.yaml, and the chart it was for."""

    generation: int
    cluster_json: str
    chart: Chart


@dataclass(frozen=True, slots=True)
class ProxyState:
    """The table that a running proxy was brought to, and how."""

    deployment: str
    pod_uids: tuple[str, ...]
    table_digest: str
    keys: tuple[str, ...]
    applied_at: datetime
    how: str
    """started, by-itself, reload or restart."""
    removed: tuple[str, ...] = ()
    """Keys that the table lost then; they must no longer be served."""
    tries: int = 0
    """Failed reloads in a row."""
    added: tuple[str, ...] = ()
    """Keys that the table gained then: once one of them is served, the whole table is."""


@dataclass(frozen=True, slots=True)
class StepTimes:
    """When a step began and ended; ``ended_at`` None while it runs."""

    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """The last handshake with one SNI through an exchange."""

    key: str
    state: ProbeState
    message: str
    at: datetime
    table_digest: str
    foreign: bool = False
    """A certificate answered that is not the party's."""
    since: datetime | None = None
    """When it came to this state first, whatever the table; None: at this probe."""


@dataclass(frozen=True, slots=True)
class ResourceState:
    """All that is remembered about one resource."""

    submissions: tuple[Submission, ...] = ()
    """Oldest first; those of older generations are kept until the next one has ended."""
    proxies: Mapping[str, ProxyState] = field(default_factory=dict)
    probes: Mapping[str, Probe] = field(default_factory=dict)
    steps: Mapping[str, StepTimes] = field(default_factory=dict)
    """Of ``steps_generation`` only."""
    steps_generation: int = 0
    approvals: frozenset[tuple[str, str]] = frozenset()
    """(``body_sha256``, kind of action) that a person at the site approved."""
    retried_at: datetime | None = None
    """Failures before this do not count: ``fedagent retry``."""
    table_seen: Mapping[str, tuple[str, datetime]] = field(default_factory=dict)
    """ConfigMap -> (digest, when first seen)."""
    ready_generation: int = 0
    """Highest generation that was Ready once."""
    good: LastGoodConfig | None = None
    """What that generation ran with."""

    @property
    def last(self) -> Submission | None:
        """The newest submission."""
        return self.submissions[-1] if self.submissions else None

    @property
    def open_submission(self) -> Submission | None:
        """The newest submission, while its end is not known."""
        last = self.last
        return last if last is not None and last.is_open else None

    def without_live(self) -> ResourceState:
        """Return what is left to remember once a removal takes things away."""
        return replace(self, ready_generation=0, good=None, probes={})

    def of_generation(self, generation: int) -> tuple[Submission, ...]:
        """Return the submissions of one generation, oldest first."""
        return tuple(
            submission for submission in self.submissions if submission.generation == generation
        )

    def next_attempt(self, generation: int) -> int:
        """Return the number that the next submission of ``generation`` gets, from 1."""
        attempts = (submission.attempt for submission in self.of_generation(generation))
        return max(attempts, default=0) + 1

    def failures(self, generation: int) -> tuple[Submission, ...]:
        """Return the failures in a row that end the list, of one generation, since a retry."""
        failures: list[Submission] = []
        for submission in reversed(self.of_generation(generation)):
            if submission.outcome not in FAILURES or self._is_forgiven(submission):
                break
            failures.append(submission)
        return tuple(reversed(failures))

    def _is_forgiven(self, submission: Submission) -> bool:
        return self.retried_at is not None and submission.begun_at <= self.retried_at
