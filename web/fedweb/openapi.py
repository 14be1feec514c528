"""OpenAPI 3.1 from a route table and its pydantic models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from fedweb.problems import PROBLEM_TYPE, Problem
from fedweb.routes import BEARER, JSON, NDJSON, Route

_REF: Final = "#/components/schemas/{model}"
IDEMPOTENCY_KEY: Final = (
    "Idempotency-Key",
    "The same request with the same key is carried out once and answered the same for a day.",
    "^[!-~]{1,200}$",
)
_PATH_VARIABLE: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")


def openapi(
    routes: Sequence[Route[Any]],
    *,
    title: str,
    version: str,
    description: str,
    security_schemes: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """Build the document; the same table always gives the same one."""
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
    for route in routes:
        if route.body is not None:
            models[route.body, "validation"] = None
        if route.answer is not None:
            models[route.answer, "serialization"] = None
    refs, definitions = models_json_schema(list(models), ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _PATH_VARIABLE.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(definitions.get("$defs", {}).items())),
            "securitySchemes": {name: dict(scheme) for name, scheme in security_schemes.items()},
        },
        "security": [{BEARER: []}],
    }


def _operation(route: Route[Any], refs: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [
            *_path_parameters(route),
            *_query_parameters(route),
            *_header_parameters(route),
        ],
        "responses": _responses(route, refs),
    }
    if route.auth != (BEARER,):
        operation["security"] = [{name: []} for name in route.auth]
    if route.upload is not None:
        content = {route.upload: {"schema": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"required": True, "content": content}
    elif route.body is not None:
        schema = refs[route.body, "validation"]
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return operation


def _responses(route: Route[Any], refs: dict[Any, Any]) -> dict[str, Any]:
    if route.stream is not None:
        content = {NDJSON: {"schema": {"type": "string"}}}
        if route.answer is not None:
            content[JSON] = {"schema": refs[route.answer, "serialization"]}
        success: dict[str, Any] = {"description": route.summary, "content": content}
    elif route.answer is not None:
        schema = refs[route.answer, "serialization"]
        success = {"description": route.summary, "content": {JSON: {"schema": schema}}}
    else:
        success = {"description": route.summary}
    problem = {PROBLEM_TYPE: {"schema": refs[Problem, "serialization"]}}
    responses = {str(status): success for status in (route.status, *route.also)}
    return {**responses, "default": {"description": "A problem.", "content": problem}}


def _path_parameters(route: Route[Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PATH_VARIABLE.findall(route.path)
    ]


def _query_parameters(route: Route[Any]) -> list[dict[str, Any]]:
    schema = route.query.model_json_schema(ref_template=_REF)
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", []),
            "description": shape.get("description", ""),
            "schema": _plain(shape, schema.get("$defs", {})),
        }
        for name, shape in schema.get("properties", {}).items()
    ]


def _header_parameters(route: Route[Any]) -> list[dict[str, Any]]:
    names = [] if route.method == "GET" or route.secret else [IDEMPOTENCY_KEY]
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": description,
            "schema": {"type": "string", "pattern": pattern},
        }
        for name, description, pattern in (*names, *route.headers)
    ]


def _plain(shape: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Write a parameter's schema without references and without null: a query has no null."""
    options = [option for option in shape.get("anyOf", [shape]) if option.get("type") != "null"]
    resolved = {
        key: value
        for key, value in {**shape, **options[0]}.items()
        if key not in {"anyOf", "title", "description"} and not (key == "default" and value is None)
    }
    reference = resolved.pop("$ref", None)
    if reference is not None:
        resolved |= definitions[reference.rsplit("/", 1)[-1]]
        resolved = {k: v for k, v in resolved.items() if k not in {"title", "description"}}
    return resolved
