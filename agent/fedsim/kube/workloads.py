"""Deployments and ReplicaSets: roll-outs, pods, and the status of both."""

from __future__ import annotations

from fedsim.faults import FaultName
from fedsim.kube.cluster import (
    Cluster,
    condition,
    controller_of,
    digest_of,
    is_ready,
    reference_to,
)
from fedsim.kube.errors import ApiError
from fedsim.kube.kinds import DEPLOYMENTS, PODS, REPLICA_SETS
from fedsim.kube.lifecycle import Removal
from fedsim.kube.store import Json, clone

HASH_LABEL = "pod-template-hash"
_CONTROLLER = "deployment-controller"
_SET_CONTROLLER = "replicaset-controller"
_RETRY_S = 2.0


class Deployments:
    """Keeps one current ReplicaSet per Deployment."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def reconcile(self, namespace: str, name: str) -> None:
        """Bring one Deployment a step nearer to its template."""
        live = self._cluster.store.get(DEPLOYMENTS, namespace, name)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return
        label = digest_of(live["spec"]["template"])
        sets = {
            replica_set["metadata"]["labels"][HASH_LABEL]: replica_set
            for replica_set in self._cluster.owned(REPLICA_SETS, live)
        }
        current = sets.pop(label, None)
        old = list(sets.values())
        current = self._roll(live, current, old, label)
        self._write_status(live, current, old)

    def _roll(self, live: Json, current: Json | None, old: list[Json], label: str) -> Json | None:
        is_recreate = live["spec"]["strategy"]["type"] == "Recreate"
        if is_recreate:
            self._retire(live, old)
            if current is None and any(
                self._cluster.owned(PODS, replica_set) for replica_set in old
            ):
                return None
        if current is None:
            current = self._new_set(live, label)
        self._scale(live, current, live["spec"]["replicas"])
        if not is_recreate and _count(current, "readyReplicas") >= live["spec"]["replicas"]:
            self._retire(live, old)
        return current

    def _new_set(self, live: Json, label: str) -> Json:
        metadata, spec = live["metadata"], live["spec"]
        template, selector = clone(spec["template"]), clone(spec["selector"])
        template["metadata"]["labels"] = {**template["metadata"]["labels"], HASH_LABEL: label}
        selector["matchLabels"][HASH_LABEL] = label
        replica_set = {
            "metadata": {
                "name": f"{metadata['name']}-{label}",
                "labels": template["metadata"]["labels"],
                "ownerReferences": [reference_to(live)],
            },
            "spec": {"replicas": spec["replicas"], "selector": selector, "template": template},
        }
        return self._cluster.registry.create(REPLICA_SETS, metadata["namespace"], replica_set)

    def _retire(self, live: Json, old: list[Json]) -> None:
        for replica_set in old:
            self._scale(live, replica_set, 0)

    def _scale(self, live: Json, replica_set: Json, replicas: int) -> None:
        if replica_set["spec"]["replicas"] == replicas:
            return
        changed = clone(replica_set)
        changed["spec"]["replicas"] = replicas
        changed["metadata"]["generation"] += 1
        self._cluster.registry.write(REPLICA_SETS, changed)
        text = f"Scaled replica set {replica_set['metadata']['name']} to {replicas}"
        self._cluster.recorder.normal(live, "ScalingReplicaSet", text, _CONTROLLER)

    def _write_status(self, live: Json, current: Json | None, old: list[Json]) -> None:
        sets = [*old, *([current] if current else [])]
        counts = {
            "replicas": sum(_count(replica_set, "replicas") for replica_set in sets),
            "updatedReplicas": _count(current, "replicas"),
            "readyReplicas": sum(_count(replica_set, "readyReplicas") for replica_set in sets),
        }
        counts["availableReplicas"] = counts["readyReplicas"]
        counts["unavailableReplicas"] = max(0, live["spec"]["replicas"] - counts["readyReplicas"])
        status: Json = {"observedGeneration": live["metadata"]["generation"]}
        status.update({name: count for name, count in counts.items() if count})
        status["conditions"] = self._conditions(live, current, counts)
        self._cluster.registry.write_status(DEPLOYMENTS, live, status)

    def _conditions(self, live: Json, current: Json | None, counts: dict[str, int]) -> list[Json]:
        replicas, stamp = live["spec"]["replicas"], self._cluster.clock.stamp()
        is_available = counts["readyReplicas"] >= replicas - _max_unavailable(live)
        which, has = ("Available", "has") if is_available else ("Unavailable", "does not have")
        name = (current or live)["metadata"]["name"]
        is_complete = (
            counts["updatedReplicas"] == counts["readyReplicas"] == counts["replicas"] == replicas
        )
        reason = "NewReplicaSetAvailable" if is_complete else "ReplicaSetUpdated"
        progress = "has successfully progressed" if is_complete else "is progressing"
        conditions = [
            condition(
                live,
                "Available",
                "True" if is_available else "False",
                stamp,
                reason=f"MinimumReplicas{which}",
                message=f"Deployment {has} minimum availability.",
            ),
            condition(
                live,
                "Progressing",
                "True",
                stamp,
                reason=reason,
                message=f'ReplicaSet "{name}" {progress}.',
            ),
        ]
        failures = ((current or {}).get("status") or {}).get("conditions") or ()
        return [*conditions, *failures]


class ReplicaSets:
    """Keeps as many pods as a ReplicaSet asks for."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def reconcile(self, namespace: str, name: str) -> None:
        """Make or delete pods, and count them."""
        live = self._cluster.store.get(REPLICA_SETS, namespace, name)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return
        pods = self._active(live)
        missing = live["spec"]["replicas"] - len(pods)
        failure = ""
        if missing > 0:
            failure = self._make(live, missing)
        elif missing < 0:
            pods.sort(key=lambda pod: (is_ready(pod), pod["metadata"]["name"]))
            for pod in pods[:-missing]:
                self._drop(live, pod)
        self._write_status(live, failure)

    def _active(self, live: Json) -> list[Json]:
        return [
            pod
            for pod in self._cluster.owned(PODS, live)
            if not pod["metadata"].get("deletionTimestamp")
        ]

    def _make(self, live: Json, count: int) -> str:
        """Make pods until one is refused; return why it was."""
        failure = next(filter(None, (self._make_one(live) for _ in range(count))), "")
        if failure:
            cluster, metadata = self._cluster, live["metadata"]
            text = f"Error creating: {failure}"
            cluster.recorder.warning(live, "FailedCreate", text, _SET_CONTROLLER)
            key = ("replicaset", metadata["namespace"], metadata["name"])
            cluster.clock.call_once(key, _RETRY_S, lambda: cluster.mark(*key))
        return failure

    def _make_one(self, live: Json) -> str:
        cluster, metadata = self._cluster, live["metadata"]
        name = f"{metadata['name']}-{cluster.suffix()}"
        owner = controller_of(live)
        workload = owner["name"] if owner else metadata["name"]
        if cluster.faults.hits(FaultName.QUOTA, workload, metadata["namespace"]):
            return (
                f'pods "{name}" is forbidden: exceeded quota: '
                "compute-resources, requested: pods=1, used: pods=10, limited: pods=10"
            )
        template = clone(live["spec"]["template"])
        about = {"name": name, "ownerReferences": [reference_to(live)]}
        pod = {"metadata": {**template["metadata"], **about}, "spec": template["spec"]}
        try:
            cluster.registry.create(PODS, metadata["namespace"], pod)
        except ApiError as error:
            return error.message
        text = f"Created pod: {name}"
        cluster.recorder.normal(live, "SuccessfulCreate", text, _SET_CONTROLLER)
        return ""

    def _drop(self, live: Json, pod: Json) -> None:
        metadata = pod["metadata"]
        self._cluster.registry.delete(PODS, metadata["namespace"], metadata["name"], Removal())
        text = f"Deleted pod: {metadata['name']}"
        self._cluster.recorder.normal(live, "SuccessfulDelete", text, _SET_CONTROLLER)

    def _write_status(self, live: Json, failure: str) -> None:
        pods = self._active(live)
        ready = sum(is_ready(pod) for pod in pods)
        status: Json = {
            "replicas": len(pods),
            "observedGeneration": live["metadata"]["generation"],
        }
        if ready:
            status["readyReplicas"] = status["availableReplicas"] = ready
        if failure:
            stamp = self._cluster.clock.stamp()
            status["conditions"] = [
                condition(
                    live, "ReplicaFailure", "True", stamp, reason="FailedCreate", message=failure
                )
            ]
        self._cluster.registry.write_status(REPLICA_SETS, live, status)


def _count(obj: Json | None, name: str) -> int:
    return int(((obj or {}).get("status") or {}).get(name, 0))


def _max_unavailable(live: Json) -> int:
    """Return how many pods a Deployment may lack: a quarter, the default, unless it recreates."""
    strategy = live["spec"]["strategy"]["type"]
    return 0 if strategy == "Recreate" else int(live["spec"]["replicas"] / 4)
