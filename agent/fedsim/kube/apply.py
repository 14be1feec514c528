"""Server-side apply, and the ownership of fields that it rests on.

Works without schemas: `listkeys` says which lists merge. Ownership follows the values as they
change, for applies and for plain updates alike, so that a conflict names the manager who set a
field last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fedsim.kube.errors import ApiError, Cause, bad_request
from fedsim.kube.fieldsets import (
    FieldSet,
    Path,
    dotted,
    element,
    fields_of,
    from_fields_v1,
    is_at,
    remove_at,
    to_fields_v1,
    value_at,
)
from fedsim.kube.listkeys import is_atomic_map, is_set, list_keys
from fedsim.kube.store import Json, clone


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes: a name, by which operation, and to which subresource."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    @classmethod
    def of(cls, entry: Json) -> Manager:
        """Read an entry of ``managedFields``."""
        return cls(
            entry.get("manager", ""),
            entry.get("operation", "Update"),
            entry.get("apiVersion", "v1"),
            entry.get("subresource", ""),
        )


@dataclass(slots=True)
class Owned:
    """What one manager owns, and since when."""

    manager: Manager
    fields: FieldSet
    time: str

    def to_json(self) -> Json:
        """Return the entry of ``managedFields``."""
        entry: Json = {
            "manager": self.manager.name,
            "operation": self.manager.operation,
            "apiVersion": self.manager.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_fields_v1(self.fields),
        }
        if self.manager.subresource:
            entry["subresource"] = self.manager.subresource
        return entry


def apply(live: Json, config: Json, manager: Manager, stamp: str, *, force: bool) -> Json:
    """Return ``live`` with a manager's whole wish applied.

    Fields that the manager applied before and no longer names go, unless another owns them.
    Raises 409 when another manager owns a field with another value and ``force`` is not given.
    """
    if config["metadata"].get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    config = _without_nulls(config)
    entries = _read(live)
    wanted = fields_of(config)
    others = [entry for entry in entries if entry.manager != manager]
    contested = _conflicts(live, config, wanted, others)
    if contested and not force:
        raise _conflict_error(contested)
    for entry in others:
        entry.fields -= frozenset(path for owner, path in contested if owner is entry.manager)
    before = next((entry.fields for entry in entries if entry.manager == manager), frozenset())
    merged: Json = _merge(live, config, ())
    _drop(merged, before - wanted, (wanted, *(entry.fields for entry in others)))
    others.append(Owned(manager, wanted, stamp))
    _write(merged, others, live)
    return merged


def track(before: Json | None, after: Json, manager: Manager, stamp: str) -> None:
    """Write into ``after`` who owns what, given that ``manager`` changed it from ``before``."""
    metadata = after["metadata"]
    if "managedFields" in metadata and not any(metadata["managedFields"] or ()):
        metadata.pop("managedFields")
        return
    fields = fields_of(after)
    old = before or {"metadata": {}}
    changed = frozenset(path for path in fields if value_at(old, path) != value_at(after, path))
    entries = _read(old)
    for entry in entries:
        kept = frozenset(path for path in entry.fields if is_at(after, path))
        entry.fields = kept if entry.manager == manager else kept - changed
    own = next((entry for entry in entries if entry.manager == manager), None)
    if own is not None:
        own.fields |= changed
    elif changed:
        entries.append(Owned(manager, changed, stamp))
    _write(after, entries, old)


def _read(obj: Json) -> list[Owned]:
    return [
        Owned(Manager.of(entry), from_fields_v1(entry.get("fieldsV1") or {}), entry.get("time", ""))
        for entry in obj["metadata"].get("managedFields") or ()
        if entry
    ]


def _write(obj: Json, entries: list[Owned], before: Json) -> None:
    times = {entry.manager: entry for entry in _read(before)}
    written = []
    for entry in entries:
        known = times.get(entry.manager)
        if known is not None and known.fields == entry.fields:
            entry.time = known.time
        if entry.fields:
            written.append(entry)
    written.sort(key=lambda entry: (entry.manager.operation, entry.manager.name))
    obj["metadata"]["managedFields"] = [entry.to_json() for entry in written]


def _conflicts(
    live: Json, config: Json, wanted: FieldSet, others: Iterable[Owned]
) -> list[tuple[Manager, Path]]:
    return [
        (entry.manager, path)
        for entry in others
        for path in sorted(entry.fields & wanted)
        if is_at(live, path) and value_at(live, path) != value_at(config, path)
    ]


def _conflict_error(contested: list[tuple[Manager, Path]]) -> ApiError:
    by_owner: dict[Manager, list[str]] = {}
    for owner, path in contested:
        by_owner.setdefault(owner, []).append(dotted(path))
    texts = []
    for owner, fields in by_owner.items():
        who = f'"{owner.name}" using {owner.api_version}'
        if owner.subresource:
            who = f'"{owner.name}" with subresource "{owner.subresource}" using {owner.api_version}'
        if len(fields) == 1:
            texts.append(f"conflict with {who}: {fields[0]}")
        else:
            texts.append(f"conflicts with {who}:\n" + "\n".join(f"- {field}" for field in fields))
    count = len(contested)
    causes = [
        Cause(
            "FieldManagerConflict",
            f'conflict with "{owner.name}" using {owner.api_version}',
            dotted(path),
        ).to_json()
        for owner, path in contested
    ]
    noun = "conflict" if count == 1 else "conflicts"
    message = f"Apply failed with {count} {noun}: " + "\n".join(texts)
    return ApiError(409, "Conflict", message, {"causes": causes})


def _drop(obj: Json, gone: FieldSet, kept: Iterable[FieldSet]) -> None:
    """Remove fields that nobody owns any more; whole items first, while their keys are there."""
    sets = tuple(kept)
    stems = {path[:-1] if path[-1] == "." else path for path in gone}
    for stem in sorted(stems, key=len):
        if not any(owned[: len(stem)] == stem for fields in sets for owned in fields):
            remove_at(obj, stem)


def _merge(live: Any, config: Any, names: Path) -> Any:
    if isinstance(config, dict) and isinstance(live, dict):
        if names and is_atomic_map(names):
            return clone(config)
        merged = clone(live)
        for key, value in config.items():
            merged[key] = _merge(live.get(key), value, (*names, key))
        return merged
    if isinstance(config, list) and isinstance(live, list) and names:
        return _merge_list(live, config, names)
    return clone(config)


def _merge_list(live: list[Any], config: list[Any], names: Path) -> list[Any]:
    if is_set(names):
        return [*live, *(item for item in config if item not in live)]
    keys = list_keys(names)
    if keys is None:
        return clone(config)  # type: ignore[no-any-return]  # a copy of a list is a list
    merged = {element(item, keys): clone(item) for item in live}
    for item in config:
        key = element(item, keys)
        merged[key] = _merge(merged.get(key), item, names)
    return list(merged.values())


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
