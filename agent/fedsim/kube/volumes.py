"""Claims: each is bound to a volume that is a name alone, and is kept while a pod uses it."""

from __future__ import annotations

from fedsim.faults import FaultName
from fedsim.kube.cluster import Cluster
from fedsim.kube.defaults import CLAIM_PROTECTION, DEFAULT_STORAGE_CLASS
from fedsim.kube.kinds import CLAIMS, PODS, STORAGE_CLASSES
from fedsim.kube.store import Json, clone

_CONTROLLER = "persistentvolume-controller"
_PROVISIONER = "simulated.fate-lifecycle-manager.io/hostpath"
_RETRY_S = 2.0


class Claims:
    """Binds PersistentVolumeClaims, and lets them go."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def reconcile(self, namespace: str, name: str) -> None:
        """Bind a claim, or finish its deletion when no pod uses it."""
        claim = self._cluster.store.get(CLAIMS, namespace, name)
        if claim is None:
            return
        if claim["metadata"].get("deletionTimestamp"):
            self._let_go(claim)
        elif claim["status"].get("phase") != "Bound":
            self._bind(claim)

    def _let_go(self, claim: Json) -> None:
        metadata = claim["metadata"]
        in_use = any(
            volume.get("persistentVolumeClaim", {}).get("claimName") == metadata["name"]
            for pod in self._cluster.store.list(PODS, metadata["namespace"])
            for volume in pod["spec"].get("volumes") or ()
        )
        if not in_use and CLAIM_PROTECTION in (metadata.get("finalizers") or ()):
            changed = clone(claim)
            changed["metadata"]["finalizers"].remove(CLAIM_PROTECTION)
            self._cluster.registry.write(CLAIMS, changed)

    def _bind(self, claim: Json) -> None:
        cluster, metadata = self._cluster, claim["metadata"]
        key = (metadata["namespace"], metadata["name"])
        if problem := self._problem(claim):
            cluster.recorder.warning(claim, "ProvisioningFailed", problem, _CONTROLLER)
            cluster.clock.call_once(("claim", *key), _RETRY_S, lambda: cluster.mark("claim", *key))
            return
        born = cluster.clock.parse(metadata["creationTimestamp"])
        delay_s = cluster.settings.delays.claim_s
        if (cluster.clock.now() - born).total_seconds() < delay_s:
            cluster.clock.call_once(("claim", *key), delay_s, lambda: cluster.mark("claim", *key))
            return
        self._provision(claim)

    def _problem(self, claim: Json) -> str:
        cluster, metadata = self._cluster, claim["metadata"]
        class_name = claim["spec"]["storageClassName"]
        if cluster.store.get(STORAGE_CLASSES, "", class_name) is None:
            return f'storageclass.storage.k8s.io "{class_name}" not found'
        if cluster.faults.hits(FaultName.PVC_PENDING, metadata["name"], metadata["namespace"]):
            return "failed to provision volume: no space left on the storage backend"
        return ""

    def _provision(self, claim: Json) -> None:
        bound = clone(claim)
        volume = f"pvc-{claim['metadata']['uid']}"
        bound["spec"]["volumeName"] = volume
        bound["status"] = {
            "phase": "Bound",
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
        }
        self._cluster.registry.write(CLAIMS, bound)
        text = f"Successfully provisioned volume {volume}"
        self._cluster.recorder.normal(bound, "ProvisioningSucceeded", text, _CONTROLLER)


def default_storage_class() -> Json:
    """Return the one storage class, which is the default."""
    return {
        "metadata": {
            "name": DEFAULT_STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": _PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }
