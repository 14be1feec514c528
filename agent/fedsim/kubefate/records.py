"""The rows of the service's database, and how each looks on the wire.

Field names and order are the service's (KubeFATE ``pkg/modules``), capital letters included.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from fedsim.kubefate.clock import ZERO_TIME, go_time


class JobStatus(StrEnum):
    """The states of a job; ``Timeout`` exists and is never set."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCESS = "Success"
    FAILED = "Failed"
    ROLLBACK = "Rollback"
    STOPPING = "Stopping"
    CANCELED = "Canceled"


class JobMethod(StrEnum):
    """What a job does; an upgrade is an update."""

    INSTALL = "ClusterInstall"
    UPDATE = "ClusterUpdate"
    DELETE = "ClusterDelete"


class ClusterStatus(StrEnum):
    """The states of a cluster that the service really sets."""

    PENDING = "Pending"
    CREATING = "Creating"
    DELETING = "Deleting"
    UPDATING = "Updating"
    RUNNING = "Running"
    UNAVAILABLE = "Unavailable"
    DELETED = "Deleted"
    ROLLBACK = "Rollback"


@dataclass(slots=True)
class Row:
    """What every table has: gorm's id, times and soft deletion."""

    id: int = 0
    created_at: datetime = ZERO_TIME
    updated_at: datetime = ZERO_TIME
    deleted_at: datetime | None = None

    def model(self) -> dict[str, Any]:
        """Return gorm's four fields, named as Go names them."""
        return {
            "ID": self.id,
            "CreatedAt": go_time(self.created_at),
            "UpdatedAt": go_time(self.updated_at),
            "DeletedAt": go_time(self.deleted_at) if self.deleted_at else None,
        }


@dataclass(slots=True)
class ClusterArgs:
    """The request of a POST or PUT."""

    name: str = ""
    namespace: str = ""
    chart_name: str = ""
    chart_version: str = ""
    cover: bool = False
    data: str | None = None
    """Base64, as it came; None where the request had none."""

    @property
    def text(self) -> str:
        """Return the cluster.yaml that the request carries."""
        return base64.b64decode(self.data or "").decode(errors="replace")

    def wire(self) -> dict[str, Any]:
        """Return the object of ``meta_data``."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "chart_name": self.chart_name,
            "chart_version": self.chart_version,
            "cover": self.cover,
            "data": self.data,
            "Keep_upgrade_job": False,
        }


@dataclass(slots=True)
class SubJob:
    """The progress of one component."""

    module_name: str
    status: str
    modules_status: str
    start_time: datetime
    end_time: datetime = ZERO_TIME

    def wire(self) -> dict[str, Any]:
        """Return the fields, named as Go names them."""
        return {
            "ModuleName": self.module_name,
            "Status": self.status,
            "ModulesStatus": self.modules_status,
            "StartTime": go_time(self.start_time),
            "EndTime": go_time(self.end_time),
        }


@dataclass(slots=True)
class Job(Row):
    """One job. ``time_limit`` on the wire is always the real service's hour."""

    uuid: str = ""
    method: JobMethod = JobMethod.INSTALL
    creator: str = ""
    cluster_id: str = ""
    start_time: datetime = ZERO_TIME
    end_time: datetime = ZERO_TIME
    status: JobStatus = JobStatus.PENDING
    args: ClusterArgs | None = None
    sub_jobs: dict[str, SubJob] | None = None
    states: list[str] | None = None

    def wire(self) -> dict[str, Any]:
        """Return the job as the service's JSON has it."""
        subs = self.sub_jobs
        return {
            "uuid": self.uuid,
            "start_time": go_time(self.start_time),
            "end_time": go_time(self.end_time),
            "method": self.method.value,
            "cluster_id": self.cluster_id,
            "creator": self.creator,
            "sub_jobs": None if subs is None else {n: subs[n].wire() for n in sorted(subs)},
            "status": self.status.value,
            "time_limit": 3_600_000_000_000,
            "meta_data": None if self.args is None else self.args.wire(),
            "states": self.states,
            **self.model(),
        }


@dataclass(slots=True)
class Cluster(Row):
    """One cluster record. ``helm_revision`` is not Helm's; it starts at 0."""

    uuid: str = ""
    name: str = ""
    namespace: str = ""
    chart_name: str = ""
    chart_version: str = ""
    values: str = ""
    spec: dict[str, Any] | None = None
    revision: int = 0
    helm_revision: int = 0
    status: ClusterStatus = ClusterStatus.PENDING

    def wire(self, info: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the record; ``Spec`` and ``Info`` are left out when empty."""
        fields: dict[str, Any] = {
            "uuid": self.uuid,
            "name": self.name,
            "namespaces": self.namespace,
            "chart_name": self.chart_name,
            "chart_version": self.chart_version,
            "values": self.values,
        }
        if self.spec:
            fields["Spec"] = self.spec
        fields |= {
            "revision": self.revision,
            "helm_revision": self.helm_revision,
            "chart_values": None,
            "status": self.status.value,
        }
        if info:
            fields["Info"] = info
        return fields | self.model()


@dataclass(slots=True)
class ChartFile:
    """One template of a chart archive; its bytes in base64."""

    name: str
    data: str

    def wire(self) -> dict[str, str]:
        """Return the file."""
        return {"name": self.name, "data": self.data}


@dataclass(slots=True)
class HelmChart(Row):
    """One stored chart."""

    uuid: str = ""
    name: str = ""
    chart: str = ""
    values: str = ""
    values_template: str = ""
    templates: list[ChartFile] = field(default_factory=list)
    version: str = ""
    app_version: str = ""

    def wire(self) -> dict[str, Any]:
        """Return the chart, all templates included."""
        return {
            "uuid": self.uuid,
            "name": self.name,
            "chart": self.chart,
            "values": self.values,
            "values_template": self.values_template,
            "templates": [file.wire() for file in self.templates] or None,
            "version": self.version,
            "app_version": self.app_version,
            **self.model(),
        }
