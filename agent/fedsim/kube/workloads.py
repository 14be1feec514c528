"""Deployments and ReplicaSets: revisions, roll-outs, pods, and the status of both."""

from __future__ import annotations

from typing import Any

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
from fedsim.kube.lifecycle import Removal, Write
from fedsim.kube.store import Json, clone

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_CONTROLLER = "deployment-controller"
_SET_CONTROLLER = "replicaset-controller"
_AS_CONTROLLER = Write("kube-controller-manager")
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
        sets = self._cluster.owned(REPLICA_SETS, live)
        label = digest_of(live["spec"]["template"])
        current = next((each for each in sets if each["metadata"]["name"].endswith(label)), None)
        old = [each for each in sets if each is not current]
        if not live["spec"].get("paused"):
            current = self._roll(live, current, old, label)
        self._trim(live, old)
        live = self._cluster.store.get(DEPLOYMENTS, namespace, name) or live
        self._write_status(live, current, old)

    def _roll(self, live: Json, current: Json | None, old: list[Json], label: str) -> Json | None:
        is_recreate = live["spec"]["strategy"]["type"] == "Recreate"
        if is_recreate:
            for each in old:
                self._scale(live, each, 0)
            if current is None and any(self._cluster.owned(PODS, each) for each in old):
                return None
        if current is None:
            current = self._new_set(live, old, label)
        self._scale(live, current, live["spec"]["replicas"])
        self._number(live, current, old)
        ready = _count(current, "availableReplicas")
        if not is_recreate and ready >= live["spec"]["replicas"]:
            for each in old:
                self._scale(live, each, 0)
        return current

    def _new_set(self, live: Json, old: list[Json], label: str) -> Json:
        metadata, spec = live["metadata"], live["spec"]
        template = clone(spec["template"])
        labels = {**(template["metadata"].get("labels") or {}), HASH_LABEL: label}
        template["metadata"]["labels"] = labels
        selector = clone(spec["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: label}
        made = self._cluster.registry.create(
            REPLICA_SETS,
            metadata["namespace"],
            {
                "metadata": {
                    "name": f"{metadata['name']}-{label}",
                    "labels": labels,
                    "annotations": {REVISION: str(_revision(old) + 1)},
                    "ownerReferences": [reference_to(live)],
                },
                "spec": {"replicas": spec["replicas"], "selector": selector, "template": template},
            },
            _AS_CONTROLLER,
        )
        text = f"Scaled up replica set {made['metadata']['name']} from 0 to {spec['replicas']}"
        self._cluster.recorder.normal(live, "ScalingReplicaSet", text, _CONTROLLER)
        return made

    def _scale(self, live: Json, each: Json, replicas: int) -> None:
        now = each["spec"]["replicas"]
        if now == replicas:
            return
        changed = clone(each)
        changed["spec"]["replicas"] = replicas
        changed["metadata"]["generation"] += 1
        self._cluster.registry.write(REPLICA_SETS, changed)
        word = "up" if replicas > now else "down"
        name = each["metadata"]["name"]
        text = f"Scaled {word} replica set {name} from {now} to {replicas}"
        self._cluster.recorder.normal(live, "ScalingReplicaSet", text, _CONTROLLER)

    def _number(self, live: Json, current: Json, old: list[Json]) -> None:
        """Give the current set the highest revision, and the Deployment the same."""
        before = _revision(old)
        own = int((current["metadata"].get("annotations") or {}).get(REVISION, "0"))
        number = str(before + 1 if own <= before else own)
        for resource, obj in ((REPLICA_SETS, current), (DEPLOYMENTS, live)):
            metadata = obj["metadata"]
            fresh = self._cluster.store.get(resource, metadata["namespace"], metadata["name"])
            if fresh and (fresh["metadata"].get("annotations") or {}).get(REVISION) != number:
                changed = clone(fresh)
                annotations = changed["metadata"].get("annotations") or {}
                changed["metadata"]["annotations"] = {**annotations, REVISION: number}
                self._cluster.registry.write(resource, changed)

    def _trim(self, live: Json, old: list[Json]) -> None:
        idle = [each for each in old if not each["spec"]["replicas"]]
        idle.sort(key=lambda each: _revision([each]))
        for each in idle[: max(0, len(idle) - live["spec"]["revisionHistoryLimit"])]:
            metadata = each["metadata"]
            self._cluster.registry.delete(
                REPLICA_SETS, metadata["namespace"], metadata["name"], Removal()
            )

    def _write_status(self, live: Json, current: Json | None, old: list[Json]) -> None:
        sets = [each for each in (current, *old) if each is not None]
        wanted = live["spec"]["replicas"]
        available = sum(_count(each, "availableReplicas") for each in sets)
        counts = {
            "replicas": sum(_count(each, "replicas") for each in sets),
            "updatedReplicas": _count(current, "replicas") if current else 0,
            "readyReplicas": sum(_count(each, "readyReplicas") for each in sets),
            "availableReplicas": available,
            "unavailableReplicas": max(0, wanted - available),
        }
        status: Json = {"observedGeneration": live["metadata"]["generation"]}
        status.update({name: count for name, count in counts.items() if count})
        status["conditions"] = self._conditions(live, current, counts)
        self._cluster.registry.write_status(DEPLOYMENTS, live, status)

    def _conditions(self, live: Json, current: Json | None, counts: Json) -> list[Json]:
        wanted = live["spec"]["replicas"]
        is_available = counts["availableReplicas"] >= wanted - _max_unavailable(live)
        which = "MinimumReplicasAvailable" if is_available else "MinimumReplicasUnavailable"
        has = "has" if is_available else "does not have"
        conditions = [
            self._condition(
                live,
                "Available",
                "True" if is_available else "False",
                which,
                f"Deployment {has} minimum availability.",
            ),
            self._progress(live, current, counts),
        ]
        failures = (current or {}).get("status", {}).get("conditions") or ()
        conditions.extend(
            self._condition(live, "ReplicaFailure", "True", failed["reason"], failed["message"])
            for failed in failures
            if failed["type"] == "ReplicaFailure" and failed["status"] == "True"
        )
        return conditions

    def _progress(self, live: Json, current: Json | None, counts: Json) -> Json:
        wanted = live["spec"]["replicas"]
        name = current["metadata"]["name"] if current else live["metadata"]["name"]
        is_complete = (
            current is not None
            and counts["updatedReplicas"] == wanted == counts["availableReplicas"]
            and counts["replicas"] == wanted
        )
        if is_complete:
            text = f'ReplicaSet "{name}" has successfully progressed.'
            return self._condition(live, "Progressing", "True", "NewReplicaSetAvailable", text)
        reason = "ReplicaSetUpdated"
        text = f'ReplicaSet "{name}" is progressing.'
        progressing = self._condition(live, "Progressing", "True", reason, text)
        if current is not None and self._is_overdue(live, current):
            text = f'ReplicaSet "{name}" has timed out progressing.'
            reason = "ProgressDeadlineExceeded"
            return self._condition(live, "Progressing", "False", reason, text)
        return progressing

    def _is_overdue(self, live: Json, current: Json) -> bool:
        clock = self._cluster.clock
        limit_s = live["spec"]["progressDeadlineSeconds"] * clock.scale
        born = clock.parse(current["metadata"]["creationTimestamp"])
        left_s = limit_s - (clock.now() - born).total_seconds()
        if left_s <= 0:
            return True
        metadata = live["metadata"]
        if clock.scale:
            key = (metadata["namespace"], metadata["name"])
            clock.call_once(
                ("deadline", *key),
                left_s / clock.scale,
                lambda: self._cluster.mark("deployment", *key),
            )
        return False

    def _condition(self, live: Json, name: str, status: str, reason: str, message: str) -> Json:
        stamp = self._cluster.clock.stamp()
        for old in (live.get("status") or {}).get("conditions") or ():
            if old["type"] == name and (old["status"], old["reason"], old["message"]) == (
                status,
                reason,
                message,
            ):
                kept: Json = old
                return kept
        made = condition(live, name, status, stamp, reason=reason, message=message)
        return {**made, "lastUpdateTime": stamp}


class ReplicaSets:
    """Keeps as many pods as a ReplicaSet asks for."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def reconcile(self, namespace: str, name: str) -> None:
        """Make or delete pods, and count them."""
        live = self._cluster.store.get(REPLICA_SETS, namespace, name)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return
        pods = [pod for pod in self._cluster.owned(PODS, live) if _is_active(pod)]
        missing = live["spec"]["replicas"] - len(pods)
        failure = ""
        if missing > 0:
            failure = self._make(live, missing)
        elif missing < 0:
            pods.sort(key=lambda pod: (is_ready(pod), pod["metadata"]["name"]))
            for pod in pods[:-missing]:
                self._drop(live, pod)
        self._write_status(live, failure)

    def _make(self, live: Json, count: int) -> str:
        cluster, metadata = self._cluster, live["metadata"]
        failure = ""
        for _ in range(count):
            failure = self._make_one(live)
            if failure:
                break
        if failure:
            cluster.recorder.warning(live, "FailedCreate", failure, _SET_CONTROLLER)
            key = (metadata["namespace"], metadata["name"])
            cluster.clock.call_once(
                ("retry", *key), _RETRY_S, lambda: cluster.mark("replicaset", *key)
            )
        return failure

    def _make_one(self, live: Json) -> str:
        cluster, metadata = self._cluster, live["metadata"]
        name = f"{metadata['name']}-{cluster.suffix()}"
        owner = controller_of(live)
        workload = owner["name"] if owner else metadata["name"]
        if cluster.faults.hits(FaultName.QUOTA, workload, metadata["namespace"]):
            return (
                f'Error creating: pods "{name}" is forbidden: exceeded quota: '
                "compute-resources, requested: pods=1, used: pods=10, limited: pods=10"
            )
        template = clone(live["spec"]["template"])
        pod = {
            "metadata": {
                **template["metadata"],
                "name": name,
                "generateName": f"{metadata['name']}-",
                "ownerReferences": [reference_to(live)],
            },
            "spec": template["spec"],
        }
        try:
            cluster.registry.create(PODS, metadata["namespace"], pod, _AS_CONTROLLER)
        except ApiError as error:
            return f"Error creating: {error.message}"
        text = f"Created pod: {name}"
        cluster.recorder.normal(live, "SuccessfulCreate", text, _SET_CONTROLLER)
        return ""

    def _drop(self, live: Json, pod: Json) -> None:
        metadata = pod["metadata"]
        self._cluster.registry.delete(PODS, metadata["namespace"], metadata["name"], Removal())
        text = f"Deleted pod: {metadata['name']}"
        self._cluster.recorder.normal(live, "SuccessfulDelete", text, _SET_CONTROLLER)

    def _write_status(self, live: Json, failure: str) -> None:
        pods = [pod for pod in self._cluster.owned(PODS, live) if _is_active(pod)]
        ready = sum(is_ready(pod) for pod in pods)
        status: Json = {
            "replicas": len(pods),
            "observedGeneration": live["metadata"]["generation"],
        }
        if pods:
            status["fullyLabeledReplicas"] = len(pods)
        if ready:
            status["readyReplicas"] = status["availableReplicas"] = ready
        if failure:
            stamp = self._cluster.clock.stamp()
            status["conditions"] = [
                condition(
                    live,
                    "ReplicaFailure",
                    "True",
                    stamp,
                    reason="FailedCreate",
                    message=failure.removeprefix("Error creating: "),
                )
            ]
        self._cluster.registry.write_status(REPLICA_SETS, live, status)


def _is_active(pod: Json) -> bool:
    is_over = pod["status"].get("phase") in {"Succeeded", "Failed"}
    return not is_over and not pod["metadata"].get("deletionTimestamp")


def _count(obj: Json, name: str) -> int:
    return int((obj.get("status") or {}).get(name, 0))


def _revision(sets: list[Json]) -> int:
    numbers = [int((each["metadata"].get("annotations") or {}).get(REVISION, "0")) for each in sets]
    return max(numbers, default=0)


def _max_unavailable(live: Json) -> int:
    strategy = live["spec"]["strategy"]
    if strategy["type"] == "Recreate":
        return 0
    value: Any = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%")
    if isinstance(value, int):
        return value
    return int(int(value.rstrip("%")) * live["spec"]["replicas"] / 100)
