"""What every ``Timing`` has in common: one frozen dataclass per component, waits as its fields.

A field's name ends in its unit, ``_s`` for seconds. A field that ends in ``_limit_s`` bounds one
step that should have ended long before; the other ``_s`` fields are intervals, pauses and patience,
which the product spends in good order.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar


class Timing(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=Timing)


def scaled(timing: T, factor: float) -> T:
    """Return ``timing`` with its waits divided by ``factor``, also those of timings inside it.

    A field that is a row of waits has each of them divided. For tests, which want the same
    behaviour sooner. Limits (``_limit_s``) stay as they are: a machine under load would exceed
    divided ones by itself.
    """
    changed: dict[str, Any] = {}
    for field in fields(timing):
        value = getattr(timing, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            changed[field.name] = scaled(value, factor)
        elif field.name.endswith("_s") and not field.name.endswith("_limit_s"):
            is_row = isinstance(value, tuple)
            changed[field.name] = tuple(s / factor for s in value) if is_row else value / factor
    return replace(timing, **changed)
