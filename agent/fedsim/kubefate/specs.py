"""Read what a request carries: the cluster.yaml, and the JSON around it, with Go's error texts."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from fedsim.kubefate.records import ClusterArgs

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class BindError(ValueError):
    """A body that does not fit; the text is Go's."""


class SpecError(ValueError):
    """A cluster.yaml that cannot be read; the text is that of Go's YAML library."""


def parse_spec(text: str) -> dict[str, Any] | None:
    """Read a cluster.yaml (or JSON) into JSON's types; None where it is empty."""
    try:
        document = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, in C where it is
    except (yaml.YAMLError, RecursionError) as error:
        cause = " ".join(str(error).split()) or "exceeded max depth"
        raise SpecError(f"error converting YAML to JSON: yaml: {cause}") from error
    if document is None:
        return None
    if not isinstance(document, dict):
        raise SpecError(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
            f"{_json_kind(document)} into Go value of type modules.MapStringInterface"
        )
    try:
        # Through JSON: keys become text, as do values that JSON does not have.
        return dict(json.loads(json.dumps(document, default=str)))
    except (ValueError, RecursionError) as error:
        raise SpecError("error converting YAML to JSON: yaml: exceeded max depth") from error


def bind(body: bytes) -> dict[str, Any]:
    """Read a JSON object; raise BindError."""
    if not body.strip():
        raise BindError("EOF")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise BindError(_syntax(body, error)) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise BindError("exceeded max depth") from error
    if not isinstance(document, dict):
        kind = _json_kind(document)
        raise BindError(f"json: cannot unmarshal {kind} into Go value of type modules.ClusterArgs")
    return document


def _syntax(body: bytes, error: json.JSONDecodeError) -> str:
    text = body.decode(errors="replace")
    if error.pos >= len(text.rstrip()):
        return "unexpected EOF"
    return f"invalid character '{text[error.pos]}' looking for beginning of value"


def bind_cluster_args(body: bytes) -> ClusterArgs:
    """Read the request of a POST or PUT; names match in any case, unknown ones are passed over."""
    fields = {key.lower(): value for key, value in bind(body).items()}
    data = _field(fields, "data", "[]uint8", lambda value: isinstance(value, str))
    if data is not None:
        _check_base64(data)
    return ClusterArgs(
        name=_text(fields, "name"),
        namespace=_text(fields, "namespace"),
        chart_name=_text(fields, "chart_name"),
        chart_version=_text(fields, "chart_version"),
        cover=_flag(fields, "cover"),
        data=data,
    )


def _text(fields: Mapping[str, Any], name: str) -> str:
    return _field(fields, name, "string", lambda value: isinstance(value, str)) or ""


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    return bool(_field(fields, name, "bool", lambda value: isinstance(value, bool)))


def _field(fields: Mapping[str, Any], name: str, kind: str, fits: Callable[[Any], bool]) -> Any:
    value = fields.get(name)
    if value is None or fits(value):
        return value
    raise BindError(
        f"json: cannot unmarshal {_json_kind(value)} into Go struct field "
        f"ClusterArgs.{name} of type {kind}"
    )


def _check_base64(data: str) -> None:
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BindError(f"illegal base64 data at input byte {_bad_byte(data)}") from error


def _bad_byte(data: str) -> int:
    for index, char in enumerate(data):
        if not (char.isascii() and (char.isalnum() or char in "+/=")):
            return index
    return max(0, len(data) - len(data) % 4)


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    for kind, word in ((str, "string"), (list, "array"), (dict, "object")):
        if isinstance(value, kind):
            return word
    return "null"
