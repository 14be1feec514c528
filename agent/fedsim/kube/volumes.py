"""Claims and volumes: a claim is bound to a volume made for it, and kept while a pod uses it."""

from __future__ import annotations

from fedsim.faults import FaultName
from fedsim.kube.cluster import Cluster
from fedsim.kube.errors import ApiError
from fedsim.kube.kinds import CLAIMS, PODS, STORAGE_CLASSES, VOLUMES
from fedsim.kube.lifecycle import Removal, Write
from fedsim.kube.store import Json, clone

PROTECTION = "kubernetes.io/pvc-protection"
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
            self._drop_volumes(namespace, name)
        elif claim["metadata"].get("deletionTimestamp"):
            self._let_go(claim)
        elif claim["status"].get("phase") != "Bound":
            self._bind(claim)

    def _drop_volumes(self, namespace: str, name: str) -> None:
        for volume in self._cluster.store.list(VOLUMES):
            reference = volume["spec"].get("claimRef") or {}
            is_of_claim = (reference.get("namespace"), reference.get("name")) == (namespace, name)
            if is_of_claim and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
                self._cluster.registry.delete(VOLUMES, "", volume["metadata"]["name"], Removal())

    def _let_go(self, claim: Json) -> None:
        metadata = claim["metadata"]
        in_use = any(
            volume.get("persistentVolumeClaim", {}).get("claimName") == metadata["name"]
            for pod in self._cluster.store.list(PODS, metadata["namespace"])
            for volume in pod["spec"].get("volumes") or ()
        )
        if not in_use and PROTECTION in (metadata.get("finalizers") or ()):
            changed = clone(claim)
            changed["metadata"]["finalizers"].remove(PROTECTION)
            self._cluster.registry.write(CLAIMS, changed)

    def _bind(self, claim: Json) -> None:
        cluster, metadata, spec = self._cluster, claim["metadata"], claim["spec"]
        storage_class = cluster.store.get(STORAGE_CLASSES, "", spec["storageClassName"])
        key = (metadata["namespace"], metadata["name"])
        problem = ""
        if storage_class is None:
            problem = f'storageclass.storage.k8s.io "{spec["storageClassName"]}" not found'
        elif cluster.faults.hits(FaultName.PVC_PENDING, metadata["name"], metadata["namespace"]):
            problem = "failed to provision volume: no space left on the storage backend"
        if problem:
            cluster.recorder.warning(claim, "ProvisioningFailed", problem, _CONTROLLER)
            cluster.clock.call_once(("claim", *key), _RETRY_S, lambda: cluster.mark("claim", *key))
            return
        born = cluster.clock.parse(metadata["creationTimestamp"])
        delay_s = cluster.settings.delays.claim_s
        if delay_s and (cluster.clock.now() - born).total_seconds() < delay_s * cluster.clock.scale:
            cluster.clock.call_once(("claim", *key), delay_s, lambda: cluster.mark("claim", *key))
            return
        self._provision(claim)

    def _provision(self, claim: Json) -> None:
        cluster, metadata, spec = self._cluster, claim["metadata"], claim["spec"]
        name = f"pvc-{metadata['uid']}"
        capacity = {"storage": spec["resources"]["requests"]["storage"]}
        volume = {
            "metadata": {"name": name, "annotations": {"simulated": "true"}},
            "spec": {
                "capacity": capacity,
                "accessModes": spec["accessModes"],
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": spec["storageClassName"],
                "hostPath": {"path": f"/simulated/{name}", "type": ""},
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": metadata["namespace"],
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
            },
        }
        try:
            made = cluster.registry.create(VOLUMES, "", volume, Write("kube-controller-manager"))
        except ApiError:
            made = cluster.registry.get(VOLUMES, "", name)
        cluster.registry.write_status(VOLUMES, made, {"phase": "Bound"})
        bound = clone(claim)
        bound["spec"]["volumeName"] = name
        bound["status"] = {
            "phase": "Bound",
            "accessModes": spec["accessModes"],
            "capacity": capacity,
        }
        annotations = bound["metadata"].get("annotations") or {}
        annotations["volume.kubernetes.io/storage-provisioner"] = _PROVISIONER
        bound["metadata"]["annotations"] = annotations
        cluster.registry.write(CLAIMS, bound)
        text = f"Successfully provisioned volume {name}"
        cluster.recorder.normal(bound, "ProvisioningSucceeded", text, _CONTROLLER)


def default_storage_class() -> Json:
    """Return the one storage class, which is the default."""
    return {
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": _PROVISIONER,
    }
