"""Look at the cluster and the KubeFATE service; make of it what the planner understands."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from fedagent.domain.document import (
    CertificateSpec,
    EndpointDocument,
    ParticipantDocument,
    RouteEntry,
    Table,
    WorkloadKind,
)
from fedagent.domain.observed import (
    AddressView,
    OwnerView,
    ParticipantObserved,
    ReleaseView,
    SecretView,
    ServiceObserved,
    TableView,
    Workload,
)
from fedagent.domain.state import ResourceState
from fedagent.journal import Journal
from fedagent.kube.client import Kube
from fedagent.kube.errors import Forbidden, KubeError
from fedagent.kube.kinds import (
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    INGRESSES,
    JOBS,
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
)
from fedagent.kube.objects import find, list_all
from fedagent.kubefate.access import AccessMode
from fedagent.kubefate.releases import read_releases
from fedagent.kubefate.service import is_version_enough, observe_service
from fedagent.reconcile.certificates import read_secret
from fedagent.reconcile.dns_cache import DnsCache
from fedagent.reconcile.kubefate_service import KubeFateService
from fedagent.reconcile.node_addresses import NodeAddressCache
from fedagent.reconcile.record_cache import RecordCache
from fedagent.reconcile.tables import TableFault, read_table
from fedagent.reconcile.timing import ReconcileTiming
from fedagent.reconcile.views import (
    address_view,
    balancer_names,
    claim_view,
    event_view,
    is_of_release,
    is_of_service,
    namespace_view,
    pod_view,
    workload_of,
    workload_view,
)
from fedagent.reconcile.watch import NamespaceWatch
from fedcore.clock import Clock

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
_MAX_EVENTS: Final = 200


@dataclass(slots=True)
class ObservationCache:
    """What an observer keeps about one participant between looks."""

    watch: NamespaceWatch
    kubefate: RecordCache
    tables: dict[str, tuple[tuple[str, str], TableView]] = field(default_factory=dict)
    secrets: dict[str, tuple[tuple[str, CertificateSpec], SecretView]] = field(default_factory=dict)
    events: tuple[Json, ...] = ()
    events_at: datetime | None = None


class Observer:
    """Reads everything that a plan depends on. KubeError when Kubernetes cannot be asked."""

    def __init__(
        self,
        kube: Kube,
        journal: Journal,
        desk: KubeFateService,
        names: DnsCache,
        *,
        clock: Clock,
        timing: ReconcileTiming,
    ) -> None:
        self._timing = timing
        self._kube = kube
        self._journal = journal
        self._desk = desk
        self._names = names
        self._nodes = NodeAddressCache(kube, timing.nodes_s)
        self._clock = clock

    async def service(
        self, document: EndpointDocument, users: tuple[str, ...], leftovers: tuple[str, ...]
    ) -> ServiceObserved:
        """Look at the KubeFATE service of the site."""
        before = None if self._desk.is_doubted else self._desk.last
        self._desk.is_doubted = False
        seen = await observe_service(
            self._kube, self._desk.access, document.namespace, before=before
        )
        self._desk.last = seen
        owner = None if seen.owner is None else OwnerView(seen.owner.hub_id, seen.owner.resource_id)
        return ServiceObserved(
            is_installed=seen.is_installed,
            owner=owner,
            is_external=seen.access is AccessMode.URL,
            version=seen.version,
            version_enough=is_version_enough(seen.version, document.minimum_version),
            is_ready=seen.is_ready,
            message=seen.message,
            access=seen.access.value,
            terminating=seen.is_removing,
            applied_generation=seen.applied_generation,
            missing=seen.missing,
            leftovers=leftovers,
            in_use_by=users,
        )

    async def participant(
        self, document: ParticipantDocument, memory: ResourceState, eyes: ObservationCache
    ) -> ParticipantObserved:
        """Look at one participant."""
        now = self._clock.now()
        if not await eyes.watch.synced():
            raise KubeError(f"the objects of namespace {document.namespace} cannot be read yet")
        workloads = _workloads(eyes.watch, document.release_name)
        all_ready = all(
            item.name in workloads and workloads[item.name].is_ready for item in document.components
        )
        namespace, secrets, releases, kubefate, addresses, events = await asyncio.gather(
            find(self._kube, NAMESPACES, document.namespace),
            self._secrets(document, eyes),
            read_releases(self._kube, document.namespace, document.release_name),
            eyes.kubefate.look(document, memory, all_ready=all_ready, now=now),
            self._addresses(document, eyes.watch),
            self._events(document, eyes, now, all_ready=all_ready),
        )
        chart_uuid = await self._journal.chart_uuid(self._desk.key, document.chart.sha256)
        return ParticipantObserved(
            namespace=namespace_view(namespace),
            secrets=secrets,
            kubefate=replace(kubefate, chart_present=bool(chart_uuid)),
            releases=tuple(
                ReleaseView(item.revision, item.status, item.modified_at, item.created_at)
                for item in releases
            ),
            workloads=workloads,
            pods=tuple(
                pod_view(body)
                for body in eyes.watch.items(PODS)
                if is_of_release(body, document.release_name)
            ),
            events=tuple(event_view(body) for body in events),
            claims=tuple(
                claim_view(body, document.release_name) for body in eyes.watch.items(PVCS)
            ),
            addresses=addresses,
            tables=_tables(document, eyes),
            resolutions={
                name: self._names.answers.get(name, "") for name in document.resolve_names
            },
            objects=await self._objects(document, eyes.watch),
            foreign=foreign_objects(eyes.watch, document.release_name),
        )

    async def from_outside(
        self, document: ParticipantDocument, memory: ResourceState, look: RecordCache
    ) -> ParticipantObserved:
        """Look at a namespace in which the agent has no rights yet: whose it is, who is in it."""
        kinds = (DEPLOYMENTS, STATEFULSETS, PVCS)
        namespace, kubefate = await asyncio.gather(
            find(self._kube, NAMESPACES, document.namespace),
            look.look(document, memory, all_ready=False, now=self._clock.now()),
        )
        bodies = await asyncio.gather(
            *(list_all(self._kube, kind, namespace=document.namespace) for kind in kinds)
        )
        chart_uuid = await self._journal.chart_uuid(self._desk.key, document.chart.sha256)
        return ParticipantObserved(
            namespace=replace(namespace_view(namespace), readable=False),
            kubefate=replace(kubefate, chart_present=bool(chart_uuid)),
            foreign=tuple(
                f"{kind.name}/{body['metadata']['name']}"
                for kind, found in zip(kinds, bodies, strict=True)
                for body in found
                if not is_of_service(body)
            ),
        )

    async def _secrets(
        self, document: ParticipantDocument, eyes: ObservationCache
    ) -> dict[str, SecretView]:
        """Read the certificates' Secrets; one that is unchanged is not checked again.

        Reading an RSA key checks its primes, which takes tenths of a second: not in the event loop.
        """
        bodies = await asyncio.gather(
            *(
                find(self._kube, SECRETS, wish.secret_name, namespace=document.namespace)
                for wish in document.certificates
            )
        )
        found: dict[str, SecretView] = {}
        for wish, body in zip(document.certificates, bodies, strict=True):
            if body is None:
                continue
            mark = (str(body["metadata"].get("resourceVersion", "")), wish)
            known = eyes.secrets.get(wish.secret_name)
            if known is None or known[0] != mark:
                view = await asyncio.to_thread(read_secret, wish, body)
                known = eyes.secrets[wish.secret_name] = (mark, view)
            found[wish.secret_name] = known[1]
        return found

    async def _addresses(
        self, document: ParticipantDocument, watch: NamespaceWatch
    ) -> tuple[AddressView, ...]:
        services = [watch.get(SERVICES, wish.service) for wish in document.addresses]
        there = [body for body in services if body is not None]
        await self._names.learn((*document.resolve_names, *balancer_names(there)))
        node_ip = ""
        if any((body.get("spec") or {}).get("type") == "NodePort" for body in there):
            node_ip = await self._nodes.pick(watch.items(PODS), self._clock.now())
        found = [
            address_view(wish, body, node_ip=node_ip, resolve=self._names.answers)
            for wish, body in zip(document.addresses, services, strict=True)
        ]
        return tuple(item for item in found if item is not None)

    async def _events(
        self,
        document: ParticipantDocument,
        eyes: ObservationCache,
        now: datetime,
        *,
        all_ready: bool,
    ) -> tuple[Json, ...]:
        """Read warnings while something is not ready, every few seconds; kept until all is well."""
        if all_ready or document.absent:
            eyes.events = ()
            return ()
        if (
            eyes.events_at is None
            or (now - eyes.events_at).total_seconds() >= self._timing.events_s
        ):
            eyes.events_at = now
            try:
                found = await list_all(
                    self._kube, EVENTS, namespace=document.namespace, fields={"type": "Warning"}
                )
            except Forbidden:
                return ()
            eyes.events = found[-_MAX_EVENTS:]
        return eyes.events

    async def _objects(
        self, document: ParticipantDocument, watch: NamespaceWatch
    ) -> tuple[str, ...]:
        """Return what bears the release's label: for a removal from the API itself."""
        if not document.absent:
            return _labelled(watch, document.release_name)
        return await self.release_objects(document)

    async def release_objects(self, document: ParticipantDocument) -> tuple[str, ...]:
        """Ask the API for everything of the release; kinds that we may not list are left out."""
        labels = {"name": document.release_name, "owner": "kubefate"}

        async def names(kind: Kind) -> list[str]:
            try:
                found = await list_all(
                    self._kube, kind, namespace=document.namespace, labels=labels
                )
            except Forbidden:
                return []
            return [f"{kind.name}/{body['metadata']['name']}" for body in found]

        listed = await asyncio.gather(*(names(kind) for kind in RELEASE_KINDS))
        return tuple(name for group in listed for name in sorted(group))


