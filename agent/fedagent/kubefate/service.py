"""Find, install and remove the KubeFATE service of a namespace."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from packaging.version import InvalidVersion, Version

from fedagent.kube.client import Json, Kube
from fedagent.kube.errors import AlreadyExists, Forbidden, KubeError, NotFound
from fedagent.kube.forward import is_ready
from fedagent.kube.kinds import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    PVCS,
    ROLEBINDINGS,
    ROLES,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
    STATEFULSETS,
    Kind,
    kind_of,
)
from fedagent.kube.objects import (
    Propagation,
    apply,
    create,
    delete,
    find,
    list_all,
    wait_gone,
)
from fedagent.kube.ownership import GENERATION, Owner, is_created_namespace, owner_of
from fedagent.kube.rbac import NamespaceAccess
from fedagent.kubefate import manifests
from fedagent.kubefate.access import LABELS, Access, AccessMode, find_deployment
from fedagent.kubefate.errors import KubeFateError, Unauthorized
from fedagent.kubefate.manifests import Scope, ServicePlan
from fedagent.kubefate.records import parse_time

log = structlog.get_logger()

_TOKEN_TYPE: Final = "kubernetes.io/service-account-token"  # noqa: S105 - a type of Secret
"""Before Kubernetes 1.24 every namespace holds one, made by Kubernetes itself."""


class NotOurs(KubeError):
    """An object of the installation's name belongs to another hub, or to nobody we know."""

    def __init__(self, message: str, owner: Owner | None) -> None:
        super().__init__(message, reason="NotOurs")
        self.owner = owner


@dataclass(frozen=True, slots=True)
class ServiceObservation:
    """What is there of a KubeFATE service, and whether it answers.

    ``owner`` None with ``is_installed``: somebody installed it by hand. ``version`` is empty until
    it has answered; ``message`` says in one sentence what is missing.
    """

    namespace: str
    is_installed: bool
    access: AccessMode
    owner: Owner | None = None
    version: str = ""
    is_ready: bool = False
    message: str = ""
    is_removing: bool = False
    is_deployment_ready: bool = False
    is_database_ready: bool = False
    started_at: datetime | None = None
    applied_generation: str = ""
    missing: tuple[str, ...] = ()


async def observe_service(
    kube: Kube, access: Access, namespace: str, *, before: ServiceObservation | None = None
) -> ServiceObservation:
    """Look at the service of a namespace; a service that does not answer is no error.

    With the observation ``before`` a service that is in use is not asked again: its answers to
    others tell that it lives. Raises KubeError when Kubernetes itself cannot be asked.
    """
    if access.mode is AccessMode.URL:
        version, message = await _ask_version(access, namespace, before)
        return ServiceObservation(
            namespace=namespace,
            is_installed=True,
            access=access.mode,
            version=version,
            is_ready=bool(version),
            message=message,
        )
    deployment = await find_deployment(kube, namespace)
    if deployment is None:
        await access.forget(namespace)
        message = f"there is no KubeFATE in namespace {namespace}"
        return ServiceObservation(
            namespace=namespace, is_installed=False, access=access.mode, message=message
        )
    has_started = is_available(deployment)
    started_at = await _started_at(kube, namespace)
    version, message = ("", f"Deployment {namespace}/kubefate has no ready pod")
    if has_started:
        is_same_pod = before is not None and before.started_at == started_at
        version, message = await _ask_version(access, namespace, before if is_same_pod else None)
    database = await find(kube, DEPLOYMENTS, manifests.DATABASE, namespace=namespace)
    owner = owner_of(deployment)
    annotations = deployment["metadata"].get("annotations") or {}
    return ServiceObservation(
        namespace=namespace,
        is_installed=True,
        access=access.mode,
        owner=owner,
        version=version,
        is_ready=bool(version),
        message=message,
        is_removing="deletionTimestamp" in deployment["metadata"],
        is_deployment_ready=has_started,
        is_database_ready=database is not None and is_available(database),
        started_at=started_at,
        applied_generation=str(annotations.get(GENERATION, "")),
        missing=() if version or owner is None else await _missing(kube, namespace),
    )


