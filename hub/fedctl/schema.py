"""The hub's OpenAPI document as an explanation of every key, nested ones included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fedctl.errors import CliError, ExitCode
from fedctl.resources import kind_of

Schema = Mapping[str, Any]
INTENT: Final = "FederationIntent"
_VIEWS: Final = {
    "federations": (INTENT, "FederationView"),
    "participants": ("ParticipantDetail", "ParticipantView"),
    "operations": ("OperationDetail", "OperationView"),
}
_LIMITS: Final = (
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("minLength", "{} characters or more"),
    ("maxLength", "{} characters at most"),
    ("maxItems", "{} items at most"),
    ("pattern", "matches {}"),
)


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it takes, whether it must be there, its default, and what it means."""

    name: str
    type: str
    is_required: bool
    default: Any
    has_default: bool
    description: str
    limits: tuple[str, ...]
    keys: tuple[Key, ...]


def find_key(document: Schema, path: str) -> Key:
    """Return the key that ``path`` names (``federation.parties.advertise``), with those below."""
    word, *rest = path.split(".")
    schemas: Schema = document.get("components", {}).get("schemas", {})
    key = _key(schemas, word, _root(schemas, word), is_required=True)
    for index, part in enumerate(rest):
        below = {child.name: child for child in key.keys}
        if part not in below:
            above = ".".join([word, *rest[:index]])
            names = ", ".join(below) or "none: it is a plain value or free"
            raise CliError(
                ExitCode.NOT_FOUND, f"{above} has no key {part!r}", hint=f"its keys: {names}"
            )
        key = below[part]
    return key


def _root(schemas: Schema, word: str) -> Schema:
    """Return the schema of a kind, or of a schema that is named itself."""
    names: tuple[str, ...] = (word,)
    if word not in schemas:
        kind = kind_of(word)
        names = _VIEWS.get(kind.plural, (f"{kind.singular.capitalize()}View",))
    for name in names:
        if name in schemas:
            schema: Schema = schemas[name]
            return schema
    raise CliError(
        ExitCode.NOT_FOUND,
        f"the hub does not describe {word}",
        hint=f"this hub's schemas: {', '.join(sorted(schemas))}",
    )


def walk(key: Key, depth: int = 0) -> Iterator[tuple[int, Key]]:
    """Yield every key below one, each with its depth."""
    for below in key.keys:
        yield depth, below
        yield from walk(below, depth + 1)


def _key(
    schemas: Schema,
    name: str,
    shape: Schema,
    *,
    is_required: bool,
    above: tuple[str, ...] = (),
) -> Key:
    schema, reference = _resolve(schemas, shape)
    inner, inner_reference = _item(schemas, schema)
    above_children = (*above, reference, inner_reference)
    required = set(inner.get("required", ()))
    properties: Schema = inner.get("properties", {})
    is_recursive = inner_reference != "" and inner_reference in above
    return Key(
        name=name,
        type=_type(schemas, schema),
        is_required=is_required,
        default=shape.get("default"),
        has_default="default" in shape,
        description=str(shape.get("description") or schema.get("description") or ""),
        limits=tuple(text.format(schema[word]) for word, text in _LIMITS if word in schema),
        keys=()
        if is_recursive
        else tuple(
            _key(schemas, key, child, is_required=key in required, above=above_children)
            for key, child in properties.items()
        ),
    )


def _resolve(schemas: Schema, shape: Schema) -> tuple[Schema, str]:
    """Follow references and leave out ``null``: a key that may be absent is written or not."""
    options = [option for option in shape.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        shape = {**shape, **options[0]}
    reference = str(shape.get("$ref", "")).rsplit("/", 1)[-1]
    return ({**schemas.get(reference, {}), **shape}, reference) if reference else (shape, "")


def _item(schemas: Schema, schema: Schema) -> tuple[Schema, str]:
    """Return what a list holds, or the schema itself with its reference."""
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        return _resolve(schemas, schema["items"])
    return schema, str(schema.get("$ref", "")).rsplit("/", 1)[-1]


def _type(schemas: Schema, schema: Schema) -> str:
    if "const" in schema:
        return f"always {schema['const']}"
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        item, _ = _item(schemas, schema)
        return f"list of {_plural(_type(schemas, item))}"
    word = str(schema.get("type", "anything"))
    if word == "object" and schema.get("additionalProperties") not in (None, False):
        return "mapping"
    return {"string": "text", "integer": "whole number", "boolean": "true | false"}.get(word, word)


def _plural(word: str) -> str:
    return {"text": "texts", "object": "objects", "whole number": "whole numbers"}.get(word, word)