def _workloads(watch: NamespaceWatch, release: str) -> dict[str, Workload]:
    kinds = ((DEPLOYMENTS, WorkloadKind.DEPLOYMENT), (STATEFULSETS, WorkloadKind.STATEFUL_SET))
    return {
        view.name: view
        for kind, word in kinds
        for view in (
            workload_view(body, word) for body in watch.items(kind) if is_of_release(body, release)
        )
    }


def _labelled(watch: NamespaceWatch, release: str) -> tuple[str, ...]:
    return tuple(
        f"{kind.name}/{body['metadata']['name']}"
        for kind in (DEPLOYMENTS, STATEFULSETS, SERVICES)
        for body in watch.items(kind)
        if is_of_release(body, release)
    )


def foreign_objects(watch: NamespaceWatch, release: str) -> tuple[str, ...]:
    """Return what neither the release nor KubeFATE brought: workloads, claims, pods.

    Pods stand for the kinds that are not watched (DaemonSets, Jobs); those of a workload that is
    watched are left out: it speaks for them.
    """
    workloads = {
        body["metadata"]["name"]
        for kind in (DEPLOYMENTS, STATEFULSETS)
        for body in watch.items(kind)
    }
    return tuple(
        f"{kind.name}/{body['metadata']['name']}"
        for kind in (DEPLOYMENTS, STATEFULSETS, PVCS, PODS)
        for body in watch.items(kind)
        if not is_of_release(body, release)
        and not is_of_service(body)
        and not (kind is PODS and workload_of(body) in workloads)
    )


def _tables(document: ParticipantDocument, eyes: ObservationCache) -> dict[str, TableView]:
    found: dict[str, TableView] = {}
    for table in document.tables:
        body = eyes.watch.get(CONFIGMAPS, table.config_map)
        if body is None:
            continue
        mark = (
            str(body["metadata"].get("resourceVersion", "")),
            ",".join(sorted(table.chart_keys)),
        )
        known = eyes.tables.get(table.config_map)
        if known is None or known[0] != mark:
            known = eyes.tables[table.config_map] = (mark, table_view(table, body))
        found[table.config_map] = known[1]
    return found


def table_view(table: Table, body: Mapping[str, Any]) -> TableView:
    """Return the table that a ConfigMap holds."""
    text = (body.get("data") or {}).get(table.key)
    nothing: tuple[RouteEntry, ...] = ()
    if not isinstance(text, str):
        return TableView(table.config_map, nothing, f"it has no key {table.key}")
    try:
        return TableView(table.config_map, read_table(table, text))
    except TableFault as error:
        return TableView(table.config_map, nothing, str(error))
