"""Read all that a participant's plan depends on, and make of it what the planner understands."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from fedagent.domain.document import CertificateSpec, ParticipantDocument
from fedagent.domain.observed import (
    AddressView,
    KubeFateView,
    ParticipantObserved,
    ReleaseView,
    SecretView,
    TableView,
)
from fedagent.domain.state import ResourceState
from fedagent.domain.table_file import table_view
from fedagent.kube.client import Kube
from fedagent.kube.errors import Forbidden, KubeError
from fedagent.kube.kinds import (
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    PODS,
    PVCS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    Kind,
)
from fedagent.kube.objects import find, list_all
from fedagent.kube.release_objects import (
    RELEASE_KINDS,
    foreign_objects,
    labelled_objects,
    reference_of,
    workloads_of,
)
from fedagent.kube.views import (
    address_view,
    balancer_names,
    claim_view,
    event_view,
    is_of_release,
    is_of_service,
    namespace_view,
    pod_view,
)
from fedagent.kubefate.releases import Release, read_releases
from fedagent.reconcile.certificates import read_secret
from fedagent.reconcile.dns_cache import DnsCache
from fedagent.reconcile.kubefate_service import KubeFateService
from fedagent.reconcile.namespace_watch import NamespaceWatch
from fedagent.reconcile.node_addresses import NodeAddressCache
from fedagent.reconcile.record_cache import RecordCache
from fedagent.reconcile.site import Site

Json = dict[str, Any]
_MAX_EVENTS: Final = 200


@dataclass(slots=True)
class ObservationCache:
    """What is kept of one participant between two looks, each beside the version it was read at."""

    watch: NamespaceWatch
    records: RecordCache
    tables: dict[str, tuple[tuple[str, str], TableView]] = field(default_factory=dict)
    secrets: dict[str, tuple[tuple[str, CertificateSpec], SecretView]] = field(default_factory=dict)
    events: tuple[Json, ...] = ()
    events_at: datetime | None = None


class Observer:
    """Reads participants. KubeError when Kubernetes cannot be asked."""

    def __init__(self, site: Site, kube: Kube, service: KubeFateService, names: DnsCache) -> None:
        self._site = site
        self._kube = kube
        self._service = service
        self._names = names
        self._nodes = NodeAddressCache(kube, site.timing.nodes_s)

    async def observe(
        self, document: ParticipantDocument, state: ResourceState, cache: ObservationCache
    ) -> ParticipantObserved:
        """Look at a participant in a namespace in which the agent has rights."""
        now, watch = self._site.clock.now(), cache.watch
        if not await watch.synced():
            raise KubeError(f"the objects of namespace {document.namespace} cannot be read yet")
        workloads = workloads_of(watch, document.release_name)
        all_ready = all(
            component.name in workloads and workloads[component.name].is_ready
            for component in document.components
        )
        namespace, secrets, releases, kubefate, addresses, events = await asyncio.gather(
            find(self._kube, NAMESPACES, document.namespace),
            self._secrets(document, cache),
            read_releases(self._kube, document.namespace, document.release_name),
            cache.records.refresh(document, state, all_ready=all_ready, now=now),
            self._addresses(document, watch),
            self._events(document, cache, now, all_ready=all_ready),
        )
        return ParticipantObserved(
            namespace=namespace_view(namespace),
            secrets=secrets,
            kubefate=await self._with_chart(document, kubefate),
            releases=tuple(_release_view(release) for release in releases),
            workloads=workloads,
            pods=tuple(
                pod_view(body)
                for body in watch.items(PODS)
                if is_of_release(body, document.release_name)
            ),
            events=tuple(event_view(body) for body in events),
            claims=tuple(claim_view(body, document.release_name) for body in watch.items(PVCS)),
            addresses=addresses,
            tables=_tables(document, cache),
            resolutions={
                name: self._names.answers.get(name, "") for name in document.resolve_names
            },
            objects=await self._objects(document, watch),
            foreign=foreign_objects(watch, document.release_name),
        )

    async def observe_from_outside(
        self, document: ParticipantDocument, state: ResourceState, records: RecordCache
    ) -> ParticipantObserved:
        """Look at a namespace in which the agent has no rights yet: whose it is, who is in it."""
        kinds = (DEPLOYMENTS, STATEFULSETS, PVCS)
        now = self._site.clock.now()
        namespace, kubefate = await asyncio.gather(
            find(self._kube, NAMESPACES, document.namespace),
            records.refresh(document, state, all_ready=False, now=now),
        )
        lists = await asyncio.gather(
            *(list_all(self._kube, kind, namespace=document.namespace) for kind in kinds)
        )
        return ParticipantObserved(
            namespace=replace(namespace_view(namespace), readable=False),
            kubefate=await self._with_chart(document, kubefate),
            foreign=tuple(
                reference_of(kind, body)
                for kind, bodies in zip(kinds, lists, strict=True)
                for body in bodies
                if not is_of_service(body)
            ),
        )

    async def _with_chart(self, document: ParticipantDocument, view: KubeFateView) -> KubeFateView:
        """Add whether this very service was given the document's archive: the journal knows."""
        uuid = await self._site.journal.chart_uuid(self._service.key, document.chart.sha256)
        return replace(view, chart_present=bool(uuid))

    async def _secrets(
        self, document: ParticipantDocument, cache: ObservationCache
    ) -> dict[str, SecretView]:
        """Read the certificates' Secrets; one that is unchanged is not checked again.

        Checking a key and a chain takes milliseconds of a core: not in the event loop.
        """
        bodies = await asyncio.gather(
            *(
                find(self._kube, SECRETS, spec.secret_name, namespace=document.namespace)
                for spec in document.certificates
            )
        )
        views: dict[str, SecretView] = {}
        for spec, body in zip(document.certificates, bodies, strict=True):
            if body is None:
                continue
            version = (str(body["metadata"].get("resourceVersion", "")), spec)
            cached = cache.secrets.get(spec.secret_name)
            if cached is None or cached[0] != version:
                view = await asyncio.to_thread(read_secret, spec, body)
                cached = cache.secrets[spec.secret_name] = (version, view)
            views[spec.secret_name] = cached[1]
        return views

    async def _addresses(
        self, document: ParticipantDocument, watch: NamespaceWatch
    ) -> tuple[AddressView, ...]:
        services = [watch.get(SERVICES, spec.service) for spec in document.addresses]
        there = [body for body in services if body is not None]
        await self._names.learn((*document.resolve_names, *balancer_names(there)))
        node_ip = ""
        if any((body.get("spec") or {}).get("type") == "NodePort" for body in there):
            node_ip = await self._nodes.pick(watch.items(PODS), self._site.clock.now())
        views = [
            address_view(spec, body, node_ip=node_ip, resolve=self._names.answers)
            for spec, body in zip(document.addresses, services, strict=True)
        ]
        return tuple(view for view in views if view is not None)

    async def _events(
        self,
        document: ParticipantDocument,
        cache: ObservationCache,
        now: datetime,
        *,
        all_ready: bool,
    ) -> tuple[Json, ...]:
        """Read warnings while something is not ready, every few seconds; kept until all is well."""
        if all_ready or document.absent:
            cache.events = ()
            return ()
        age_s = float("inf") if cache.events_at is None else (now - cache.events_at).total_seconds()
        if age_s >= self._site.timing.events_s:
            cache.events_at = now
            try:
                warnings = await list_all(
                    self._kube, EVENTS, namespace=document.namespace, fields={"type": "Warning"}
                )
            except Forbidden:
                return ()
            cache.events = warnings[-_MAX_EVENTS:]
        return cache.events

    async def _objects(
        self, document: ParticipantDocument, watch: NamespaceWatch
    ) -> tuple[str, ...]:
        """Return what bears the release's label: for a removal from the API itself."""
        if not document.absent:
            return labelled_objects(watch, document.release_name)
        return await self.release_objects(document)

    async def release_objects(self, document: ParticipantDocument) -> tuple[str, ...]:
        """Ask the API for everything of the release; kinds that we may not list are left out."""
        labels = {"name": document.release_name, "owner": "kubefate"}

        async def names_of(kind: Kind) -> list[str]:
            try:
                bodies = await list_all(
                    self._kube, kind, namespace=document.namespace, labels=labels
                )
            except Forbidden:
                return []
            return sorted(reference_of(kind, body) for body in bodies)

        groups = await asyncio.gather(*(names_of(kind) for kind in RELEASE_KINDS))
        return tuple(name for group in groups for name in group)


def _release_view(release: Release) -> ReleaseView:
    return ReleaseView(release.revision, release.status, release.modified_at, release.created_at)


def _tables(document: ParticipantDocument, cache: ObservationCache) -> dict[str, TableView]:
    """Read the document's tables from the ConfigMaps; one that is unchanged is not parsed again."""
    views: dict[str, TableView] = {}
    for table in document.tables:
        body = cache.watch.get(CONFIGMAPS, table.config_map)
        if body is None:
            continue
        resource_version = str(body["metadata"].get("resourceVersion", ""))
        version = (resource_version, ",".join(sorted(table.chart_keys)))
        cached = cache.tables.get(table.config_map)
        if cached is None or cached[0] != version:
            view = table_view(table, (body.get("data") or {}).get(table.key))
            cached = cache.tables[table.config_map] = (version, view)
        views[table.config_map] = cached[1]
    return views
