"""Server-side apply with its ownership of fields, and merge patch.

Ownership covers what an apply named. A list and a plain update are not looked into: the real
server merges some lists by key and lets an update take fields over. Here every list has one writer,
so that both would end in the same object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from fedsim.kube.errors import ApiError, Cause, bad_request
from fedsim.kube.store import Json, clone

Path = tuple[str, ...]
Owners = dict[str, frozenset[Path]]
_UNOWNED = frozenset({("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")})


def merge_patch(target: Any, patch: Any) -> Any:
    """Return ``target`` with a merge patch applied (RFC 7386); null removes a field."""
    if not isinstance(patch, dict):
        return clone(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def apply(live: Json, config: Json, manager: str, stamp: str, *, force: bool) -> Json:
    """Return ``live`` with a manager's whole configuration applied.

    Fields that the manager applied before and no longer names go, unless another applier owns them.
    Raises 409 when another applier owns a field with another value and ``force`` is not set.
    """
    if config["metadata"].get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    owners = _owners(live)
    before = owners.pop(manager, frozenset())
    paths = frozenset(_paths(config)) - _UNOWNED
    contested = [
        (owner, path)
        for owner, owned in owners.items()
        for path in sorted(owned & paths)
        if _value_at(live, path) != _value_at(config, path)
    ]
    if contested and not force:
        raise _conflict(contested)
    for owner, path in contested:
        owners[owner] -= {path}
    merged: Json = _merge(live, config)
    owners[manager] = paths
    for path in before - frozenset().union(*owners.values()):
        _remove_at(merged, path)
    _write_owners(merged, owners, stamp)
    return merged


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the paths to all leaves; lists and empty objects are leaves, null is nothing."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif value is not None:
        yield path


def _value_at(obj: Any, path: Path) -> Any:
    for key in path:
        obj = obj.get(key) if isinstance(obj, dict) else None
    return obj


def _remove_at(obj: Json, path: Path) -> None:
    parent = _value_at(obj, path[:-1])
    if isinstance(parent, dict) and not (isinstance(parent.get(path[-1]), dict)):
        parent.pop(path[-1], None)


def _merge(live: Any, config: Any) -> Any:
    if not isinstance(config, dict) or not isinstance(live, dict):
        return clone(config)
    merged = clone(live)
    for key, value in config.items():
        if value is not None:
            merged[key] = _merge(live.get(key), value)
    return merged


def _owners(obj: Json) -> Owners:
    entries = obj["metadata"].get("managedFields") or ()
    return {entry["manager"]: frozenset(_field_paths(entry["fieldsV1"])) for entry in entries}


def _field_paths(fields: Json, path: Path = ()) -> Iterator[Path]:
    for key, inner in fields.items():
        step = (*path, key.removeprefix("f:"))
        if inner:
            yield from _field_paths(inner, step)
        else:
            yield step


def _write_owners(obj: Json, owners: Owners, stamp: str) -> None:
    """Write ``metadata.managedFields``; an entry that stays the same keeps its time."""
    entries = {entry["manager"]: entry for entry in obj["metadata"].get("managedFields") or ()}
    obj["metadata"]["managedFields"] = [
        _entry(manager, owners[manager], obj["apiVersion"], entries.get(manager) or {}, stamp)
        for manager in sorted(owners)
        if owners[manager]
    ]


def _entry(manager: str, paths: frozenset[Path], version: str, before: Json, stamp: str) -> Json:
    fields: Json = {}
    for path in sorted(paths):
        node = fields
        for key in path:
            node = node.setdefault(f"f:{key}", {})
    return {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": version,
        "time": before["time"] if before.get("fieldsV1") == fields else stamp,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


def _conflict(contested: list[tuple[str, Path]]) -> ApiError:
    causes = [
        Cause("FieldManagerConflict", f'conflict with "{owner}" using v1', "." + ".".join(path))
        for owner, path in contested
    ]
    noun = "conflict" if len(causes) == 1 else "conflicts"
    text = "\n".join(f"{cause.message}: {cause.field}" for cause in causes)
    message = f"Apply failed with {len(causes)} {noun}: {text}"
    return ApiError(409, "Conflict", message, {"causes": [asdict(cause) for cause in causes]})
