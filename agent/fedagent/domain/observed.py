"""What is there: the cluster and the KubeFATE service as values, without any I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from fedagent.domain.document import RouteEntry, digest_of_entries
from fedcore.words import WorkloadKind


@dataclass(frozen=True, slots=True)
class OwnerView:
    """Whom the labels of an object name."""

    hub_id: str
    resource_id: str

    def __str__(self) -> str:
        """Return the owner's id as lcmOwner has it."""
        return f"{self.hub_id}/{self.resource_id}"


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """The participant's namespace. ``made_by_us``: it bears our created-namespace annotation.

    ``readable``: the agent may read Secrets in it; where not, Secrets and releases do not show.
    """

    exists: bool = False
    owner: OwnerView | None = None
    made_by_us: bool = False
    terminating: bool = False
    readable: bool = True


@dataclass(frozen=True, slots=True)
class CertificateView:
    """The certificate found in a Secret."""

    serial: str
    not_before: datetime
    not_after: datetime
    dns_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SecretView:
    """A Secret of the document. ``error`` says why its content cannot be used."""

    name: str
    owner: OwnerView | None
    certificate: CertificateView | None = None
    error: str = ""
    issued_at: datetime | None = None


class RecordState(StrEnum):
    """KubeFATE's word for a cluster record (modules/cluster.go)."""

    PENDING = "Pending"
    CREATING = "Creating"
    DELETING = "Deleting"
    UPDATING = "Updating"
    RUNNING = "Running"
    UNAVAILABLE = "Unavailable"
    DELETED = "Deleted"
    ROLLBACK = "Rollback"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


BUSY_RECORD = frozenset(
    {RecordState.PENDING, RecordState.CREATING, RecordState.DELETING, RecordState.UPDATING}
)


@dataclass(frozen=True, slots=True)
class RecordView:
    """KubeFATE's record of the participant. ``spec`` holds no lcm keys."""

    uuid: str
    state: RecordState
    owner: str
    """lcmOwner; empty when the record is not of our making."""
    revision: str
    digest: str
    spec: Mapping[str, Any]


class JobState(StrEnum):
    """KubeFATE's word for a job (modules/job.go)."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCESS = "Success"
    FAILED = "Failed"
    ROLLBACK = "Rollback"
    TIMEOUT = "Timeout"
    STOPPING = "Stopping"
    CANCELED = "Canceled"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class JobView:
    """A KubeFATE job of the participant."""

    job_id: str
    method: str
    state: JobState
    revision: str
    error: str = ""
    states: tuple[str, ...] = ()
    started_at: datetime | None = None
    changed_at: datetime | None = None
    """When the agent last saw a sign of life of this job."""
    is_over: bool = False
    """Nothing more will happen to it; a failing update says Failed before it rolls back."""


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """One revision of the Helm release, from its Secret's labels."""

    revision: int
    status: str
    modified_at: datetime | None = None
    created_at: datetime | None = None
    """Before anything of the revision was applied."""


class ServiceAccess(StrEnum):
    """Whether the KubeFATE service answers."""

    READY = "ready"
    UNREACHABLE = "unreachable"
    UNAUTHORIZED = "unauthorized"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class KubeFateView:
    """What KubeFATE says about the participant, at ``seen_at``."""

    access: ServiceAccess
    message: str = ""
    record: RecordView | None = None
    occupant: str = ""
    """Owner, or name, of another cluster record in the participant's namespace."""
    job: JobView | None = None
    chart_present: bool = False
    """Whether this very service was given the document's archive."""
    service_started_at: datetime | None = None
    """Jobs begun before this are dead: KubeFATE resumes none."""
    seen_at: datetime | None = None

    @property
    def answers(self) -> bool:
        """Whether the service can be worked with."""
        return self.access is ServiceAccess.READY


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment or StatefulSet of the release."""

    name: str
    kind: WorkloadKind
    ready: int
    desired: int
    is_current: bool = True
    """The controller has acted on the newest spec (observedGeneration)."""

    @property
    def is_ready(self) -> bool:
        """Whether all pods of the newest spec are ready."""
        return self.is_current and self.desired > 0 and self.ready >= self.desired


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod of the release."""

    name: str
    uid: str
    workload: str
    phase: str
    is_ready: bool
    started_at: datetime | None
    terminating: bool = False
    waiting: tuple[tuple[str, str, str], ...] = ()
    """(container, reason, message) of containers that wait or ended badly."""
    restarts: int = 0
    unschedulable: str = ""
    namespace: str = ""
    unready: tuple[tuple[str, datetime], ...] = ()
    """(container, since when) of containers that run and are not ready."""


@dataclass(frozen=True, slots=True)
class EventView:
    """A Kubernetes event of kind Warning."""

    reason: str
    message: str
    about: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class ClaimView:
    """A PersistentVolumeClaim."""

    name: str
    phase: str
    of_release: bool


@dataclass(frozen=True, slots=True)
class AddressView:
    """Where a Service port can be reached from outside; ``ip`` is empty while unknown."""

    role: str
    host: str
    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class TableView:
    """A route table as its ConfigMap holds it; ``error`` says why it cannot be read."""

    config_map: str
    entries: tuple[RouteEntry, ...]
    error: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted entries."""
        return digest_of_entries(self.entries)


@dataclass(frozen=True, slots=True)
class ParticipantObserved:
    """Everything seen of one participant in one look."""

    namespace: NamespaceView = field(default_factory=NamespaceView)
    secrets: Mapping[str, SecretView] = field(default_factory=dict)
    kubefate: KubeFateView = field(
        default_factory=lambda: KubeFateView(ServiceAccess.ABSENT, "no KubeFATE service here yet")
    )
    releases: tuple[ReleaseView, ...] = ()
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    pods: tuple[PodView, ...] = ()
    events: tuple[EventView, ...] = ()
    claims: tuple[ClaimView, ...] = ()
    addresses: tuple[AddressView, ...] = ()
    tables: Mapping[str, TableView] = field(default_factory=dict)
    resolutions: Mapping[str, str] = field(default_factory=dict)
    objects: tuple[str, ...] = ()
    """Kind/name of everything that bears the release's label."""
    foreign: tuple[str, ...] = ()
    """Kind/name of workloads and claims in the namespace that are not of the release."""

    def pods_of(self, deployment: str) -> tuple[PodView, ...]:
        """Return the living pods of one workload, by name."""
        pods = [pod for pod in self.pods if pod.workload == deployment and not pod.terminating]
        return tuple(sorted(pods, key=lambda pod: pod.name))


@dataclass(frozen=True, slots=True)
class ServiceObserved:
    """Everything seen of a KubeFATE service."""

    is_installed: bool = False
    owner: OwnerView | None = None
    is_external: bool = False
    """Reached by a URL of the agent's own configuration; its objects are not ours to see."""
    version: str = ""
    version_enough: bool = False
    is_ready: bool = False
    message: str = ""
    access: str = ""
    terminating: bool = False
    applied_generation: str = ""
    """Of the document by which its manifests were last applied as a whole."""
    missing: tuple[str, ...] = ()
    """Objects of our installation that are not there; looked for while it is not ready."""
    leftovers: tuple[str, ...] = ()
    in_use_by: tuple[str, ...] = ()
    """Participants of this site that are not gone: they need the service for their removal."""
