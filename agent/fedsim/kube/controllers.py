"""The loop that keeps the cluster going: changes mark objects, controllers look at the marked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from fedsim.faults import FaultName
from fedsim.kube.cluster import NODE_NAME, Cluster, condition, controller_of
from fedsim.kube.endpoints import Endpoints
from fedsim.kube.errors import ApiError
from fedsim.kube.garbage import Garbage
from fedsim.kube.jobs import Jobs
from fedsim.kube.kinds import (
    CLAIMS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
)
from fedsim.kube.pods import Pods
from fedsim.kube.spaces import Namespaces
from fedsim.kube.stateful import StatefulSets
from fedsim.kube.store import Change, ChangeType, Json
from fedsim.kube.volumes import Claims
from fedsim.kube.workloads import Deployments, ReplicaSets

log = structlog.get_logger(__name__)

_BREATH = 50
_KINDS = {
    PODS.plural: "pod",
    REPLICA_SETS.plural: "replicaset",
    DEPLOYMENTS.plural: "deployment",
    STATEFUL_SETS.plural: "statefulset",
    JOBS.plural: "job",
    CLAIMS.plural: "claim",
    SERVICES.plural: "service",
    NAMESPACES.plural: "namespace",
}
_OWNERS = {
    "Deployment": "deployment",
    "ReplicaSet": "replicaset",
    "StatefulSet": "statefulset",
    "Job": "job",
}


class Controllers:
    """All controllers of the cluster, run by one task; marks for the same object count once."""

    def __init__(self, cluster: Cluster, ca_pem: str) -> None:
        self._cluster = cluster
        self._marks: dict[tuple[str, str, str], None] = {}
        self._news = asyncio.Event()
        cluster.mark = self.mark
        self.namespaces = Namespaces(cluster, ca_pem)
        self._garbage = Garbage(cluster)
        self._handlers: dict[str, Callable[[str, str], None]] = {
            "pod": Pods(cluster).reconcile,
            "replicaset": ReplicaSets(cluster).reconcile,
            "deployment": Deployments(cluster).reconcile,
            "statefulset": StatefulSets(cluster).reconcile,
            "job": Jobs(cluster).reconcile,
            "claim": Claims(cluster).reconcile,
            "service": Endpoints(cluster).reconcile,
            "namespace": self.namespaces.reconcile,
            "garbage": self._garbage.reconcile,
            "node": self._node,
        }

    def mark(self, kind: str, namespace: str, name: str) -> None:
        """Ask for a look at an object soon."""
        self._marks[kind, namespace, name] = None
        self._news.set()

    def start(self) -> None:
        """Follow the store and the faults, and look at everything once."""
        self._garbage.start()
        self._cluster.store.listen(self._follow)
        self._cluster.faults.listen(self._mark_all)
        self._mark_all()

    async def run(self) -> None:
        """Work off the marks, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            for count, mark in enumerate(tuple(self._marks), start=1):
                self._marks.pop(mark, None)
                self._handle(*mark)
                if count % _BREATH == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)

    def _handle(self, kind: str, namespace: str, name: str) -> None:
        try:
            self._handlers[kind](namespace, name)
        except ApiError as error:
            log.info("controller.refused", kind=kind, namespace=namespace, why=error.message)
        except Exception:
            log.exception("controller.failed", kind=kind, namespace=namespace, name=name)

    def _mark_all(self) -> None:
        for resource in (PODS, REPLICA_SETS, DEPLOYMENTS, STATEFUL_SETS, JOBS, CLAIMS, SERVICES):
            for obj in self._cluster.store.list(resource):
                metadata = obj["metadata"]
                self.mark(_KINDS[resource.plural], metadata["namespace"], metadata["name"])
        for space in self._cluster.store.list(NAMESPACES):
            self.mark("namespace", "", space["metadata"]["name"])
        self.mark("node", "", NODE_NAME)

    def _follow(self, change: Change) -> None:
        self._garbage.follow(change)
        plural, namespace = change.resource.plural, change.namespace
        if plural in _KINDS:
            self.mark(_KINDS[plural], namespace, change.name)
        owner = controller_of(change.object)
        if owner is not None and owner["kind"] in _OWNERS:
            self.mark(_OWNERS[owner["kind"]], namespace, owner["name"])
        if change.resource is PODS:
            self._mark_around_pod(change)
        elif plural in {"secrets", "configmaps", CLAIMS.plural}:
            self._mark_waiting_pods(namespace)
        elif plural == "serviceaccounts":
            self._mark_owners_of_pods(namespace)
        if namespace and change.type is ChangeType.DELETED:
            self.mark("namespace", "", namespace)

    def _mark_around_pod(self, change: Change) -> None:
        labels = change.object["metadata"].get("labels") or {}
        for service in self._cluster.store.list(SERVICES, change.namespace):
            selector = service["spec"].get("selector")
            if selector and selector.items() <= labels.items():
                self.mark("service", change.namespace, service["metadata"]["name"])
        if change.type is ChangeType.DELETED:
            for claim in self._cluster.store.list(CLAIMS, change.namespace):
                self.mark("claim", change.namespace, claim["metadata"]["name"])

    def _mark_waiting_pods(self, namespace: str) -> None:
        for pod in self._cluster.store.list(PODS, namespace):
            if pod["status"].get("phase") == "Pending":
                self.mark("pod", namespace, pod["metadata"]["name"])

    def _mark_owners_of_pods(self, namespace: str) -> None:
        for resource in (REPLICA_SETS, STATEFUL_SETS, JOBS):
            for obj in self._cluster.store.list(resource, namespace):
                self.mark(_KINDS[resource.plural], namespace, obj["metadata"]["name"])

    def _node(self, _: str, name: str) -> None:
        cluster = self._cluster
        node = cluster.store.get(NODES, "", name)
        if node is None:
            return
        is_lost = cluster.faults.is_on(FaultName.NODE_NOT_READY)
        conditions = node_conditions(node, cluster.clock.stamp(), is_lost=is_lost)
        cluster.registry.write_status(NODES, node, {**node["status"], "conditions": conditions})


def node_conditions(node: Json, stamp: str, *, is_lost: bool) -> list[Json]:
    """Return the conditions of a node that reports, or no longer does."""
    if is_lost:
        status, reason, text = (
            "Unknown",
            "NodeStatusUnknown",
            "Kubelet stopped posting node status.",
        )
    else:
        status, reason, text = "True", "KubeletReady", "kubelet is posting ready status"
    ready = condition(node, "Ready", status, stamp, reason=reason, message=text)
    pressures = [
        condition(node, name, "False", stamp, reason=f"KubeletHas{what}", message="kubelet has it")
        for name, what in (
            ("MemoryPressure", "SufficientMemory"),
            ("DiskPressure", "NoDiskPressure"),
            ("PIDPressure", "SufficientPID"),
        )
    ]
    return [*pressures, ready]
