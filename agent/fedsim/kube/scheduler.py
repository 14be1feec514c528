"""The scheduler: whether the one node takes a pod."""

from __future__ import annotations

from collections.abc import Iterator

from fedsim.faults import FaultName
from fedsim.kube.cluster import NODE_NAME, Cluster, condition
from fedsim.kube.kinds import CLAIMS, NODES, PODS
from fedsim.kube.store import Json

_SCHEDULER = "default-scheduler"
_RETRY_S = 5.0
_NO_NODE = "0/1 nodes are available: {}. preemption: 0/1 nodes are available: 1 {}."
_NO_HELP = "Preemption is not helpful for scheduling"
_NO_VICTIMS = "No preemption victims found for incoming pod"


class Scheduler:
    """Binds pods to the node."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def schedule(self, pod: Json) -> None:
        """Bind a pod to the node, or say why it cannot be and try again later."""
        cluster, metadata = self._cluster, pod["metadata"]
        why = self._unschedulable(pod)
        if why:
            stamp = cluster.clock.stamp()
            unscheduled = condition(
                pod, "PodScheduled", "False", stamp, reason="Unschedulable", message=why
            )
            status = {**pod.get("status", {}), "conditions": [unscheduled]}
            if pod.get("status") != status:
                cluster.recorder.warning(pod, "FailedScheduling", why, _SCHEDULER)
            cluster.registry.write_status(PODS, pod, status)
            key = ("pod", metadata["namespace"], metadata["name"])
            cluster.clock.call_once(key, _RETRY_S, lambda: cluster.mark(*key))
            return
        bound = {
            **pod,
            "spec": {**pod["spec"], "nodeName": NODE_NAME},
            "metadata": dict(metadata),
        }
        where = f"{metadata['namespace']}/{metadata['name']}"
        message = f"Successfully assigned {where} to {NODE_NAME}"
        cluster.recorder.normal(pod, "Scheduled", message, _SCHEDULER)
        cluster.registry.write(PODS, bound)

    def _unschedulable(self, pod: Json) -> str:
        """Return why no node takes the pod, in the scheduler's words; empty when one does."""
        cluster, namespace = self._cluster, pod["metadata"]["namespace"]
        if cluster.faults.hits(FaultName.UNSCHEDULABLE, cluster.workload(pod), namespace):
            return _NO_NODE.format("1 Insufficient cpu", _NO_VICTIMS)
        node = cluster.store.get(NODES, "", NODE_NAME) or {"metadata": {}}
        selector = pod["spec"].get("nodeSelector") or {}
        if not selector.items() <= (node["metadata"].get("labels") or {}).items():
            text = "1 node(s) didn't match Pod's node affinity/selector"
            return _NO_NODE.format(text, _NO_HELP)
        for claim_name in _claims(pod):
            claim = cluster.store.get(CLAIMS, namespace, claim_name)
            if claim is None:
                return _NO_NODE.format(f'persistentvolumeclaim "{claim_name}" not found', _NO_HELP)
            if claim["status"].get("phase") != "Bound":
                text = "pod has unbound immediate PersistentVolumeClaims"
                return _NO_NODE.format(text, _NO_HELP)
        return ""


def _claims(pod: Json) -> Iterator[str]:
    for volume in pod["spec"].get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            yield volume["persistentVolumeClaim"]["claimName"]