async def install_service(
    kube: Kube, plan: ServicePlan, owner: Owner, *, namespace_access: NamespaceAccess | None = None
) -> None:
    """Apply every object of the installation; idempotent, and nothing waits for readiness.

    Passwords and the volume claim are made once and kept. Raises NotOurs, before any object of
    the installation is made, when one of its name is not this owner's.
    """
    bodies = (*manifests.access_rules(plan, owner), *manifests.workloads(plan, owner))
    once = (manifests.secret(plan, owner), manifests.claim(plan, owner))
    await _ensure_namespace(kube, plan, owner)
    if namespace_access is not None:
        await namespace_access.grant(plan.namespace, owner)
    for body in (*once, *bodies):
        await _refuse_foreign(kube, body, owner)
    for body in once:
        await _create_once(kube, body)
    for body in bodies:
        await apply(kube, kind_of(body), body, namespace=body["metadata"].get("namespace"))
    log.info("kubefate.applied", namespace=plan.namespace, image=plan.service_image)


async def uninstall_service(
    kube: Kube,
    access: Access,
    namespace: str,
    owner: Owner,
    *,
    delete_volumes: bool = True,
    limit_s: float,
) -> tuple[str, ...]:
    """Remove what this owner installed and return what is still there, in words.

    Without ``delete_volumes`` the claim and the Secret stay: the database knows its password only
    from there. The namespace goes when an agent made it and nothing else lives in it. Idempotent:
    call it again while something is left.
    """
    await access.forget(namespace)
    targets = [
        (kind, name, within)
        for kind, name, within in _targets(namespace, delete_volumes=delete_volumes)
        if await _delete_own(kube, kind, name, within, owner)
    ]
    left: list[str] = []
    try:
        async with asyncio.timeout(limit_s):
            for kind, name, within in targets:
                if not await wait_gone(kube, kind, name, namespace=within, limit_s=limit_s):
                    left.append(f"{kind.name} {name}")
            if delete_volumes:
                left += await _remove_namespace(kube, namespace, owner, limit_s)
    except TimeoutError:
        left.append(f"the removal from namespace {namespace} is not over after {limit_s:g} s")
    return tuple(left)


def is_version_enough(version: str, minimum: str) -> bool:
    """Compare two versions like ``v1.4.5``; an unreadable one is never enough."""
    if not minimum:
        return True
    try:
        return Version(version) >= Version(minimum)
    except InvalidVersion:
        return False


def is_available(deployment: Json) -> bool:
    """Return whether a Deployment has a ready pod of its present generation."""
    status = deployment.get("status", {})
    observed = int(status.get("observedGeneration") or 0)
    is_current = observed >= int(deployment["metadata"].get("generation") or 0)
    return is_current and int(status.get("readyReplicas") or 0) > 0


async def _missing(kube: Kube, namespace: str) -> tuple[str, ...]:
    """Return what an agent's installation lacks, as Kind/name; what may not be read is not ours."""
    parts = (
        (DEPLOYMENTS, manifests.DATABASE),
        (SERVICES, manifests.DATABASE),
        (SERVICES, manifests.SERVICE),
        (PVCS, manifests.CLAIM),
        (SECRETS, manifests.SECRET),
    )
    try:
        bodies = [await find(kube, kind, name, namespace=namespace) for kind, name in parts]
    except Forbidden:
        return ()
    return tuple(
        f"{kind.name}/{name}"
        for (kind, name), body in zip(parts, bodies, strict=True)
        if body is None
    )


async def _ask_version(
    access: Access, namespace: str, before: ServiceObservation | None
) -> tuple[str, str]:
    """Return the version and no message, or no version and the reason."""
    timing = access.timing
    try:
        client = await access.client(namespace)
        if before is not None and before.is_ready and client.has_answered_within(timing.evidence_s):
            return before.version, ""
        async with asyncio.timeout(timing.ask_limit_s):
            return await client.version(), ""
    except TimeoutError:
        return "", f"KubeFATE gave no answer within {timing.ask_limit_s:g} s"
    except Unauthorized as error:
        # The password may have been changed: it is read again at the next look.
        await access.forget(namespace)
        return "", f"KubeFATE refuses the credentials: {error.message}"
    except (KubeFateError, KubeError) as error:
        return "", error.message


