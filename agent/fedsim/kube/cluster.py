"""What every part of the simulated cluster shares, and small facts about objects."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fedsim.faults import Faults
from fedsim.kube.clock import Clock
from fedsim.kube.kinds import PODS, REPLICA_SETS, Resource
from fedsim.kube.lifecycle import Registry
from fedsim.kube.mounts import Mounts
from fedsim.kube.recorder import PodLogs, Recorder
from fedsim.kube.settings import Forward, KubeSettings
from fedsim.kube.store import Json, Store, dump

NODE_NAME = "sim-node-1"
SIMULATED_LABEL = "fate-lifecycle-manager.io/simulated"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"

Mark = Callable[[str, str, str], None]


@dataclass(slots=True)
class Cluster:
    """The parts of one simulated cluster.

    ``mark`` asks a controller to look at an object, ``reload`` makes a pod's proxy read its
    tables again.
    """

    settings: KubeSettings
    store: Store
    clock: Clock
    faults: Faults
    registry: Registry
    recorder: Recorder
    mounts: Mounts
    logs: PodLogs
    chance: random.Random
    forwards: list[Forward]
    mark: Mark = field(default=lambda *_: None)
    reload: Callable[[Json], None] = field(default=lambda _: None)

    def suffix(self, length: int = 5) -> str:
        """Return letters for a generated name."""
        return "".join(self.chance.choice(_LETTERS) for _ in range(length))

    def owned(self, resource: Resource, owner: Json) -> list[Json]:
        """Return the objects that ``owner`` controls."""
        uid = owner["metadata"]["uid"]
        namespace = owner["metadata"].get("namespace", "")
        return [
            obj
            for obj in self.store.list(resource, namespace)
            if (controller := controller_of(obj)) is not None and controller["uid"] == uid
        ]

    def workload(self, pod: Json) -> str:
        """Return the name by which people know a pod's workload: its Deployment or other owner."""
        owner = controller_of(pod)
        if owner is None:
            return str(pod["metadata"]["name"])
        if owner["kind"] == REPLICA_SETS.kind:
            replica_set = self.store.get(REPLICA_SETS, pod["metadata"]["namespace"], owner["name"])
            above = controller_of(replica_set) if replica_set else None
            return str(above["name"] if above else owner["name"].rpartition("-")[0])
        return str(owner["name"])

    def pods(self, namespace: str, labels: Json) -> list[Json]:
        """Return the pods of a namespace that carry all these labels."""
        return [
            pod
            for pod in self.store.list(PODS, namespace)
            if labels.items() <= (pod["metadata"].get("labels") or {}).items()
        ]


def controller_of(obj: Json) -> Json | None:
    """Return the reference to the object's controller, None when it has none."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            controller: Json = reference
            return controller
    return None


def reference_to(owner: Json) -> Json:
    """Return the reference by which a controlled object names its controller."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def digest_of(value: Any) -> str:
    """Return a short stable name for a JSON value, in the letters of generated names."""
    number = int.from_bytes(hashlib.sha256(dump(value)).digest()[:8])
    letters = ""
    for _ in range(10):
        number, rest = divmod(number, len(_LETTERS))
        letters += _LETTERS[rest]
    return letters


def is_ready(pod: Json) -> bool:
    """Return whether a pod serves: its condition Ready holds and it is not being deleted."""
    return not pod["metadata"].get("deletionTimestamp") and has_condition(pod, "Ready")


def has_condition(obj: Json, name: str) -> bool:
    """Return whether a condition of the object holds."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(entry["type"] == name and entry["status"] == "True" for entry in conditions)


def condition(before: Json, name: str, status: str, stamp: str, **rest: str) -> Json:
    """Return a condition; its transition time is kept while its status stays the same."""
    for old in (before.get("status") or {}).get("conditions") or ():
        if old["type"] == name and old["status"] == status:
            stamp = old.get("lastTransitionTime") or stamp
    return {"type": name, "status": status, "lastTransitionTime": stamp, **rest}
