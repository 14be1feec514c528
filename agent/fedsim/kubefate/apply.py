"""Bring Kubernetes from one manifest to the next, as Helm's client does.

Objects are created kind by kind in Helm's order; what changed is merged three ways (old manifest,
new manifest, live object), so that what Kubernetes or others filled in stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from fedsim.kubefate.kubernetes_api import ApiError, KubernetesApi

Object = dict[str, Any]
Key = tuple[str, str]
_ORDER: Final = ("ConfigMap", "PersistentVolumeClaim", "Service", "Deployment", "Ingress")
_CONFLICT_TRIES: Final = 5


class OwnershipError(Exception):
    """An object of the manifest exists and belongs to somebody else."""


def key_of(item: Object) -> Key:
    """Return what identifies an object of a manifest."""
    return str(item["kind"]), str(item["metadata"]["name"])


def own(item: Object, release: str, namespace: str) -> Object:
    """Return the object with Helm's marks of ownership."""
    metadata = dict(item["metadata"])
    metadata["labels"] = {**metadata.get("labels", {}), "app.kubernetes.io/managed-by": "Helm"}
    metadata["annotations"] = {
        **metadata.get("annotations", {}),
        "meta.helm.sh/release-name": release,
        "meta.helm.sh/release-namespace": namespace,
    }
    return {**item, "metadata": metadata}


class Applier:
    """Applies and removes the objects of one release."""

    def __init__(self, api: KubernetesApi, namespace: str, release: str) -> None:
        self._api = api
        self._namespace = namespace
        self._release = release
        self._is_upgrade = False

    async def check_owner(self, objects: list[Object], word: str) -> None:
        """Raise OwnershipError when an object exists that this release does not own."""
        await _together([self._check_one(item, word) for item in objects])

    async def _check_one(self, item: Object, word: str) -> None:
        kind, name = key_of(item)
        live = await self._api.find(kind, self._namespace, name)
        if live is None:
            return
        metadata = live.get("metadata") or {}
        labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
        problems = _problems(labels, "label", {"app.kubernetes.io/managed-by": "Helm"})
        problems += _problems(
            notes,
            "annotation",
            {
                "meta.helm.sh/release-name": self._release,
                "meta.helm.sh/release-namespace": self._namespace,
            },
        )
        if problems:
            raise OwnershipError(
                "rendered manifests contain a resource that already exists. Unable to continue "
                f'with {word}: {kind} "{name}" in namespace "{self._namespace}" exists and cannot '
                f"be imported into the current release: invalid ownership metadata; "
                f"{'; '.join(problems)}"
            )

    async def update(self, old: list[Object], new: list[Object]) -> None:
        """Go from one manifest to the next; raise ApiError at the first refusal."""
        self._is_upgrade = bool(old)
        before = {key_of(item): item for item in old}
        after = {key_of(item): item for item in new}
        for kind in _ORDER:
            batch = [item for (item_kind, _), item in after.items() if item_kind == kind]
            await _together([self._put(before.get(key_of(item)), item) for item in batch])
        gone = [item for key, item in before.items() if key not in after]
        await self.delete(gone)

    async def delete(self, objects: list[Object]) -> None:
        """Delete objects in Helm's reverse order, without waiting for their end."""
        for kind in reversed(_ORDER):
            batch = [item for item in objects if item["kind"] == kind]
            await _together(
                [self._api.delete(kind, self._namespace, key_of(item)[1]) for item in batch]
            )

    async def _put(self, old: Object | None, new: Object) -> None:
        kind, name = key_of(new)
        for attempt in range(_CONFLICT_TRIES):
            live = await self._api.find(kind, self._namespace, name)
            try:
                await self._write(old, new, live)
            except ApiError as error:
                if not error.is_conflict or attempt == _CONFLICT_TRIES - 1:
                    raise
            else:
                return

    async def _write(self, old: Object | None, new: Object, live: Object | None) -> None:
        kind, name = key_of(new)
        if live is None:
            marked = own(new, self._release, self._namespace)
            with _explained("failed to create resource: " if self._is_upgrade else ""):
                await self._api.create(kind, self._namespace, marked)
            return
        merged = self._merged(old, new, live)
        if merged != live:
            with _explained(f'cannot patch "{name}" with kind {kind}: '):
                await self._api.replace(kind, self._namespace, merged)

    def _merged(self, old: Object | None, new: Object, live: Object) -> Object:
        marked = own(new, self._release, self._namespace)
        before = {} if old is None else own(old, self._release, self._namespace)
        merged = three_way(before, marked, live)
        if new["kind"] == "Service":
            _keep_node_ports(merged, live)
        return merged


def three_way(old: Mapping[str, Any], new: Mapping[str, Any], live: Mapping[str, Any]) -> Object:
    """Lay what the new manifest says over the live object, and take out what only the old said.

    A list that the live object already satisfies, defaults apart, stays as it is.
    """
    merged = {key: value for key, value in live.items() if key not in old or key in new}
    for key, value in new.items():
        present = live.get(key)
        if isinstance(value, Mapping) and isinstance(present, Mapping):
            before = old.get(key)
            merged[key] = three_way(before if isinstance(before, Mapping) else {}, value, present)
        elif not (old.get(key) == value and _satisfies(present, value)):
            merged[key] = value
        else:
            merged[key] = present
    return merged


def _satisfies(live: Any, manifest: Any) -> bool:
    if isinstance(manifest, Mapping):
        return isinstance(live, Mapping) and all(
            _satisfies(live.get(key), value) for key, value in manifest.items()
        )
    if isinstance(manifest, list):
        return (
            isinstance(live, list)
            and len(live) == len(manifest)
            and all(_satisfies(*pair) for pair in zip(live, manifest, strict=True))
        )
    return bool(live == manifest)


def _keep_node_ports(merged: Object, live: Object) -> None:
    """Keep the node ports that Kubernetes chose, where the manifest names none."""
    if merged["spec"].get("type") not in ("NodePort", "LoadBalancer"):
        return
    chosen = {port.get("name"): port.get("nodePort") for port in live["spec"].get("ports") or []}
    ports = [dict(port) for port in merged["spec"].get("ports") or []]
    for port in ports:
        if "nodePort" not in port and chosen.get(port.get("name")):
            port["nodePort"] = chosen[port.get("name")]
    merged["spec"]["ports"] = ports


def _problems(live: Mapping[str, str], what: str, expected: Mapping[str, str]) -> list[str]:
    problems = []
    for key, value in expected.items():
        if key not in live:
            problem = f'missing key "{key}": must be set to "{value}"'
        elif live[key] != value:
            problem = f'key "{key}" must equal "{value}": current value is "{live[key]}"'
        else:
            continue
        problems.append(f"{what} validation error: {problem}")
    return problems


@contextmanager
def _explained(prefix: str) -> Iterator[None]:
    """Put Helm's words before the API server's."""
    try:
        yield
    except ApiError as error:
        raise ApiError(error.status, error.reason, f"{prefix}{error.message}") from error


async def _together(calls: list[Any]) -> None:
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
