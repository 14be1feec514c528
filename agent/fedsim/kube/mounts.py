"""Files that pods see: ConfigMaps and Secrets as mounted, which is not as stored.

A volume is read when its pod starts. A change reaches a directory mount after a while (the
kubelet's sync). Files mounted by subPath are not simulated: the processes that have some read them
at their start alone.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from fedsim.kube.clock import Clock
from fedsim.kube.kinds import CONFIG_MAPS, PODS, SECRETS, Resource
from fedsim.kube.store import Change, ChangeType, Json, Store

Files = dict[str, bytes]


class Mounts:
    """What is mounted in which pod, by pod uid."""

    def __init__(self, store: Store, clock: Clock, delay_s: float) -> None:
        self._store = store
        self._clock = clock
        self._delay_s = delay_s
        self._pods: dict[str, dict[str, Files]] = {}
        store.listen(self._follow)

    def start(self, pod: Json) -> None:
        """Read a starting pod's volumes."""
        self._pods[pod["metadata"]["uid"]] = {
            volume["name"]: self._read(pod, volume) for volume in pod["spec"].get("volumes") or ()
        }

    def problems(self, pod: Json) -> list[str]:
        """Return why a pod's volumes cannot be set up, in the kubelet's words; empty: they can."""
        namespace = pod["metadata"]["namespace"]
        return [
            f'MountVolume.SetUp failed for volume "{volume["name"]}" : '
            f'{source.resource.singular} "{source.name}" not found'
            for volume in pod["spec"].get("volumes") or ()
            if (source := _source(volume)) is not None
            and not source.is_optional
            and self._store.get(source.resource, namespace, source.name) is None
        ]

    def read(self, pod: Json, container: str, path: str) -> bytes | None:
        """Return a file of a directory mount as a container sees it, None when there is none."""
        volumes = self._pods.get(pod["metadata"]["uid"], {})
        folder, _, name = posixpath.normpath(path).rpartition("/")
        for described in pod["spec"]["containers"]:
            for mount in described.get("volumeMounts") or ():
                is_meant = described["name"] == container and not mount.get("subPath")
                if is_meant and posixpath.normpath(mount["mountPath"]) == folder:
                    return volumes.get(mount["name"], {}).get(name)
        return None

    def file(self, pod: Json, resource: Resource, name: str, key: str) -> bytes | None:
        """Return a key of a ConfigMap or Secret as the pod has it now.

        A pod that mounts it nowhere is taken to read the stored object.
        """
        volumes = self._pods.get(pod["metadata"]["uid"], {})
        for volume in pod["spec"].get("volumes") or ():
            source = _source(volume)
            if volumes and source and (source.resource, source.name) == (resource, name):
                return volumes[volume["name"]].get(key)
        obj = self._store.get(resource, pod["metadata"]["namespace"], name)
        return _files_of(resource, obj).get(key) if obj else None

    def _read(self, pod: Json, volume: Json) -> Files:
        source = _source(volume)
        if source is None:
            return {}
        obj = self._store.get(source.resource, pod["metadata"]["namespace"], source.name)
        return _files_of(source.resource, obj) if obj else {}

    def _follow(self, change: Change) -> None:
        if change.type is ChangeType.DELETED:
            if change.resource is PODS:
                self._pods.pop(change.object["metadata"]["uid"], None)
        elif change.resource in {CONFIG_MAPS, SECRETS} and any(self._users(change)):
            self._clock.call_later(self._delay_s, lambda: self._sync(change))

    def _sync(self, change: Change) -> None:
        for pod, volume in self._users(change):
            self._pods[pod["metadata"]["uid"]][volume["name"]] = self._read(pod, volume)

    def _users(self, change: Change) -> Iterator[tuple[Json, Json]]:
        """Yield the started pods that mount the changed object, with the volume."""
        for pod in self._store.list(PODS, change.namespace):
            for volume in pod["spec"].get("volumes") or ():
                source = _source(volume)
                if (
                    source is not None
                    and (source.resource, source.name) == (change.resource, change.name)
                    and pod["metadata"]["uid"] in self._pods
                ):
                    yield pod, volume


@dataclass(frozen=True, slots=True)
class _Source:
    """The ConfigMap or Secret that a volume shows."""

    resource: Resource
    name: str
    is_optional: bool


def _source(volume: Json) -> _Source | None:
    for key, resource, field in (
        ("secret", SECRETS, "secretName"),
        ("configMap", CONFIG_MAPS, "name"),
    ):
        if described := volume.get(key):
            return _Source(resource, described[field], bool(described.get("optional")))
    return None


def _files_of(resource: Resource, obj: Json) -> Files:
    data = obj.get("data") or {}
    if resource is SECRETS:
        return {key: base64.b64decode(text) for key, text in data.items()}
    return {key: text.encode() for key, text in data.items()}
