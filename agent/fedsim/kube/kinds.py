"""The table of resources that the server knows; everything generic is driven by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

POD_SUBRESOURCES: Final = ("log", "exec", "portforward")


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object: where it lives, and which generic rules it follows."""

    group: str
    plural: str
    kind: str
    short: str = ""
    is_namespaced: bool = True
    has_status: bool = False
    has_generation: bool = False
    version: str = "v1"

    @property
    def api_version(self) -> str:
        """Return ``v1`` or ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """Return the name of one object in texts."""
        return self.kind.lower()

    @property
    def qualified(self) -> str:
        """Return the name that error texts use: ``pods`` or ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def list_kind(self) -> str:
        """Return the kind of a list of these."""
        return f"{self.kind}List"


_NETWORK = "networking.k8s.io"
_RBAC = "rbac.authorization.k8s.io"

NAMESPACES = Resource("", "namespaces", "Namespace", "ns", is_namespaced=False, has_status=True)
NODES = Resource("", "nodes", "Node", "no", is_namespaced=False, has_status=True)
SECRETS = Resource("", "secrets", "Secret")
CONFIG_MAPS = Resource("", "configmaps", "ConfigMap", "cm")
SERVICES = Resource("", "services", "Service", "svc", has_status=True)
PODS = Resource("", "pods", "Pod", "po", has_status=True, has_generation=True)
EVENTS = Resource("", "events", "Event", "ev")
SERVICE_ACCOUNTS = Resource("", "serviceaccounts", "ServiceAccount", "sa")
CLAIMS = Resource("", "persistentvolumeclaims", "PersistentVolumeClaim", "pvc", has_status=True)
DEPLOYMENTS = Resource(
    "apps", "deployments", "Deployment", "deploy", has_status=True, has_generation=True
)
REPLICA_SETS = Resource(
    "apps", "replicasets", "ReplicaSet", "rs", has_status=True, has_generation=True
)
STATEFUL_SETS = Resource(
    "apps", "statefulsets", "StatefulSet", "sts", has_status=True, has_generation=True
)
JOBS = Resource("batch", "jobs", "Job", has_status=True, has_generation=True)
INGRESSES = Resource(_NETWORK, "ingresses", "Ingress", "ing", has_status=True, has_generation=True)
ROLES = Resource(_RBAC, "roles", "Role")
ROLE_BINDINGS = Resource(_RBAC, "rolebindings", "RoleBinding")
CLUSTER_ROLES = Resource(_RBAC, "clusterroles", "ClusterRole", is_namespaced=False)
CLUSTER_ROLE_BINDINGS = Resource(
    _RBAC, "clusterrolebindings", "ClusterRoleBinding", is_namespaced=False
)
STORAGE_CLASSES = Resource(
    "storage.k8s.io", "storageclasses", "StorageClass", "sc", is_namespaced=False
)

RESOURCES: tuple[Resource, ...] = (
    NAMESPACES,
    NODES,
    SECRETS,
    CONFIG_MAPS,
    SERVICES,
    PODS,
    EVENTS,
    SERVICE_ACCOUNTS,
    CLAIMS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    JOBS,
    INGRESSES,
    ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    STORAGE_CLASSES,
)

NAMESPACED: tuple[Resource, ...] = tuple(
    resource for resource in RESOURCES if resource.is_namespaced
)

_BY_PATH = {(resource.group, resource.version, resource.plural): resource for resource in RESOURCES}


def find_resource(group: str, version: str, plural: str) -> Resource | None:
    """Return the resource of a path, None when the server has none."""
    return _BY_PATH.get((group, version, plural))


def groups() -> dict[str, str]:
    """Return the named groups, each with its one version."""
    return {resource.group: resource.version for resource in RESOURCES if resource.group}
