"""What the API server writes into an object that its client left out.

Each function completes an object in place. The values are those of Kubernetes 1.34; they matter
because a client compares what it sent with what it reads back.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from fedsim.kube.errors import bad_request
from fedsim.kube.kinds import Resource
from fedsim.kube.store import Json

DEFAULT_STORAGE_CLASS = "standard"


def complete(resource: Resource, obj: Json) -> None:
    """Write the defaults of the object's kind into it."""
    completer = _COMPLETERS.get(resource.plural)
    if completer is not None:
        completer(obj)


def _namespace(obj: Json) -> None:
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    obj.setdefault("status", {}).setdefault("phase", "Active")
    labels = obj["metadata"].get("labels") or {}
    obj["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": obj["metadata"]["name"]}


def _secret(obj: Json) -> None:
    obj.setdefault("type", "Opaque")
    plain = obj.pop("stringData", None) or {}
    if plain:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _service(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["type"] == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    else:
        spec.pop("externalTrafficPolicy", None)
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _pod(obj: Json) -> None:
    complete_pod_spec(obj.setdefault("spec", {}))
    obj.setdefault("status", {}).setdefault("phase", "Pending")
    obj["status"].setdefault("qosClass", "BestEffort")


def complete_pod_spec(spec: Json) -> None:
    """Write the defaults of a pod's spec into it."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        _container(container)
    for volume in spec.get("volumes") or ():
        for source in ("secret", "configMap", "projected", "downwardAPI"):
            if isinstance(volume.get(source), dict):
                volume[source].setdefault("defaultMode", 420)


def _container(container: Json) -> None:
    image = str(container.get("image", ""))
    tag = image.rpartition("/")[2].partition(":")[2]
    policy = "Always" if tag in {"", "latest"} and "@" not in image else "IfNotPresent"
    container.setdefault("imagePullPolicy", policy)
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(name), dict):
            _probe(container[name])
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference:
            reference.setdefault("apiVersion", "v1")


def _probe(probe: Json) -> None:
    for name, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe.setdefault(name, value)
    if isinstance(probe.get("httpGet"), dict):
        probe["httpGet"].setdefault("scheme", "HTTP")
        probe["httpGet"].setdefault("path", "/")


def _template(spec: Json) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    complete_pod_spec(template.setdefault("spec", {}))


def _deployment(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    _template(spec)


def _stateful_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    update = spec.setdefault("updateStrategy", {})
    if update.setdefault("type", "RollingUpdate") == "RollingUpdate":
        update.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    policy = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    policy.setdefault("whenDeleted", "Retain")
    policy.setdefault("whenScaled", "Retain")
    _template(spec)
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
        claim.setdefault("status", {}).setdefault("phase", "Pending")


def _replica_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)


def _job(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    for name, value in (
        ("parallelism", 1),
        ("completions", 1),
        ("backoffLimit", 6),
        ("completionMode", "NonIndexed"),
        ("suspend", False),
        ("podReplacementPolicy", "TerminatingOrFailed"),
    ):
        spec.setdefault(name, value)
    template = spec.setdefault("template", {})
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    uid = obj["metadata"].get("uid")
    if uid and not spec.get("manualSelector"):
        name = obj["metadata"]["name"]
        for prefix in ("", "batch.kubernetes.io/"):
            labels.setdefault(f"{prefix}controller-uid", uid)
            labels.setdefault(f"{prefix}job-name", name)
        owner = labels["batch.kubernetes.io/controller-uid"]
        spec.setdefault("selector", {"matchLabels": {"batch.kubernetes.io/controller-uid": owner}})
    complete_pod_spec(template.setdefault("spec", {}))


def _claim(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    if spec.get("storageClassName") is None:
        spec["storageClassName"] = DEFAULT_STORAGE_CLASS
    obj.setdefault("status", {}).setdefault("phase", "Pending")
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if "deletionTimestamp" not in obj["metadata"] and not finalizers:
        finalizers.append("kubernetes.io/pvc-protection")


def _volume(obj: Json) -> None:
    obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def _storage_class(obj: Json) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def _ingress(obj: Json) -> None:
    obj.setdefault("spec", {})
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _binding(obj: Json) -> None:
    obj.setdefault("roleRef", {}).setdefault("apiGroup", "rbac.authorization.k8s.io")
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in {"User", "Group"}:
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


_COMPLETERS: dict[str, Callable[[Json], None]] = {
    "namespaces": _namespace,
    "secrets": _secret,
    "services": _service,
    "pods": _pod,
    "deployments": _deployment,
    "statefulsets": _stateful_set,
    "replicasets": _replica_set,
    "jobs": _job,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume,
    "storageclasses": _storage_class,
    "ingresses": _ingress,
    "rolebindings": _binding,
    "clusterrolebindings": _binding,
}


def check_shape(resource: Resource, obj: Json) -> None:
    """Refuse with 400 what the real server cannot even decode into its types."""
    for field in ("metadata", "spec", "status", "data", "stringData"):
        value = obj.get(field)
        if value is not None and not isinstance(value, dict):
            raise _undecodable(resource, field, value)
    for name in ("labels", "annotations"):
        _check_texts(resource, f"metadata.{name}", obj["metadata"].get(name))
    if resource.plural in {"configmaps", "secrets"}:
        _check_texts(resource, "data", obj.get("data"))
        _check_texts(resource, "stringData", obj.get("stringData"))
    if resource.plural == "secrets":
        for key, text in (obj.get("data") or {}).items():
            _check_base64(resource, key, text)


def _check_texts(resource: Resource, field: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise _undecodable(resource, field, value)
    for key, text in list(value.items()):
        if text is None:
            value[key] = ""
        elif not isinstance(text, str):
            raise _undecodable(resource, f"{field}.{key}", text)


def _check_base64(resource: Resource, key: str, text: str) -> None:
    try:
        base64.b64decode(text, validate=True)
    except ValueError as error:
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a '
            f"{resource.kind}: illegal base64 data at data.{key}"
        ) from error


def _undecodable(resource: Resource, field: str, value: object) -> Exception:
    sort = {dict: "object", list: "array", str: "string", bool: "bool"}.get(type(value), "number")
    return bad_request(
        f'{resource.kind} in version "{resource.version}" cannot be handled as a '
        f"{resource.kind}: json: cannot unmarshal {sort} into Go struct field "
        f"{resource.kind}.{field} of another type"
    )