async def _started_at(kube: Kube, namespace: str) -> datetime | None:
    pods = await list_all(kube, PODS, namespace=namespace, labels=LABELS)
    times = [
        parse_time((status.get("state") or {}).get("running", {}).get("startedAt"))
        for pod in pods
        if is_ready(pod)
        for status in pod.get("status", {}).get("containerStatuses") or ()
    ]
    return max((time for time in times if time is not None), default=None)


async def _refuse_foreign(kube: Kube, body: Json, owner: Owner) -> None:
    meta, kind = body["metadata"], kind_of(body)
    present = await find(kube, kind, meta["name"], namespace=meta.get("namespace"))
    if present is None:
        return
    theirs = owner_of(present)
    if not owner.is_same(theirs):
        whose = f"hub {theirs.hub_id}" if theirs else "nobody we know"
        raise NotOurs(f"{kind.name} {meta['name']} is there and belongs to {whose}", theirs)


async def _ensure_namespace(kube: Kube, plan: ServicePlan, owner: Owner) -> None:
    if plan.scope is Scope.NAMESPACE:
        return
    if await find(kube, NAMESPACES, plan.namespace) is None:
        await _create_once(kube, manifests.namespace(plan, owner))


async def _create_once(kube: Kube, body: Json) -> None:
    meta, kind = body["metadata"], kind_of(body)
    if await find(kube, kind, meta["name"], namespace=meta.get("namespace")) is not None:
        return
    try:
        await create(kube, kind, body, namespace=meta.get("namespace"))
    except AlreadyExists:
        log.debug("kubefate.already_made", kind=kind.name, name=meta["name"])


def _targets(namespace: str, *, delete_volumes: bool) -> tuple[tuple[Kind, str, str | None], ...]:
    role = manifests.role_name(namespace)
    kept: tuple[tuple[Kind, str, str | None], ...] = (
        (PVCS, manifests.CLAIM, namespace),
        (SECRETS, manifests.SECRET, namespace),
    )
    return (
        (DEPLOYMENTS, manifests.SERVICE, namespace),
        (DEPLOYMENTS, manifests.DATABASE, namespace),
        (SERVICES, manifests.SERVICE, namespace),
        (SERVICES, manifests.DATABASE, namespace),
        (CLUSTERROLEBINDINGS, role, None),
        (CLUSTERROLES, role, None),
        (ROLEBINDINGS, role, namespace),
        (ROLES, role, namespace),
        (SERVICEACCOUNTS, manifests.ACCOUNT, namespace),
        *(kept if delete_volumes else ()),
    )


async def _delete_own(kube: Kube, kind: Kind, name: str, within: str | None, owner: Owner) -> bool:
    """Delete an object if it is this owner's; False when there is none of theirs."""
    try:
        body = await find(kube, kind, name, namespace=within)
        if body is None or not owner.is_same(owner_of(body)):
            return False
        await delete(kube, kind, name, namespace=within, propagation=Propagation.FOREGROUND)
    except Forbidden:
        # In one-namespace mode nobody may look at cluster-wide roles, and none were made.
        if within is not None:
            raise
        return False
    return True


async def _remove_namespace(kube: Kube, namespace: str, owner: Owner, limit_s: float) -> list[str]:
    try:
        body = await find(kube, NAMESPACES, namespace)
    except (Forbidden, NotFound):
        return []
    if body is None or not is_created_namespace(body) or not owner.is_same(owner_of(body)):
        return []
    for kind in (DEPLOYMENTS, STATEFULSETS, PVCS, SECRETS):
        others = await list_all(kube, kind, namespace=namespace)
        names = [body["metadata"]["name"] for body in others if body.get("type") != _TOKEN_TYPE]
        if names:
            return [f"Namespace {namespace} holds {kind.name} {', '.join(sorted(names)[:5])}"]
    await delete(kube, NAMESPACES, namespace)
    is_gone = await wait_gone(kube, NAMESPACES, namespace, limit_s=limit_s)
    return [] if is_gone else [f"Namespace {namespace}"]
