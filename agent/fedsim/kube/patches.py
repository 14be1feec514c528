"""Merge patch (RFC 7386), JSON patch (RFC 6902) and Kubernetes' strategic merge patch."""

from __future__ import annotations

from typing import Any

from fedsim.kube.errors import ApiError, bad_request
from fedsim.kube.listkeys import Path, is_set, item_key, list_keys
from fedsim.kube.store import Json, clone

_PATCH_LIMIT = 10_000


def merge_patch(target: Any, patch: Any) -> Any:
    """Return ``target`` with a merge patch applied; null takes a field away."""
    if not isinstance(patch, dict):
        return clone(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def strategic_merge(target: Any, patch: Any, path: Path = ()) -> Any:
    """Return ``target`` with a strategic merge patch applied: known lists merge by key."""
    if not isinstance(patch, dict):
        return clone(patch)
    if patch.get("$patch") == "replace":
        return {key: clone(value) for key, value in patch.items() if key != "$patch"}
    merged = dict(target) if isinstance(target, dict) else {}
    if "$retainKeys" in patch:
        merged = {key: value for key, value in merged.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            merged[field] = [item for item in merged.get(field, []) if item not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = _strategic_value(merged.get(key), value, (*path, key))
    return merged


def _strategic_value(target: Any, patch: Any, path: Path) -> Any:
    if not isinstance(patch, list):
        return strategic_merge(target, patch, path)
    current = target if isinstance(target, list) else []
    if is_set(path):
        return [*current, *(item for item in patch if item not in current)]
    keys = list_keys(path)
    if keys is None or not all(isinstance(item, dict) for item in patch):
        return clone(patch)
    return _strategic_list(current, patch, keys[:1], path)


def _strategic_list(
    current: list[Json], patch: list[Json], keys: tuple[str, ...], path: Path
) -> list[Json]:
    if any(item.get("$patch") == "replace" for item in patch):
        return [clone(item) for item in patch if "$patch" not in item]
    merged = {item_key(item, keys): item for item in current}
    for item in patch:
        if any(item.get(key) is None for key in keys):
            raise bad_request(f"map: {item} does not contain declared merge key: {keys[0]}")
        key = item_key(item, keys)
        if item.get("$patch") == "delete":
            merged.pop(key, None)
        else:
            merged[key] = strategic_merge(merged.get(key), item, path)
    return list(merged.values())


def json_patch(target: Json, operations: Any) -> Json:
    """Return ``target`` with a JSON patch applied; raises 400 or 422, as Kubernetes does."""
    if not isinstance(operations, list):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(operations) > _PATCH_LIMIT:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {_PATCH_LIMIT}, "
            f"got {len(operations)}",
        )
    document: Any = clone(target)
    for operation in operations:
        try:
            document = _operate(document, operation)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            raise ApiError(
                422,
                "Invalid",
                f"the server rejected our request due to an error in our request: {error}",
            ) from error
    if not isinstance(document, dict):
        raise bad_request("the patch leaves no object")
    return document


def _operate(document: Any, operation: Json) -> Any:
    steps = _steps(operation["path"])
    match operation["op"]:
        case "add":
            return _add(document, steps, clone(operation["value"]))
        case "remove":
            _take(document, steps)
            return document
        case "replace":
            _look(document, steps)
            return _set(document, steps, clone(operation["value"]))
        case "move":
            value = _take(document, _steps(operation["from"]))
            return _add(document, steps, value)
        case "copy":
            return _add(document, steps, clone(_look(document, _steps(operation["from"]))))
        case "test":
            if _look(document, steps) != operation.get("value"):
                raise ValueError(f"testing path {operation['path']} value failed: test failed")
            return document
        case word:
            raise ValueError(f"unexpected kind: {word}")


def _steps(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is no JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _index(parent: list[Any], step: str, *, may_append: bool = False) -> int:
    if may_append and step == "-":
        return len(parent)
    index = int(step)
    if not 0 <= index < len(parent) + may_append:
        raise IndexError(f"unable to access invalid index: {index}")
    return index


def _look(document: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(document, list):
            document = document[_index(document, step)]
        else:
            document = document[step]
    return document


def _add(document: Any, steps: list[str], value: Any) -> Any:
    if not steps:
        return value
    parent = _look(document, steps[:-1])
    if isinstance(parent, list):
        parent.insert(_index(parent, steps[-1], may_append=True), value)
    else:
        parent[steps[-1]] = value
    return document


def _set(document: Any, steps: list[str], value: Any) -> Any:
    if not steps:
        return value
    parent = _look(document, steps[:-1])
    if isinstance(parent, list):
        parent[_index(parent, steps[-1])] = value
    else:
        parent[steps[-1]] = value
    return document


def _take(document: Any, steps: list[str]) -> Any:
    parent = _look(document, steps[:-1])
    if isinstance(parent, list):
        return parent.pop(_index(parent, steps[-1]))
    return parent.pop(steps[-1])
