"""The objects of a KubeFATE installation of our own, as plain data.

They differ from KubeFATE's example manifests where those lose data or fail: the database has a
volume claim, passwords are made, no PodSecurityPolicy (gone since Kubernetes 1.25) and no Ingress.
The permissions are those of KubeFATE ``k8s-deploy/rbac-config.yaml``, v2.0.0, under a name of
their own, so that two installations on one cluster do not share them.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from fedagent.kube.ownership import CREATED_NAMESPACE, GENERATION, Owner

Json = dict[str, Any]

SERVICE: Final = "kubefate"
DATABASE: Final = "mariadb"
SECRET: Final = "kubefate-secret"  # noqa: S105 - the name of a Secret
CLAIM: Final = "mariadb-data"
ACCOUNT: Final = "kubefate-admin"
SERVICE_PORT: Final = 8080
DATABASE_PORT: Final = 3306
_DATABASE_NAME: Final = "kube_fate"
_REPOSITORY: Final = "https://federatedai.github.io/KubeFATE"
_ALL: Final = ["get", "list", "create", "delete", "update", "patch"]
_RBAC: Final = "rbac.authorization.k8s.io"


class Scope(StrEnum):
    """Where KubeFATE may install FATE: in every namespace, or in its own alone."""

    CLUSTER = "cluster"
    NAMESPACE = "namespace"


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What to install. An empty ``storage_class`` is the cluster's default."""

    namespace: str
    service_image: str
    database_image: str
    storage_class: str = ""
    storage_size: str = "2Gi"
    scope: Scope = Scope.CLUSTER
    generation: int = 0
    """Of the document; it is written on what is applied last, which tells that all was."""


def namespace(plan: ServicePlan, owner: Owner) -> Json:
    """Return the Namespace; applied only when there is none."""
    body = _object("v1", "Namespace", plan.namespace, None, owner)
    body["metadata"]["annotations"] = {CREATED_NAMESPACE: "true"}
    return body


def secret(plan: ServicePlan, owner: Owner) -> Json:
    """Return the Secret with new random passwords; created once and never replaced.

    KubeFATE keeps user names in a column of 16 characters.
    """
    return _object("v1", "Secret", SECRET, plan.namespace, owner) | {
        "type": "Opaque",
        "stringData": {
            "kubefateUsername": f"lcm-{secrets.token_hex(4)}",
            "kubefatePassword": secrets.token_urlsafe(24),
            "mariadbUsername": "kubefate",
            "mariadbPassword": secrets.token_urlsafe(24),
        },
    }


def claim(plan: ServicePlan, owner: Owner) -> Json:
    """Return the volume claim of the database; created once, as its fields cannot be changed."""
    spec: Json = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": plan.storage_size}},
    }
    if plan.storage_class:
        spec["storageClassName"] = plan.storage_class
    body = _object("v1", "PersistentVolumeClaim", CLAIM, plan.namespace, owner)
    return body | {"spec": spec}


def access_rules(plan: ServicePlan, owner: Owner) -> tuple[Json, ...]:
    """Return ServiceAccount, role and binding, in the order in which they are applied."""
    account = _object("v1", "ServiceAccount", ACCOUNT, plan.namespace, owner)
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": plan.namespace}
    prefix = "Cluster" if plan.scope is Scope.CLUSTER else ""
    within = None if plan.scope is Scope.CLUSTER else plan.namespace
    name = role_name(plan.namespace)
    role = _object(f"{_RBAC}/v1", f"{prefix}Role", name, within, owner)
    binding = _object(f"{_RBAC}/v1", f"{prefix}RoleBinding", name, within, owner)
    reference = {"apiGroup": _RBAC, "kind": f"{prefix}Role", "name": name}
    return (
        account,
        role | {"rules": _rules()},
        binding | {"roleRef": reference, "subjects": [subject]},
    )


def workloads(plan: ServicePlan, owner: Owner) -> tuple[Json, ...]:
    """Return the two Deployments and their Services."""
    last = _deployment(SERVICE, _service_pod(plan), plan, owner)
    last["metadata"]["annotations"] = {GENERATION: str(plan.generation)}
    return (
        _service(DATABASE, DATABASE_PORT, plan, owner),
        _service(SERVICE, SERVICE_PORT, plan, owner),
        _deployment(DATABASE, _database_pod(plan), plan, owner),
        last,
    )


def role_name(namespace: str) -> str:
    """Return the name of the role and its binding; cluster-wide names are shared by all."""
    return f"kubefate-{namespace}"


def _object(version: str, kind: str, name: str, within: str | None, owner: Owner) -> Json:
    meta: Json = {"name": name, "labels": owner.labels()}
    if within is not None:
        meta["namespace"] = within
    return {"apiVersion": version, "kind": kind, "metadata": meta}


