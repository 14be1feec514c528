"""Sets of fields: who owns what, as ``metadata.managedFields`` writes it (``FieldsV1``).

A field is a path of elements: ``f:name`` for a field, ``k:{"name":"x"}`` for the item of a list
that merges by key, ``v:"x"`` for a member of a set. A path that ends in ``.`` owns the presence
of an item or an empty map, not what is in it.
"""

from __future__ import annotations

import json
from typing import Any

from fedsim.kube.listkeys import is_atomic_map, is_set, list_keys
from fedsim.kube.store import Json

Path = tuple[str, ...]
FieldSet = frozenset[Path]
_UNOWNED = frozenset(
    {
        "name",
        "namespace",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
    }
)


def fields_of(obj: Json) -> FieldSet:
    """Return every field that the object sets."""
    found: set[Path] = set()
    for key, value in obj.items():
        if key == "metadata":
            owned = {name: item for name, item in value.items() if name not in _UNOWNED}
            for name, item in owned.items():
                _collect(item, ("f:metadata", f"f:{name}"), ("metadata", name), found)
        elif key not in {"apiVersion", "kind"}:
            _collect(value, (f"f:{key}",), (key,), found)
    return frozenset(found)


def _collect(value: Any, path: Path, names: tuple[str, ...], found: set[Path]) -> None:
    if isinstance(value, dict) and value and not is_atomic_map(names):
        for key, item in value.items():
            _collect(item, (*path, f"f:{key}"), (*names, key), found)
    elif isinstance(value, list) and value and is_set(names):
        found.update((*path, f"v:{json.dumps(item)}") for item in value)
    elif isinstance(value, list) and value and (keys := list_keys(names)):
        for item in value:
            if isinstance(item, dict):
                _collect_item(item, (*path, element(item, keys)), names, found)
    else:
        found.add(path)


def _collect_item(item: Json, path: Path, names: tuple[str, ...], found: set[Path]) -> None:
    found.add((*path, "."))
    for key, value in item.items():
        _collect(value, (*path, f"f:{key}"), (*names, key), found)


def element(item: Json, keys: tuple[str, ...]) -> str:
    """Return the path element of a list item."""
    key = {name: item.get(name, "TCP" if name == "protocol" else None) for name in keys}
    present = {name: value for name, value in key.items() if value is not None}
    return "k:" + json.dumps(present, separators=(",", ":"), sort_keys=True)


def to_fields_v1(fields: FieldSet) -> Json:
    """Return the nested wire form."""
    root: Json = {}
    for path in sorted(fields):
        node = root
        for step in path:
            node = node.setdefault(step, {})
    return root


def from_fields_v1(root: Json) -> FieldSet:
    """Read the nested wire form."""
    found: set[Path] = set()
    _leaves(root, (), found)
    return frozenset(found)


def _leaves(node: Json, path: Path, found: set[Path]) -> None:
    if not node:
        if path:
            found.add(path)
        return
    for step, child in node.items():
        _leaves(child, (*path, step), found)


_ABSENT = object()


def value_at(obj: Any, path: Path) -> Any:
    """Return what the object holds at a path, a unique mark when nothing is there."""
    value = obj
    for step in path:
        if step == ".":
            return True
        value = _step_into(value, step)
        if value is _ABSENT:
            return _ABSENT
    return value


def is_at(obj: Any, path: Path) -> bool:
    """Say whether the object has something at a path."""
    return value_at(obj, path) is not _ABSENT


def _step_into(value: Any, step: str) -> Any:
    sort, name = step[:2], step[2:]
    if sort == "f:":
        return value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
    if not isinstance(value, list):
        return _ABSENT
    wanted = json.loads(name)
    if sort == "v:":
        return wanted if wanted in value else _ABSENT
    for item in value:
        if has_key(item, wanted):
            return item
    return _ABSENT


def has_key(item: Any, wanted: Json) -> bool:
    """Say whether a list item has the key of a path element."""
    return isinstance(item, dict) and all(
        item.get(name, "TCP" if name == "protocol" else None) == value
        for name, value in wanted.items()
    )


def remove_at(obj: Any, path: Path) -> None:
    """Take the field, item or member at a path out of the object, in place."""
    parent, last = value_at(obj, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent.pop(last[2:], None)
    elif isinstance(parent, list):
        wanted = json.loads(last[2:])
        keep = [
            item
            for item in parent
            if not (item == wanted if last.startswith("v:") else has_key(item, wanted))
        ]
        parent[:] = keep


def dotted(path: Path) -> str:
    """Write a path as conflict texts do: ``.spec.template.spec.containers[name="x"].image``."""
    text = ""
    for step in path:
        sort, name = step[:2], step[2:]
        if sort == "f:":
            text += f".{name}"
        elif sort == "k:":
            keys = json.loads(name)
            text += "[" + ",".join(f"{k}={json.dumps(v)}" for k, v in keys.items()) + "]"
        elif sort == "v:":
            text += f"[={name}]"
    return text
