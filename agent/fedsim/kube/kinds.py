"""The table of resources that the server knows; everything generic is driven by it."""

from __future__ import annotations

from dataclasses import dataclass

_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object: where it lives, and which generic rules it follows."""

    group: str
    version: str
    plural: str
    kind: str
    singular: str
    is_namespaced: bool = True
    has_status: bool = False
    has_generation: bool = False
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = _VERBS
    subresources: tuple[str, ...] = ()
    may_update_unconditionally: bool = True

    @property
    def api_version(self) -> str:
        """Return ``v1`` or ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """Return the name that error texts use: ``pods`` or ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def list_kind(self) -> str:
        """Return the kind of a list of these."""
        return f"{self.kind}List"


def _core(plural: str, kind: str, *short: str, **rest: object) -> Resource:
    return _resource("", "v1", plural, kind, *short, **rest)


def _resource(
    group: str, version: str, plural: str, kind: str, *short: str, **rest: object
) -> Resource:
    return Resource(
        group,
        version,
        plural,
        kind,
        kind.lower(),
        short_names=short,
        **rest,  # type: ignore[arg-type]  # the table below is the only caller
    )


NAMESPACES = _core(
    "namespaces",
    "Namespace",
    "ns",
    is_namespaced=False,
    has_status=True,
    subresources=("status", "finalize"),
)
SECRETS = _core("secrets", "Secret")
CONFIG_MAPS = _core("configmaps", "ConfigMap", "cm")
SERVICES = _core(
    "services", "Service", "svc", has_status=True, subresources=("status",), categories=("all",)
)
PODS = _core(
    "pods",
    "Pod",
    "po",
    has_status=True,
    has_generation=True,
    categories=("all",),
    subresources=("status", "log", "exec", "portforward", "eviction"),
)
NODES = _core("nodes", "Node", "no", is_namespaced=False, has_status=True, subresources=("status",))
EVENTS = _core("events", "Event", "ev")
SERVICE_ACCOUNTS = _core("serviceaccounts", "ServiceAccount", "sa")
CLAIMS = _core(
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    "pvc",
    has_status=True,
    subresources=("status",),
)
VOLUMES = _core(
    "persistentvolumes",
    "PersistentVolume",
    "pv",
    is_namespaced=False,
    has_status=True,
    subresources=("status",),
)
ENDPOINTS = _core("endpoints", "Endpoints", "ep")
QUOTAS = _core(
    "resourcequotas", "ResourceQuota", "quota", has_status=True, subresources=("status",)
)
DEPLOYMENTS = _resource(
    "apps",
    "v1",
    "deployments",
    "Deployment",
    "deploy",
    has_status=True,
    has_generation=True,
    categories=("all",),
    subresources=("status", "scale"),
)
STATEFUL_SETS = _resource(
    "apps",
    "v1",
    "statefulsets",
    "StatefulSet",
    "sts",
    has_status=True,
    has_generation=True,
    categories=("all",),
    subresources=("status", "scale"),
)
REPLICA_SETS = _resource(
    "apps",
    "v1",
    "replicasets",
    "ReplicaSet",
    "rs",
    has_status=True,
    has_generation=True,
    categories=("all",),
    subresources=("status", "scale"),
)
JOBS = _resource(
    "batch",
    "v1",
    "jobs",
    "Job",
    has_status=True,
    has_generation=True,
    categories=("all",),
    subresources=("status",),
)
INGRESSES = _resource(
    "networking.k8s.io",
    "v1",
    "ingresses",
    "Ingress",
    "ing",
    has_status=True,
    has_generation=True,
    subresources=("status",),
)
NETWORK_POLICIES = _resource(
    "networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "netpol", has_generation=True
)
_RBAC = "rbac.authorization.k8s.io"
ROLES = _resource(_RBAC, "v1", "roles", "Role")
ROLE_BINDINGS = _resource(_RBAC, "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES = _resource(_RBAC, "v1", "clusterroles", "ClusterRole", is_namespaced=False)
CLUSTER_ROLE_BINDINGS = _resource(
    _RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", is_namespaced=False
)
STORAGE_CLASSES = _resource(
    "storage.k8s.io", "v1", "storageclasses", "StorageClass", "sc", is_namespaced=False
)
LEASES = _resource("coordination.k8s.io", "v1", "leases", "Lease", may_update_unconditionally=False)
_REVIEWS = "authorization.k8s.io"
ACCESS_REVIEWS = _resource(
    _REVIEWS,
    "v1",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    is_namespaced=False,
    verbs=("create",),
)
RULES_REVIEWS = _resource(
    _REVIEWS,
    "v1",
    "selfsubjectrulesreviews",
    "SelfSubjectRulesReview",
    is_namespaced=False,
    verbs=("create",),
)

RESOURCES: tuple[Resource, ...] = (
    NAMESPACES,
    SECRETS,
    CONFIG_MAPS,
    SERVICES,
    PODS,
    NODES,
    EVENTS,
    SERVICE_ACCOUNTS,
    CLAIMS,
    VOLUMES,
    ENDPOINTS,
    QUOTAS,
    DEPLOYMENTS,
    STATEFUL_SETS,
    REPLICA_SETS,
    JOBS,
    INGRESSES,
    NETWORK_POLICIES,
    ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    STORAGE_CLASSES,
    LEASES,
    ACCESS_REVIEWS,
    RULES_REVIEWS,
)

NAMESPACED: tuple[Resource, ...] = tuple(
    resource for resource in RESOURCES if resource.is_namespaced
)

_BY_PATH = {(resource.group, resource.version, resource.plural): resource for resource in RESOURCES}
_BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES}


def find_resource(group: str, version: str, plural: str) -> Resource | None:
    """Return the resource of a path, None when the server has none."""
    return _BY_PATH.get((group, version, plural))


def find_kind(api_version: str, kind: str) -> Resource | None:
    """Return the resource of an object's ``apiVersion`` and ``kind``, None when unknown."""
    return _BY_KIND.get((api_version, kind))


def groups() -> dict[str, str]:
    """Return the named groups, each with its one version."""
    return {resource.group: resource.version for resource in RESOURCES if resource.group}