def _deployment(name: str, pod: Json, plan: ServicePlan, owner: Owner) -> Json:
    labels = {"fate": name}
    body = _object("apps/v1", "Deployment", name, plan.namespace, owner)
    body["metadata"]["labels"] |= labels
    template = {"metadata": {"labels": labels | owner.labels()}, "spec": pod}
    return body | {
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": template,
        }
    }


def _service(name: str, port: int, plan: ServicePlan, owner: Owner) -> Json:
    body = _object("v1", "Service", name, plan.namespace, owner)
    body["metadata"]["labels"] |= {"fate": name}
    ports = [{"name": str(port), "port": port, "targetPort": port, "protocol": "TCP"}]
    return body | {"spec": {"type": "ClusterIP", "selector": {"fate": name}, "ports": ports}}


def _service_pod(plan: ServicePlan) -> Json:
    env = [
        _plain("FATECLOUD_DB_TYPE", "mysql"),
        _plain("FATECLOUD_DB_HOST", DATABASE),
        _plain("FATECLOUD_DB_PORT", str(DATABASE_PORT)),
        _plain("FATECLOUD_DB_NAME", _DATABASE_NAME),
        _secret("FATECLOUD_DB_USERNAME", "mariadbUsername"),
        _secret("FATECLOUD_DB_PASSWORD", "mariadbPassword"),
        _plain("FATECLOUD_REPO_NAME", "kubefate"),
        _plain("FATECLOUD_REPO_URL", _REPOSITORY),
        _secret("FATECLOUD_USER_USERNAME", "kubefateUsername"),
        _secret("FATECLOUD_USER_PASSWORD", "kubefatePassword"),
        _plain("FATECLOUD_SERVER_ADDRESS", "0.0.0.0"),  # noqa: S104 - inside its own pod
        _plain("FATECLOUD_SERVER_PORT", str(SERVICE_PORT)),
        _plain("FATECLOUD_LOG_LEVEL", "info"),
        _plain("FATECLOUD_LOG_NOCOLOR", "true"),
    ]
    container = _container(SERVICE, plan.service_image, SERVICE_PORT, env)
    container["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    return {"serviceAccountName": ACCOUNT, "containers": [container]}


def _database_pod(plan: ServicePlan) -> Json:
    env = [
        _plain("MYSQL_DATABASE", _DATABASE_NAME),
        _plain("MYSQL_RANDOM_ROOT_PASSWORD", "1"),
        _secret("MYSQL_USER", "mariadbUsername"),
        _secret("MYSQL_PASSWORD", "mariadbPassword"),
    ]
    container = _container(DATABASE, plan.database_image, DATABASE_PORT, env)
    # A folder of its own: the root of a fresh file system holds lost+found.
    mount = {"name": "data", "mountPath": "/var/lib/mysql", "subPath": "mysql"}
    container["volumeMounts"] = [mount]
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}}
    return {
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [volume],
    }


def _container(name: str, image: str, port: int, env: list[Json]) -> Json:
    # The database opens its port only after the first start's set-up; TCP tells enough of both.
    probe: Mapping[str, Any] = {"tcpSocket": {"port": port}, "periodSeconds": 10}
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": env,
        "ports": [{"containerPort": port, "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": "250m", "memory": "512Mi"},
            "limits": {"cpu": "2", "memory": "4Gi"},
        },
        "startupProbe": {**probe, "failureThreshold": 30},
        "readinessProbe": {**probe, "timeoutSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {**probe, "timeoutSeconds": 5, "failureThreshold": 6},
    }


def _plain(name: str, value: str) -> Json:
    return {"name": name, "value": value}


def _secret(name: str, key: str) -> Json:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key}}}


def _rule(group: str, resources: list[str], verbs: list[str]) -> Json:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _rules() -> list[Json]:
    configs = ["configmaps", "services", "secrets", "persistentvolumeclaims", "serviceaccounts"]
    sets = ["deployments", "statefulsets", "deployments/status", "statefulsets/status"]
    without_list = [verb for verb in _ALL if verb != "list"]
    return [
        _rule("", ["namespaces", *configs], _ALL),
        _rule("", ["pods", "pods/log", "nodes"], ["get", "list"]),
        _rule("apps", sets, _ALL),
        _rule("networking.k8s.io", ["ingresses"], _ALL),
        _rule("networking.istio.io", ["gateways", "virtualservices"], without_list),
        _rule(_RBAC, ["roles", "rolebindings"], without_list),
        _rule("batch", ["jobs"], _ALL),
    ]
