"""What the text of a failed job means, where it means something that can be acted on."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from fedagent.kubefate.records import Job, JobStatus


class Failure(StrEnum):
    """Why a job failed. ``UNKNOWN``: the text is for people."""

    ANOTHER_OPERATION = "another_operation"
    NAME_IN_USE = "name_in_use"
    NAMESPACE_MISSING = "namespace_missing"
    CHART_MISSING = "chart_missing"
    RELEASE_MISSING = "release_missing"
    PORT_TAKEN = "port_taken"
    IMMUTABLE_FIELD = "immutable_field"
    NOT_ALLOWED = "not_allowed"
    INVALID_OBJECT = "invalid_object"
    TIMED_OUT = "timed_out"
    CANCELED = "canceled"
    UNKNOWN = "unknown"


_PARTS: Final[tuple[tuple[str, Failure], ...]] = (
    ("another operation (install/upgrade/rollback) is in progress", Failure.ANOTHER_OPERATION),
    ("cannot re-use a name that is still in use", Failure.NAME_IN_USE),
    ("failed to download", Failure.CHART_MISSING),
    ("is not a valid chart repository", Failure.CHART_MISSING),
    ("valuestemplate not exist", Failure.CHART_MISSING),
    ("has no deployed releases", Failure.RELEASE_MISSING),
    ("release: not found", Failure.RELEASE_MISSING),
    ("provided port is already allocated", Failure.PORT_TAKEN),
    ("field is immutable", Failure.IMMUTABLE_FIELD),
    ("updates to statefulset spec", Failure.IMMUTABLE_FIELD),
    ("is forbidden", Failure.NOT_ALLOWED),
    ("exceeded quota", Failure.NOT_ALLOWED),
    ("status timeout", Failure.TIMED_OUT),
    ("is invalid:", Failure.INVALID_OBJECT),
)


def failure_of(job: Job) -> Failure | None:
    """Return why a job failed; None when it did not."""
    if not job.status.is_final or job.status is JobStatus.SUCCESS:
        return None
    if job.status is JobStatus.CANCELED:
        return Failure.CANCELED
    failures = filter(None, map(_meaning, job.states))
    return next(failures, Failure.UNKNOWN)


def _meaning(state: str) -> Failure | None:
    lower = state.lower()
    if 'namespaces "' in lower and "not found" in lower:
        return Failure.NAMESPACE_MISSING
    return next((failure for part, failure in _PARTS if part in lower), None)
