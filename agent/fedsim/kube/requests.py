"""Read requests: which object the URL is about, the body, and how the client deletes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml
from aiohttp import web

from fedsim.kube.errors import ApiError, bad_request, no_such_path
from fedsim.kube.kinds import NAMESPACES, POD_SUBRESOURCES, PODS, Resource, find_resource
from fedsim.kube.lifecycle import Removal
from fedsim.kube.store import Json

BODY_LIMIT = 3 * 1024 * 1024
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
_JSON_TYPES = frozenset({"", "application/json", "application/octet-stream", MERGE})
_YAML_TYPES = frozenset({"application/yaml", APPLY})
_PROPAGATIONS = frozenset({"Background", "Foreground"})


@dataclass(frozen=True, slots=True)
class Target:
    """The object or the collection that a request is about.

    An empty ``namespace`` is a cluster-wide kind, or the collection of all namespaces.
    """

    resource: Resource
    namespace: str
    name: str
    subresource: str

    @property
    def plural(self) -> str:
        """Return the resource as rules name it: ``secrets`` or ``pods/exec``."""
        return "/".join(part for part in (self.resource.plural, self.subresource) if part)


def parse_target(path: str) -> Target:
    """Read ``/api/v1/…`` or ``/apis/GROUP/VERSION/…``; raises 404."""
    match path.strip("/").split("/"):
        case ["api", version, *rest] if rest:
            group = ""
        case ["apis", group, version, *rest] if rest:
            pass
        case _:
            raise no_such_path()
    namespace = ""
    if len(rest) > 2 and rest[0] == NAMESPACES.plural:
        namespace, rest = rest[1], rest[2:]
    plural, *names = rest
    resource = find_resource(group, version, plural)
    name, subresource, *more = (*names, "", "")[: max(2, len(names))]
    is_outside = bool(namespace) is not (resource is not None and resource.is_namespaced)
    if resource is None or more or (is_outside and (namespace or name)):
        raise no_such_path()
    if subresource and not (resource is PODS and subresource in POD_SUBRESOURCES):
        raise no_such_path()
    return Target(resource, namespace, name, subresource)


async def read_body(request: web.Request) -> Any:
    """Return the decoded body, None for none; raises 400, 413 and 415."""
    sort = request.content_type
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        text = f"Request entity too large: limit is {BODY_LIMIT}"
        raise ApiError(413, "RequestEntityTooLarge", text) from error
    if sort not in _JSON_TYPES | _YAML_TYPES:
        raise ApiError(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: "
            f"application/json, application/yaml, {MERGE}, {APPLY}",
        )
    if not raw:
        return None
    try:
        return yaml.safe_load(raw) if sort in _YAML_TYPES else json.loads(raw)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error


def object_of(body: Any, resource: Resource) -> Json:
    """Return the body as an object of the API; raises 400."""
    if not isinstance(body, dict):
        raise bad_request(
            f"the request body is no object: expected {resource.kind} ({resource.api_version})"
        )
    if not isinstance(body.get("metadata"), dict):
        body["metadata"] = {}
    return body


def removal_of(request: web.Request, body: Any) -> Removal:
    """Return how the client deletes, from the query and a ``DeleteOptions`` body."""
    options: Json = {**(body if isinstance(body, dict) else {}), **request.query}
    grace = options.get("gracePeriodSeconds")
    propagation = options.get("propagationPolicy") or "Background"
    if propagation not in _PROPAGATIONS:
        raise bad_request(f'propagationPolicy: Unsupported value: "{propagation}"')
    if grace is not None and not str(grace).isdigit():
        raise bad_request(f"gracePeriodSeconds: {grace!r} is no number")
    return Removal(
        grace_s=None if grace is None else int(grace),
        propagation=propagation,
        uid=(options.get("preconditions") or {}).get("uid"),
    )
