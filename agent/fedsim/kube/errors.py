"""The errors of the API, as the ``Status`` objects that a Kubernetes API server answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fedsim.kube.kinds import Resource

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of an error: a machine's word, a sentence, and the field it is about."""

    reason: str
    message: str
    field: str


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


def details_of(resource: Resource, name: str, **more: Any) -> Json:
    """Return the ``details`` of a ``Status`` about one object."""
    group = {"group": resource.group} if resource.group else {}
    return {"name": name, "kind": resource.plural, **group, **more}


def not_found(resource: Resource, name: str) -> ApiError:
    """Return the error for an object that is not there."""
    message = f'{resource.qualified} "{name}" not found'
    return ApiError(404, "NotFound", message, details_of(resource, name))


def no_such_path() -> ApiError:
    """Return the error for a resource that the server does not have."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def not_allowed() -> ApiError:
    """Return the error for a method that the resource does not take."""
    text = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", text)


def already_exists(resource: Resource, name: str) -> ApiError:
    """Return the error for a name that is taken."""
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details_of(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> ApiError:
    """Return the error for an object that has changed since the client read it."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version "
        "and try again"
    )
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, details_of(resource, name))


def forbidden(resource: Resource, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    """Return the error for what policy refuses."""
    more = {"causes": [asdict(cause) for cause in causes]} if causes else {}
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    message = f"{subject} is forbidden: {why}"
    return ApiError(403, "Forbidden", message, details_of(resource, name, **more))


def bad_request(message: str) -> ApiError:
    """Return the error for a request that cannot be understood."""
    return ApiError(400, "BadRequest", message)


def expired(message: str) -> ApiError:
    """Return the error for a history that no longer reaches back so far."""
    return ApiError(410, "Expired", message)


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> ApiError:
    """Return the error that names the wrong fields of an object."""
    lines = [f"{cause.field}: {cause.message}" for cause in causes]
    text = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
    subject = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details = details_of(resource, name, causes=[asdict(cause) for cause in causes])
    details["kind"] = resource.kind
    return ApiError(422, "Invalid", f'{subject} "{name}" is invalid: {text}', details)


def value_invalid(field: str, value: object, why: str) -> Cause:
    """Return the cause for a field whose value is wrong."""
    shown = f'"{value}"' if isinstance(value, str) else value
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", field)


def value_required(field: str, why: str = "") -> Cause:
    """Return the cause for a field that must be there."""
    return Cause("FieldValueRequired", f"Required value{f': {why}' if why else ''}", field)
