"""StatefulSets: pods with numbers, made and replaced one after the other, and their claims."""

from __future__ import annotations

from fedsim.kube.cluster import Cluster, digest_of, is_ready, reference_to
from fedsim.kube.errors import ApiError
from fedsim.kube.kinds import CLAIMS, PODS, STATEFUL_SETS
from fedsim.kube.lifecycle import Removal, Write
from fedsim.kube.store import Json, clone

_CONTROLLER = "statefulset-controller"
_AS_CONTROLLER = Write("kube-controller-manager")
_REVISION_LABEL = "controller-revision-hash"
_RETRY_S = 2.0


class StatefulSets:
    """Keeps the pods ``NAME-0`` … of each StatefulSet."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def reconcile(self, namespace: str, name: str) -> None:
        """Make, replace or delete at most one pod, and count."""
        live = self._cluster.store.get(STATEFUL_SETS, namespace, name)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return
        revision = f"{name}-{digest_of(live['spec']['template'])}"
        pods = {_ordinal(pod): pod for pod in self._cluster.owned(PODS, live)}
        if not any(pod["metadata"].get("deletionTimestamp") for pod in pods.values()):
            self._step(live, pods, revision)
        self._write_status(live, revision)

    def _step(self, live: Json, pods: dict[int, Json], revision: str) -> None:
        wanted = live["spec"]["replicas"]
        is_parallel = live["spec"]["podManagementPolicy"] == "Parallel"
        for ordinal in range(wanted):
            pod = pods.get(ordinal)
            if pod is not None and pod["status"].get("phase") == "Failed":
                self._drop(live, pod)
                return
            if pod is None:
                self._make(live, ordinal, revision)
            if not is_parallel and (pod is None or not is_ready(pod)):
                break
        surplus = [ordinal for ordinal in sorted(pods, reverse=True) if ordinal >= wanted]
        if surplus:
            self._drop(live, pods[surplus[0]])
        elif live["spec"]["updateStrategy"]["type"] == "RollingUpdate":
            self._replace_outdated(live, pods, revision)

    def _replace_outdated(self, live: Json, pods: dict[int, Json], revision: str) -> None:
        for ordinal in sorted(pods, reverse=True):
            pod = pods[ordinal]
            if pod["metadata"]["labels"].get(_REVISION_LABEL) != revision:
                self._drop(live, pod)
                return
            if not is_ready(pod):
                return

    def _make(self, live: Json, ordinal: int, revision: str) -> None:
        cluster, metadata = self._cluster, live["metadata"]
        name = f"{metadata['name']}-{ordinal}"
        self._make_claims(live, ordinal)
        try:
            pod = self._pod(live, ordinal, revision)
            cluster.registry.create(PODS, metadata["namespace"], pod, _AS_CONTROLLER)
        except ApiError as error:
            text = f"create Pod {name} in StatefulSet {metadata['name']} failed error: {error}"
            cluster.recorder.warning(live, "FailedCreate", text, _CONTROLLER)
            key = (metadata["namespace"], metadata["name"])
            cluster.clock.call_once(
                ("stateful", *key), _RETRY_S, lambda: cluster.mark("statefulset", *key)
            )
            return
        text = f"create Pod {name} in StatefulSet {metadata['name']} successful"
        cluster.recorder.normal(live, "SuccessfulCreate", text, _CONTROLLER)

    def _pod(self, live: Json, ordinal: int, revision: str) -> Json:
        name = f"{live['metadata']['name']}-{ordinal}"
        template = clone(live["spec"]["template"])
        labels = {
            **(template["metadata"].get("labels") or {}),
            _REVISION_LABEL: revision,
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(ordinal),
        }
        spec = template["spec"]
        spec["hostname"] = name
        if live["spec"].get("serviceName"):
            spec["subdomain"] = live["spec"]["serviceName"]
        claims = [each["metadata"]["name"] for each in live["spec"].get("volumeClaimTemplates", ())]
        kept = [each for each in spec.get("volumes") or () if each["name"] not in claims]
        bound = [
            {"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}"}}
            for claim in claims
        ]
        if kept or bound:
            spec["volumes"] = [*kept, *bound]
        return {
            "metadata": {
                **template["metadata"],
                "name": name,
                "labels": labels,
                "ownerReferences": [reference_to(live)],
            },
            "spec": spec,
        }

    def _make_claims(self, live: Json, ordinal: int) -> None:
        metadata = live["metadata"]
        for template in live["spec"].get("volumeClaimTemplates") or ():
            name = f"{template['metadata']['name']}-{metadata['name']}-{ordinal}"
            if self._cluster.store.get(CLAIMS, metadata["namespace"], name) is not None:
                continue
            labels = {
                **(live["spec"]["selector"].get("matchLabels") or {}),
                **(template["metadata"].get("labels") or {}),
            }
            claim = {"metadata": {"name": name, "labels": labels}, "spec": clone(template["spec"])}
            try:
                self._cluster.registry.create(CLAIMS, metadata["namespace"], claim, _AS_CONTROLLER)
            except ApiError as error:
                text = f"create Claim {name} failed error: {error}"
                self._cluster.recorder.warning(live, "FailedCreate", text, _CONTROLLER)

    def _drop(self, live: Json, pod: Json) -> None:
        metadata = pod["metadata"]
        self._cluster.registry.delete(PODS, metadata["namespace"], metadata["name"], Removal())
        text = f"delete Pod {metadata['name']} in StatefulSet {live['metadata']['name']} successful"
        self._cluster.recorder.normal(live, "SuccessfulDelete", text, _CONTROLLER)

    def _write_status(self, live: Json, revision: str) -> None:
        pods = self._cluster.owned(PODS, live)
        updated = sum(pod["metadata"]["labels"].get(_REVISION_LABEL) == revision for pod in pods)
        ready = sum(is_ready(pod) for pod in pods)
        before = live.get("status") or {}
        is_rolled = updated == len(pods) == ready
        current = revision if is_rolled else before.get("currentRevision", revision)
        status: Json = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": len(pods),
            "availableReplicas": ready,
            "currentRevision": current,
            "updateRevision": revision,
            "collisionCount": 0,
        }
        counts = {
            "readyReplicas": ready,
            "updatedReplicas": updated,
            "currentReplicas": sum(
                pod["metadata"]["labels"].get(_REVISION_LABEL) == current for pod in pods
            ),
        }
        status.update({name: count for name, count in counts.items() if count})
        self._cluster.registry.write_status(STATEFUL_SETS, live, status)


def _ordinal(pod: Json) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])
