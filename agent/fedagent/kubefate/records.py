"""The service's records, read tolerantly: a missing or odd field never makes a record unreadable.

Facts: KubeFATE ``pkg/modules/{cluster,job}.go``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

Json = dict[str, Any]
W = TypeVar("W", bound=StrEnum)

OWNER_KEY: Final = "lcmOwner"
REVISION_KEY: Final = "lcmRevision"
DIGEST_KEY: Final = "lcmDigest"
"""Keys that the agent adds to a cluster.yaml; charts ignore what they do not know."""

_CHECK: Final = re.compile(r"checkout Cluster status \[(\d+)\]")
_TIME: Final = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$")
_TROUBLE: Final = re.compile(
    r"error|fail|time ?out|not found|refused|cannot|denied|cluster delete", re.IGNORECASE
)


class ClusterStatus(StrEnum):
    """The status of a cluster record. ``Failed`` and ``Unknown`` are never set by the service."""

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


class JobStatus(StrEnum):
    """The status of a job."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCESS = "Success"
    FAILED = "Failed"
    ROLLBACK = "Rollback"
    TIMEOUT = "Timeout"
    STOPPING = "Stopping"
    CANCELED = "Canceled"
    UNKNOWN = "Unknown"

    @property
    def is_final(self) -> bool:
        """Return whether the service has stopped working on the job (but see ``Job.is_over``)."""
        return self not in {JobStatus.PENDING, JobStatus.RUNNING, JobStatus.STOPPING}


class JobMethod(StrEnum):
    """What a job does."""

    INSTALL = "ClusterInstall"
    UPDATE = "ClusterUpdate"
    DELETE = "ClusterDelete"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class SubJob:
    """One component of a job. ``modules_status`` is the Deployment's condition."""

    name: str
    status: str
    modules_status: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster record. ``spec`` is the parsed cluster.yaml of the last submission."""

    uuid: str
    name: str
    namespace: str
    chart_name: str
    chart_version: str
    status: ClusterStatus
    spec: Mapping[str, Any] = field(default_factory=dict, repr=False)
    revision: int = 0
    helm_revision: int = 0
    updated_at: datetime | None = None

    @property
    def owner(self) -> str:
        """``hub/participant`` of whoever submitted it; empty when it was not an agent."""
        return _text(self.spec.get(OWNER_KEY))

    @property
    def lcm_revision(self) -> str:
        """``generation.attempt`` of the submission."""
        return _text(self.spec.get(REVISION_KEY))

    @property
    def lcm_digest(self) -> str:
        """The digest of the document that was submitted."""
        return _text(self.spec.get(DIGEST_KEY))


@dataclass(frozen=True, slots=True)
class Job:
    """A job. ``end_time`` is None while the service holds the zero time."""

    uuid: str
    method: JobMethod
    status: JobStatus
    cluster_id: str = ""
    sub_jobs: tuple[SubJob, ...] = ()
    states: tuple[str, ...] = ()
    start_time: datetime | None = None
    end_time: datetime | None = None
    updated_at: datetime | None = None
    name: str = ""
    namespace: str = ""
    lcm_revision: str = ""

    @property
    def is_over(self) -> bool:
        """Return whether nothing more will happen.

        A failing update says Failed first and Rollback after Helm's rollback, and only then has an
        end time (``pkg/job/job.go``). A failing install says Failed first, cleans up, and then
        says why (``pkg/job/cluster_install.go``).
        """
        match self.method:
            case JobMethod.UPDATE:
                return self.status.is_final and self.end_time is not None
            case JobMethod.INSTALL if self.status is JobStatus.FAILED:
                return bool(self.error)
            case _:
                return self.status.is_final

    @property
    def checks(self) -> int | None:
        """N of ``checkout Cluster status [N]``, which an install counts up once a second."""
        matches = [_CHECK.search(state) for state in self.states]
        return next((int(match[1]) for match in reversed(matches) if match), None)

    @property
    def error(self) -> str:
        """The state that tells of trouble, empty when none does."""
        return next((s for s in reversed(self.states) if _TROUBLE.search(s)), "")


@dataclass(frozen=True, slots=True)
class ChartRow:
    """A chart that the service holds. A new upload of the same version gets a new uuid."""

    uuid: str
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class ClusterArgs:
    """A submission. ``name`` and ``namespace`` must equal those inside ``data`` (cluster.yaml).

    ``cover`` makes the service uninstall a release of that name first.
    """

    name: str
    namespace: str
    chart_name: str
    chart_version: str
    data: bytes = field(repr=False)
    cover: bool = False

    def to_json(self) -> Json:
        """Return the body of POST and PUT ``/v1/cluster`` (``pkg/modules/job.go`` ClusterArgs)."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "chart_name": self.chart_name,
            "chart_version": self.chart_version,
            "cover": self.cover,
            "data": base64.b64encode(self.data).decode(),
        }


