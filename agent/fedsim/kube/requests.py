"""Bodies and common parameters of requests."""

from __future__ import annotations

import json
from typing import Any

import yaml
from aiohttp import web

from fedsim.kube.errors import ApiError, bad_request
from fedsim.kube.kinds import Resource
from fedsim.kube.lifecycle import Removal, Write
from fedsim.kube.store import Json

BODY_LIMIT = 3 * 1024 * 1024
APPLY = "application/apply-patch+yaml"
_JSON_TYPES = frozenset(
    {
        "",
        "application/json",
        "application/octet-stream",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    }
)
_YAML_TYPES = frozenset({"application/yaml", APPLY})
_PROPAGATIONS = frozenset({"Background", "Foreground", "Orphan"})


async def read_body(request: web.Request) -> Any:
    """Return the decoded body, None for none; raises 400, 413 and 415."""
    sort = request.content_type
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise ApiError(
            413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"
        ) from error
    if sort not in _JSON_TYPES | _YAML_TYPES:
        raise ApiError(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json, application/yaml",
        )
    if not raw:
        return None
    try:
        return yaml.safe_load(raw) if sort in _YAML_TYPES else json.loads(raw)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error


def object_of(body: Any, resource: Resource, *, is_apply: bool = False) -> Json:
    """Return the body as an object of the API; raises 400.

    What kind it is may be left out, but for an apply.
    """
    if not isinstance(body, dict):
        raise bad_request(
            f"the request body is no object: expected {resource.kind} ({resource.api_version})"
        )
    for field in ("kind", "apiVersion") if is_apply else ():
        if not body.get(field):
            raise bad_request(f"Object '{field[0].upper()}{field[1:]}' is missing in the body")
    for field in ("kind", "apiVersion"):
        if not body.get(field):
            body.pop(field, None)
    if not isinstance(body.get("metadata"), dict):
        body["metadata"] = {}
    return body


def write_of(request: web.Request, subresource: str, *, is_apply: bool = False) -> Write:
    """Return how the client writes; its manager's name is else that of its program."""
    agent = request.headers.get("User-Agent", "unknown")
    return Write(
        manager=request.query.get("fieldManager") or agent.partition("/")[0][:128],
        subresource="status" if subresource == "status" else subresource,
        is_dry_run=_is_dry_run(request.query.getall("dryRun", [])),
        is_apply=is_apply,
    )


def removal_of(request: web.Request, body: Any) -> Removal:
    """Return how the client deletes, from the query and a ``DeleteOptions`` body."""
    options: Json = body if isinstance(body, dict) else {}
    query = request.query
    grace = query.get("gracePeriodSeconds", options.get("gracePeriodSeconds"))
    propagation = query.get("propagationPolicy") or options.get("propagationPolicy")
    orphans = query.get("orphanDependents") or options.get("orphanDependents")
    if orphans is not None and propagation is None:
        propagation = "Orphan" if str(orphans).lower() == "true" else "Background"
    if propagation is not None and propagation not in _PROPAGATIONS:
        raise ApiError(
            422,
            "Invalid",
            f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: '
            f'"{propagation}": supported values: "Foreground", "Background", "Orphan", "nil"',
        )
    if grace is not None and not str(grace).lstrip("-").isdigit():
        raise bad_request(f"gracePeriodSeconds: {grace!r} is no number")
    conditions = options.get("preconditions") or {}
    dry = query.getall("dryRun", []) or options.get("dryRun") or []
    return Removal(
        grace_s=None if grace is None else int(grace),
        propagation=propagation or "Background",
        uid=conditions.get("uid"),
        version=conditions.get("resourceVersion"),
        is_dry_run=_is_dry_run(dry),
    )


def _is_dry_run(values: list[str]) -> bool:
    if not values:
        return False
    if values != ["All"]:
        raise bad_request(f'dryRun: Unsupported value: {values}: supported values: "All"')
    return True
