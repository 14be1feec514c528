"""Check an operator's overlay of cluster.yaml against what a release's chart takes.

KubeFATE ignores a misspelt key in silence and fails an hour later on a wrong one, so each error is
found here, with its path and its cure.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from fedcore.errors import FieldError
from fedhub.domain.release import RoleRelease
from fedhub.planner.values import merge

MAX_OVERLAY_BYTES: Final = 32 * 1024
"""KubeFATE keeps the whole cluster.yaml in a column of 64 KB."""
AGENT_KEYS: Final = ("lcmOwner", "lcmRevision", "lcmDigest")


def overlay_errors(role: RoleRelease, overlay: Mapping[str, Any], path: str) -> list[FieldError]:
    """List what is wrong with ``overlay``, which stands at ``path`` of the intent."""
    if not overlay:
        return []
    errors = [*_unknown(role, overlay, path)]
    errors.extend(_reserved(role, overlay, path))
    shape = {block: {} for block in _blocks(role)} | role.defaults
    errors.extend(_misshapen(shape, overlay, path))
    if not errors:
        errors.extend(_incomplete(role, overlay, path))
    size = len(json.dumps(overlay))
    if size > MAX_OVERLAY_BYTES:
        errors.append(
            FieldError(
                path, f"is {size} bytes of JSON; {MAX_OVERLAY_BYTES} are allowed: shorten it"
            )
        )
    return errors


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the one of ``choices`` that was probably meant, or all of them, as words."""
    words = sorted(choices)
    close = difflib.get_close_matches(word, words, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}known keys: {', '.join(words)}"


def _blocks(role: RoleRelease) -> set[str]:
    return {key.partition(".")[0] for key in role.known_keys if "." in key}


def _unknown(role: RoleRelease, overlay: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    top = {key for key in role.known_keys if "." not in key}
    offered = top - set(role.reserved)
    blocks = _blocks(role)
    for key, value in overlay.items():
        if key in AGENT_KEYS:
            yield FieldError(f"{path}.{key}", "is set by the product; remove it")
        elif key not in top:
            yield FieldError(f"{path}.{key}", f"is no key of the chart; {nearest(key, offered)}")
        elif key in blocks and isinstance(value, Mapping):
            inner_keys = {path.partition(".")[2] for path in role.known_keys if _within(path, key)}
            free = {name for name in inner_keys if f"{key}.{name}" not in role.reserved}
            for inner in value:
                if inner not in inner_keys:
                    yield FieldError(
                        f"{path}.{key}.{inner}",
                        f"is no key of the chart's {key}; {nearest(inner, free)}",
                    )


def _within(dotted: str, block: str) -> bool:
    return dotted.startswith(f"{block}.")


def _reserved(role: RoleRelease, overlay: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    for dotted in role.reserved:
        if _lookup(overlay, dotted, missing=overlay) is not overlay:
            yield FieldError(
                f"{path}.{dotted}",
                "is computed from the federation and cannot be overlaid; remove it",
            )


def _misshapen(
    shape: Mapping[str, Any], overlay: Mapping[str, Any], path: str
) -> Iterator[FieldError]:
    """Find blocks replaced by a bare value: every default in them would be lost."""
    for key, value in overlay.items():
        below = shape.get(key)
        if not isinstance(below, Mapping):
            continue
        if not isinstance(value, Mapping):
            yield FieldError(f"{path}.{key}", "must be a mapping, for example {type: ClusterIP}")
        else:
            yield from _misshapen(below, value, f"{path}.{key}")


def _incomplete(role: RoleRelease, overlay: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    values = merge(role.defaults, overlay)
    for requirement in role.requirements:
        if not _lookup(values, requirement.when, missing=None):
            continue
        for dotted in requirement.needs:
            if not _lookup(values, dotted, missing=None):
                yield FieldError(
                    f"{path}.{dotted}",
                    f"must be given with `{requirement.when}`, because {requirement.reason}",
                )


def _lookup(tree: Mapping[str, Any], dotted: str, *, missing: Any) -> Any:
    value: Any = tree
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return missing
        value = value[part]
    return value
