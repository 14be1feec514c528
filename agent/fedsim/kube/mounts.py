"""Files that pods see: ConfigMaps and Secrets as mounted, which is not as stored.

A volume is read when its pod starts. A change reaches a directory mount after a while (the
kubelet's sync), and a subPath mount never, until the pod is replaced.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field

from fedsim.kube.clock import Clock
from fedsim.kube.kinds import CONFIG_MAPS, PODS, SECRETS, Resource
from fedsim.kube.store import Change, ChangeType, Json, Store

Files = dict[str, bytes]


@dataclass(slots=True)
class _Mounted:
    """A pod's volumes: as they are now, and as they were at its start."""

    now: dict[str, Files] = field(default_factory=dict)
    at_start: dict[str, Files] = field(default_factory=dict)


class Mounts:
    """What is mounted in which pod, by pod uid."""

    def __init__(self, store: Store, clock: Clock, delay_s: float) -> None:
        self._store = store
        self._clock = clock
        self._delay_s = delay_s
        self._pods: dict[str, _Mounted] = {}
        store.listen(self._follow)

    def start(self, pod: Json) -> None:
        """Read a starting pod's volumes."""
        volumes = {
            volume["name"]: self._read(pod, volume) for volume in pod["spec"].get("volumes") or ()
        }
        self._pods[pod["metadata"]["uid"]] = _Mounted(dict(volumes), volumes)

    def forget(self, uid: str) -> None:
        """Drop a pod that is gone."""
        self._pods.pop(uid, None)

    def problems(self, pod: Json) -> list[str]:
        """Say why a pod's volumes cannot be set up, in the kubelet's words; empty when they can."""
        namespace = pod["metadata"]["namespace"]
        return [
            f'MountVolume.SetUp failed for volume "{volume["name"]}" : {why}'
            for volume in pod["spec"].get("volumes") or ()
            for resource, source in _sources(volume)
            if (why := self._problem(resource, source, namespace))
        ]

    def _problem(self, resource: Resource, source: Json, namespace: str) -> str:
        name = source.get("secretName") or source.get("name", "")
        if source.get("optional"):
            return ""
        found = self._store.get(resource, namespace, name)
        if found is None:
            return f'{resource.singular} "{name}" not found'
        files = _files_of(resource, found)
        for item in source.get("items") or ():
            if item["key"] not in files:
                return f"references non-existent {resource.singular} key: {item['key']}"
        return ""

    def read(self, pod: Json, container: str, path: str) -> bytes | None:
        """Return a mounted file as a container sees it, None when nothing is mounted there."""
        mounted = self._pods.get(pod["metadata"]["uid"])
        if mounted is None:
            return None
        path = posixpath.normpath(path)
        mounts = [
            mount
            for each in pod["spec"]["containers"]
            if each["name"] == container
            for mount in each.get("volumeMounts") or ()
        ]
        for mount in sorted(mounts, key=lambda each: len(each["mountPath"]), reverse=True):
            where = posixpath.normpath(mount["mountPath"])
            if inner := mount.get("subPath"):
                if path == where:
                    return mounted.at_start.get(mount["name"], {}).get(inner)
            elif path.startswith(f"{where}/"):
                return mounted.now.get(mount["name"], {}).get(path[len(where) + 1 :])
        return None

    def file(self, pod: Json, resource: Resource, name: str, key: str) -> bytes | None:
        """Return a key of a ConfigMap or Secret as the pod has it now.

        A pod that mounts it nowhere is taken to read the stored object.
        """
        for volume in pod["spec"].get("volumes") or ():
            for each, source in _sources(volume):
                if each is resource and (source.get("secretName") or source.get("name")) == name:
                    return self._mounted(pod, volume["name"], _path_of(source, key))
        found = self._store.get(resource, pod["metadata"]["namespace"], name)
        return _files_of(resource, found).get(key) if found else None

    def _mounted(self, pod: Json, volume: str, path: str) -> bytes | None:
        mounted = self._pods.get(pod["metadata"]["uid"])
        if mounted is None:
            return None
        mounts = [
            mount
            for container in pod["spec"]["containers"]
            for mount in container.get("volumeMounts") or ()
            if mount["name"] == volume
        ]
        is_directory = not mounts or any(not mount.get("subPath") for mount in mounts)
        return (mounted.now if is_directory else mounted.at_start).get(volume, {}).get(path)

    def _read(self, pod: Json, volume: Json) -> Files:
        files: Files = {}
        for resource, source in _sources(volume):
            name = source.get("secretName") or source.get("name", "")
            found = self._store.get(resource, pod["metadata"]["namespace"], name)
            content = _files_of(resource, found) if found else {}
            if source.get("items"):
                content = {
                    item["path"]: content[item["key"]]
                    for item in source["items"]
                    if item["key"] in content
                }
            files.update(content)
        return files

    def _follow(self, change: Change) -> None:
        if change.resource is PODS and change.type is ChangeType.DELETED:
            self.forget(change.object["metadata"]["uid"])
        if change.resource not in {CONFIG_MAPS, SECRETS} or change.type is ChangeType.DELETED:
            return
        if any(self._is_mounted(change, pod) for pod in self._started(change.namespace)):
            self._clock.call_later(self._delay_s, lambda: self._sync(change))

    def _sync(self, change: Change) -> None:
        for pod in self._started(change.namespace):
            if self._is_mounted(change, pod):
                mounted = self._pods[pod["metadata"]["uid"]]
                for volume in pod["spec"].get("volumes") or ():
                    mounted.now[volume["name"]] = self._read(pod, volume)

    def _started(self, namespace: str) -> Iterator[Json]:
        for pod in self._store.list(PODS, namespace):
            if pod["metadata"]["uid"] in self._pods:
                yield pod

    def _is_mounted(self, change: Change, pod: Json) -> bool:
        return any(
            resource is change.resource
            and (source.get("secretName") or source.get("name")) == change.name
            for volume in pod["spec"].get("volumes") or ()
            for resource, source in _sources(volume)
        )


def _sources(volume: Json) -> Iterator[tuple[Resource, Json]]:
    if "secret" in volume:
        yield SECRETS, volume["secret"]
    if "configMap" in volume:
        yield CONFIG_MAPS, volume["configMap"]
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield from _sources(source)


def _path_of(source: Json, key: str) -> str:
    for item in source.get("items") or ():
        if item["key"] == key:
            return str(item["path"])
    return key


def _files_of(resource: Resource, obj: Json) -> Files:
    data = obj.get("data") or {}
    if resource is SECRETS:
        return {key: base64.b64decode(text) for key, text in data.items()}
    binary = obj.get("binaryData") or {}
    files = {key: text.encode() for key, text in data.items()}
    return {**files, **{key: base64.b64decode(text) for key, text in binary.items()}}
