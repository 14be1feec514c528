"""Bounds on an intent before anything else looks at it: depth, size, texts and numbers.

Whatever passes can be written as canonical JSON, stored as such and put into YAML by KubeFATE's
text templates without changing its meaning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fedcore.errors import FieldError
from fedcore.yaml_safety import WHOLE_KEYS, unsafe_document_reason, unsafe_reason

MAX_DEPTH: Final = 32
MAX_NODES: Final = 100_000
"""Counted as a tree: what YAML aliases repeat counts child time."""
MAX_TEXT_CHARS: Final = 16_384
MAX_SAFE_INTEGER: Final = 2**53
"""KubeFATE reads numbers as 64-bit floats."""

_LINE_ENDS: Final = "\u2028\u2029"
"""Line breaks in YAML 1.1, beside the control characters; no agent takes them either."""

Path = tuple[str, ...]


def payload_error(payload: object) -> FieldError | None:
    """Return the reason against the first bad text of a parsed JSON or YAML tree, or None."""
    count = 0
    stack: list[tuple[Path, object]] = [((), payload)]
    while stack:
        path, value = stack.pop()
        count += 1
        message = _reason_against(path, value) or _overlay_objection(path, value)
        if count > MAX_NODES:
            message = f"holds more than {MAX_NODES} values; split it"
            path = ()
        if message:
            return FieldError(".".join(path), message)
        stack.extend(_children(path, value))
    return None


def _children(path: Path, value: object) -> Iterator[tuple[Path, object]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield (*path, str(key)), child
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield (*path, str(index)), child


def _reason_against(path: Path, value: object) -> str:
    if len(path) > MAX_DEPTH:
        return f"is nested deeper than {MAX_DEPTH} levels; flatten it"
    match value:
        case str():
            return _text_objection(value)
        case Mapping():
            return _keys_objection(value)
        case bool() | None | list() | tuple():
            return ""
        case int() | float():
            is_exact = math.isfinite(value) and abs(value) <= MAX_SAFE_INTEGER
            return "" if is_exact else "is no number that KubeFATE can read; write it as text"
        case _:
            return f"is a {type(value).__name__}; only JSON's types are taken, quote it as text"


def _overlay_objection(path: Path, value: object) -> str:
    """Keep an overlay's texts from being more than texts once KubeFATE has written them."""
    below = _below_values(path)
    if below is None:
        return ""
    reason_against = (
        unsafe_document_reason if below[:1] and below[0] in WHOLE_KEYS else unsafe_reason
    )
    if isinstance(value, str):
        return reason_against(value)
    for key in value if isinstance(value, Mapping) else ():
        if reason := reason_against(key):
            return f"has a key that {reason}"
    return ""


def _below_values(path: Path) -> Path | None:
    """Return the path within cluster.yaml of what stands below ``values``; None elsewhere."""
    match path:
        case ("exchange", "values", *below) | ("parties", _, "values", *below):
            return tuple(below)
        case _:
            return None


def _keys_objection(value: Mapping[Any, Any]) -> str:
    for key in value:
        if not isinstance(key, str):
            return f"has the key {key!r}, which is no text; quote it"
        if reason := _text_objection(key):
            return f"has a key that {reason}"
    return ""


def _text_objection(text: str) -> str:
    if len(text) > MAX_TEXT_CHARS:
        return f"is longer than {MAX_TEXT_CHARS} characters"
    if text.isprintable():
        return ""
    for char in text:
        if char < " " or "\x7f" <= char <= "\x9f" or char in _LINE_ENDS:
            return f"holds the control character {char!r}; remove it"
        if "\ud800" <= char <= "\udfff":
            return "holds half a character (a lone surrogate); remove it"
    return ""
