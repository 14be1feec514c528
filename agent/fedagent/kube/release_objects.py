"""What of a namespace's objects belongs to a Helm release, and what somebody else brought."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

from fedagent.domain.observed import Workload
from fedagent.kube.kinds import (
    CONFIGMAPS,
    DEPLOYMENTS,
    INGRESSES,
    JOBS,
    PODS,
    PVCS,
    ROLEBINDINGS,
    ROLES,
    SERVICEACCOUNTS,
    SERVICES,
    STATEFULSETS,
    Kind,
)
from fedagent.kube.views import is_of_release, is_of_service, workload_of, workload_view
from fedcore.words import WorkloadKind

Json = dict[str, Any]
RELEASE_KINDS: Final[tuple[Kind, ...]] = (
    DEPLOYMENTS,
    STATEFULSETS,
    JOBS,
    SERVICES,
    CONFIGMAPS,
    INGRESSES,
    SERVICEACCOUNTS,
    ROLEBINDINGS,
    ROLES,
)
"""Kinds that FATE's charts make; claims are dealt with apart."""


class ObjectCopies(Protocol):
    """Copies of a namespace's objects, by kind."""

    def items(self, kind: Kind) -> Iterable[Json]:
        """Return the objects of a kind."""


def reference_of(kind: Kind, body: Json) -> str:
    """Return Kind/name of an object."""
    return f"{kind.name}/{body['metadata']['name']}"


def workloads_of(copies: ObjectCopies, release: str) -> dict[str, Workload]:
    """Return the release's Deployments and StatefulSets, by name."""
    kinds = ((DEPLOYMENTS, WorkloadKind.DEPLOYMENT), (STATEFULSETS, WorkloadKind.STATEFUL_SET))
    return {
        view.name: view
        for kind, word in kinds
        for view in (
            workload_view(body, word) for body in copies.items(kind) if is_of_release(body, release)
        )
    }


def labelled_objects(copies: ObjectCopies, release: str) -> tuple[str, ...]:
    """Return what bears the release's label, of the kinds that are watched."""
    return tuple(
        reference_of(kind, body)
        for kind in (DEPLOYMENTS, STATEFULSETS, SERVICES)
        for body in copies.items(kind)
        if is_of_release(body, release)
    )


def foreign_objects(copies: ObjectCopies, release: str) -> tuple[str, ...]:
    """Return what neither the release nor KubeFATE brought: workloads, claims, pods.

    Pods stand for the kinds that are not watched (DaemonSets, Jobs). Those of a workload that is
    watched are left out, because the workload is named itself.
    """
    workloads = {
        body["metadata"]["name"]
        for kind in (DEPLOYMENTS, STATEFULSETS)
        for body in copies.items(kind)
    }
    return tuple(
        reference_of(kind, body)
        for kind in (DEPLOYMENTS, STATEFULSETS, PVCS, PODS)
        for body in copies.items(kind)
        if not is_of_release(body, release)
        and not is_of_service(body)
        and not (kind is PODS and workload_of(body) in workloads)
    )
