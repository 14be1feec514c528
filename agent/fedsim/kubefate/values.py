"""Turn a cluster.yaml into the values that the 1.8 charts' templates see.

Two stages, as in the service: the chart's ``values-template.yaml`` is executed on the cluster.yaml,
and Helm merges its output over the chart's ``values.yaml``. A value that comes out empty is null,
and null deletes the chart's default; a block that is left out keeps the chart's samples.
That is where the leaks of the real charts come from, so both stages are kept apart here too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

Values = dict[str, Any]
_PLACEMENT = ("nodeSelector", "tolerations", "affinity")


class RenderError(Exception):
    """A template that fails; the text is Go's or Helm's."""


def merge(defaults: Mapping[str, Any], stated: Mapping[str, Any]) -> Values:
    """Lay values over a chart's defaults by Helm's rule: maps merge, null deletes."""
    merged = dict(defaults)
    for key, value in stated.items():
        default = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(default, Mapping):
            merged[key] = merge(default, value)
        else:
            merged[key] = value
    return merged


def dig(values: Any, *path: str) -> Any:
    """Return a nested value, or None where any step of the path is missing."""
    for key in path:
        if not isinstance(values, Mapping):
            return None
        values = values.get(key)
    return values


def scalar(value: Any) -> Any:
    """Print a value into YAML and read it back: empty text becomes null, "80" a number."""
    if not isinstance(value, str):
        return value
    try:
        read = yaml.safe_load(value) if value.strip() else None
    except yaml.YAMLError:
        return value
    return read if read is None or isinstance(read, str | int | float | bool) else value


def go_number(value: Any) -> str:
    """Print a value as Go prints it after JSON: from a million on, numbers get an exponent."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if isinstance(value, float) and not value.is_integer():
        return repr(value)
    whole = int(value)
    digits = str(abs(whole))
    if len(digits) <= 6:  # Go's %g turns to exponents at seven digits
        return str(whole)
    mantissa = digits.rstrip("0")
    point = f".{mantissa[1:]}" if len(mantissa) > 1 else ""
    return f"{'-' if whole < 0 else ''}{mantissa[0]}{point}e+{len(digits) - 1:02d}"


def block(spec: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Return a block of the cluster.yaml, or None where the template's ``with`` skips it."""
    stated = spec.get(name)
    if not stated:
        return None
    if not isinstance(stated, Mapping):
        raise RenderError(
            'template: fate-values-templates: executing "fate-values-templates": '
            f"can't evaluate field type in type interface {{}} ({name})"
        )
    return stated


def includes(spec: Mapping[str, Any], name: str) -> bool:
    """Return whether a module is in the list of modules."""
    modules = spec.get("modules")
    return isinstance(modules, list) and name in modules


def image_values(spec: Mapping[str, Any]) -> Values:
    """Return the values that all charts have for images."""
    registry = spec.get("registry")
    values: Values = {
        "registry": registry or "federatedai",
        "isThridParty": bool(registry),
        "tag": spec.get("imageTag") or "1.8.0-release",
        "pullPolicy": spec.get("pullPolicy") or "IfNotPresent",
    }
    return values | filled(spec, "imagePullSecrets")


def filled(stated: Mapping[str, Any], *names: str) -> Values:
    """Copy what is stated and not empty; the rest keeps the chart's default."""
    return {name: stated[name] for name in names if stated.get(name)}


def copied(stated: Mapping[str, Any], *names: str, **defaults: Any) -> Values:
    """Copy scalars, an empty one as null; ``defaults`` stand in where a value is empty."""
    values = {name: scalar(stated.get(name)) for name in names}
    return values | {
        name: scalar(stated.get(name)) or default for name, default in defaults.items()
    }


def placement(stated: Mapping[str, Any]) -> Values:
    """Copy where pods may run."""
    return filled(stated, *_PLACEMENT)


def route_table(stated: Mapping[str, Any]) -> Values | None:
    """Copy a route table; its keys become text, sorted as Go sorts them. Empty is null."""
    table = stated.get("route_table")
    if not isinstance(table, Mapping) or not table:
        return None
    return {str(key): table[key] for key in sorted(table, key=str)}


def yaml_text(value: Any) -> str:
    """Print YAML as the charts' toYaml does: keys sorted, lists not indented, no end of line."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=False, sort_keys=True, width=4096)
    return text.removesuffix("\n").removesuffix("\n...")


def indent(text: str, spaces: int) -> str:
    """Move every line to the right."""
    pad = " " * spaces
    return "\n".join(pad + line for line in text.split("\n"))


def lines(parts: Iterable[str]) -> str:
    """Join lines into the text of a file."""
    return "\n".join(parts) + "\n"


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Print no anchors: the same list given twice is printed twice.

    In C, where it is: a manifest is printed for each revision, and Python takes ten times as long.
    """

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class calls it so
        return True
