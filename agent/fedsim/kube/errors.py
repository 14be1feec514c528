"""The errors of the API, as the ``Status`` objects that a Kubernetes API server answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedsim.kube.kinds import Resource

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of an error: a machine's word, a sentence, and the field it is about."""

    reason: str
    message: str
    field: str

    def to_json(self) -> Json:
        """Return the wire form."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


class ApiError(Exception):
    """A failure that is answered to the client as a ``Status`` object."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def to_status(self) -> Json:
        """Return the ``Status`` object."""
        status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status


def _details(resource: Resource, name: str) -> Json:
    details: Json = {"name": name, "kind": resource.plural}
    if resource.group:
        details["group"] = resource.group
    return details


def not_found(resource: Resource, name: str) -> ApiError:
    """Say that there is no such object."""
    message = f'{resource.qualified} "{name}" not found'
    return ApiError(404, "NotFound", message, _details(resource, name))


def no_such_path() -> ApiError:
    """Say that the server has no such resource."""
    return ApiError(
        404, "NotFound", "the server could not find the requested resource", {"causes": []}
    )


def already_exists(resource: Resource, name: str) -> ApiError:
    """Say that the name is taken."""
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> ApiError:
    """Say that the object has moved on since the client read it."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version "
        "and try again"
    )
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(resource, name))


def forbidden(resource: Resource, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    """Refuse by policy."""
    details = _details(resource, name)
    if causes:
        details["causes"] = [cause.to_json() for cause in causes]
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", details)


def bad_request(message: str) -> ApiError:
    """Say that the request cannot be understood."""
    return ApiError(400, "BadRequest", message)


def expired(message: str) -> ApiError:
    """Say that the history no longer reaches back that far."""
    return ApiError(410, "Expired", message)


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """Say which fields of an object are wrong."""
    lines = [f"{cause.field}: {cause.message}" for cause in causes]
    text = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
    subject = f"{kind}.{group}" if group else kind
    details: Json = {"name": name, "kind": kind, "causes": [cause.to_json() for cause in causes]}
    if group:
        details["group"] = group
    return ApiError(422, "Invalid", f'{subject} "{name}" is invalid: {text}', details)


def value_invalid(field: str, value: object, why: str) -> Cause:
    """Name a field whose value is wrong."""
    shown = f'"{value}"' if isinstance(value, str) else value
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", field)


def value_required(field: str, why: str = "") -> Cause:
    """Name a field that must be there."""
    return Cause("FieldValueRequired", f"Required value{f': {why}' if why else ''}", field)


def value_forbidden(field: str, why: str) -> Cause:
    """Name a field that may not be changed or set."""
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)