def parse_cluster(body: Mapping[str, Any]) -> Cluster:
    """Read a cluster record; raises ValueError when it has no uuid."""
    spec = body.get("Spec")
    return Cluster(
        uuid=_required(body, "uuid"),
        name=_text(body.get("name")),
        namespace=_text(body.get("namespaces")),
        chart_name=_text(body.get("chart_name")),
        chart_version=_text(body.get("chart_version")),
        status=_word(ClusterStatus, body.get("status")),
        spec=spec if isinstance(spec, Mapping) else {},
        revision=_int(body.get("revision")),
        helm_revision=_int(body.get("helm_revision")),
        updated_at=parse_time(body.get("UpdatedAt")),
    )


def parse_job(body: Mapping[str, Any]) -> Job:
    """Read a job; raises ValueError when it has no uuid."""
    meta = _mapping(body.get("meta_data"))
    sub_jobs = _mapping(body.get("sub_jobs"))
    return Job(
        uuid=_required(body, "uuid"),
        method=_word(JobMethod, body.get("method")),
        status=_word(JobStatus, body.get("status")),
        cluster_id=_text(body.get("cluster_id")),
        sub_jobs=tuple(_sub_job(name, _mapping(sub_jobs[name])) for name in sorted(sub_jobs)),
        states=_texts(body.get("states")),
        start_time=parse_time(body.get("start_time")),
        end_time=parse_time(body.get("end_time")),
        updated_at=parse_time(body.get("UpdatedAt")),
        name=_text(meta.get("name")),
        namespace=_text(meta.get("namespace")),
        lcm_revision=_submitted_revision(meta.get("data")),
    )


def parse_chart(body: Mapping[str, Any]) -> ChartRow:
    """Read a chart's row; raises ValueError when it has no uuid."""
    return ChartRow(_required(body, "uuid"), _text(body.get("name")), _text(body.get("version")))


def parse_time(value: object) -> datetime | None:
    """Read a Go time; None for the zero time (year 1), for nothing and for nonsense."""
    match = _TIME.match(value) if isinstance(value, str) else None
    if match is None or match[1].startswith("0001-"):
        return None
    # Go writes up to nine digits of a second; Python reads six.
    fraction = (match[2] or "")[:7]
    zone = "+00:00" if match[3] == "Z" else match[3]
    try:
        return datetime.fromisoformat(f"{match[1]}{fraction}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _submitted_revision(data: object) -> str:
    if not isinstance(data, str):
        return ""
    try:
        text = base64.b64decode(data, validate=True)
    except ValueError:
        return ""
    match = re.search(rb'"lcmRevision":\s*"([0-9.]{1,40})"', text)
    return match[1].decode() if match else ""


def _sub_job(name: str, body: Mapping[str, Any]) -> SubJob:
    return SubJob(name, _text(body.get("Status")), _text(body.get("ModulesStatus")))


def _word(kind: type[W], value: object) -> W:
    try:
        return kind(_text(value))
    except ValueError:
        return kind("Unknown")


def _required(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"a record of KubeFATE has no {key}")
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(_text, value)) if isinstance(value, list) else ()


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
