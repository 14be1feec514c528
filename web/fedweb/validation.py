"""Turn a validator's errors into ours: the field's dotted path, and the cure in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from fedcore.errors import FieldError, Invalid, first_of
from fedcore.ids import NAME_PATTERN

_NAME_CURE: Final = (
    "must be a DNS-1123 label: at most 63 of a-z, 0-9 and -, beginning and ending with a letter "
    "or digit"
)
_WORDS: Final[Mapping[str, str]] = {
    "missing": "is required",
    "extra_forbidden": "is no known key",
    "string_type": "must be text; quote it",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must be of the form {pattern}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "enum": "must be one of {expected}",
    "literal_error": "must be one of {expected}",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "list_type": "must be a list",
    "too_long": "must hold at most {max_length} entries",
    "timezone_aware": "must be a time with its zone, such as 2026-01-31T12:00:00Z",
    "datetime_type": "must be a time with its zone, such as 2026-01-31T12:00:00Z",
    "datetime_parsing": "must be a time with its zone, such as 2026-01-31T12:00:00Z",
    "datetime_from_date_parsing": "must be a time with its zone, such as 2026-01-31T12:00:00Z",
}


def errors_of(error: ValidationError, prefix: str = "") -> tuple[FieldError, ...]:
    """Turn pydantic's complaints into errors with dotted paths."""
    return tuple(
        FieldError(
            path=".".join(
                [*([prefix] if prefix else []), *(str(part) for part in complaint["loc"])]
            ),
            message=_message(complaint),
        )
        for complaint in error.errors(include_url=False, include_input=False)
    )


def invalid(error: ValidationError, prefix: str = "", *, whole: str) -> Invalid:
    """Build the error that names the first error in its sentence; ``whole`` is the input's name."""
    errors = errors_of(error, prefix)
    return Invalid(first_of(errors, whole=whole), errors=errors)


def _message(complaint: Mapping[str, Any]) -> str:
    context: Mapping[str, Any] = complaint.get("ctx", {})
    if isinstance(context.get("error"), ValueError):
        return str(context["error"])
    if context.get("pattern") == NAME_PATTERN:
        return _NAME_CURE
    words = _WORDS.get(str(complaint["type"]))
    if words is None:
        return str(complaint["msg"]).replace("Input should be", "must be")
    return words.format_map(context)
