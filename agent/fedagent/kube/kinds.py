"""The kinds of object that the agent touches, as the API addresses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource of the API: ``v1`` or ``group/version``, its plural, and whether namespaced."""

    group_version: str
    plural: str
    name: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        group, slash, _version = self.group_version.rpartition("/")
        return group if slash else ""

    def path(self, *, namespace: str | None = None, name: str | None = None) -> str:
        """Return the URL path of one object, or of the collection when ``name`` is None.

        A namespaced kind without a namespace addresses the whole cluster: lists and watches only.
        Raises ValueError for a namespace on a cluster-wide kind and for a name without its
        namespace.
        """
        if namespace is not None and not self.namespaced:
            raise ValueError(f"{self.plural} have no namespace")
        if self.namespaced and name is not None and not namespace:
            raise ValueError(f"the namespace of {self.plural} {name!r} is missing")
        root = f"/apis/{self.group_version}" if self.group else f"/api/{self.group_version}"
        within = f"/namespaces/{namespace}" if namespace is not None else ""
        return f"{root}{within}/{self.plural}" + (f"/{name}" if name is not None else "")


_RBAC = "rbac.authorization.k8s.io/v1"
_NETWORK = "networking.k8s.io/v1"

NAMESPACES: Final = Kind("v1", "namespaces", "Namespace", namespaced=False)
SECRETS: Final = Kind("v1", "secrets", "Secret")
CONFIGMAPS: Final = Kind("v1", "configmaps", "ConfigMap")
SERVICES: Final = Kind("v1", "services", "Service")
ENDPOINTS: Final = Kind("v1", "endpoints", "Endpoints")
PODS: Final = Kind("v1", "pods", "Pod")
NODES: Final = Kind("v1", "nodes", "Node", namespaced=False)
EVENTS: Final = Kind("v1", "events", "Event")
PVCS: Final = Kind("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
RESOURCEQUOTAS: Final = Kind("v1", "resourcequotas", "ResourceQuota")
SERVICEACCOUNTS: Final = Kind("v1", "serviceaccounts", "ServiceAccount")
DEPLOYMENTS: Final = Kind("apps/v1", "deployments", "Deployment")
STATEFULSETS: Final = Kind("apps/v1", "statefulsets", "StatefulSet")
REPLICASETS: Final = Kind("apps/v1", "replicasets", "ReplicaSet")
JOBS: Final = Kind("batch/v1", "jobs", "Job")
INGRESSES: Final = Kind(_NETWORK, "ingresses", "Ingress")
INGRESSCLASSES: Final = Kind(_NETWORK, "ingressclasses", "IngressClass", namespaced=False)
ROLES: Final = Kind(_RBAC, "roles", "Role")
ROLEBINDINGS: Final = Kind(_RBAC, "rolebindings", "RoleBinding")
CLUSTERROLES: Final = Kind(_RBAC, "clusterroles", "ClusterRole", namespaced=False)
CLUSTERROLEBINDINGS: Final = Kind(
    _RBAC, "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
STORAGECLASSES: Final = Kind(
    "storage.k8s.io/v1", "storageclasses", "StorageClass", namespaced=False
)
LEASES: Final = Kind("coordination.k8s.io/v1", "leases", "Lease")

ALL_KINDS: Final[tuple[Kind, ...]] = (
    NAMESPACES,
    SECRETS,
    CONFIGMAPS,
    SERVICES,
    ENDPOINTS,
    PODS,
    NODES,
    EVENTS,
    PVCS,
    RESOURCEQUOTAS,
    SERVICEACCOUNTS,
    DEPLOYMENTS,
    STATEFULSETS,
    REPLICASETS,
    JOBS,
    INGRESSES,
    INGRESSCLASSES,
    ROLES,
    ROLEBINDINGS,
    CLUSTERROLES,
    CLUSTERROLEBINDINGS,
    STORAGECLASSES,
    LEASES,
)


def kind_of(body: dict[str, object]) -> Kind:
    """Return the kind that a manifest names; raises KeyError for one that is not in the table."""
    for kind in ALL_KINDS:
        if (kind.group_version, kind.name) == (body.get("apiVersion"), body.get("kind")):
            return kind
    raise KeyError(f"{body.get('apiVersion')} {body.get('kind')}")
