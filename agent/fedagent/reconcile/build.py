"""The reconciler with all its parts, for the process that runs it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from fedagent.kube.client import Kube
from fedagent.kube.rbac import DEFAULT_ROLE, NamespaceAccess
from fedagent.kubefate.access import Access
from fedagent.kubefate.manifests import Scope
from fedagent.reconcile.actor import Actor, ClusterAccess
from fedagent.reconcile.dns_cache import DnsCache, Resolve, resolve_name
from fedagent.reconcile.endpoint_controller import EndpointController
from fedagent.reconcile.hub_client import HubClient
from fedagent.reconcile.kubefate_service import KubeFateService
from fedagent.reconcile.manager import Reconciler
from fedagent.reconcile.observer import Observer
from fedagent.reconcile.participant_controller import ParticipantController
from fedagent.reconcile.route_prober import ProbeRoutesFn, RouteProber
from fedagent.reconcile.site import Site
from fedagent.reconcile.worker import ResourceWorker
from fedagent.reconcile.worker_pool import Worker, WorkerPool
from fedproto.agent.v1 import document_pb2


@dataclass(frozen=True, slots=True)
class Dependencies:
    """How the reconciler reaches the world. Tests replace the last two; None: as timing says."""

    kube: Kube
    access: Access
    hub: HubClient
    scope: Scope = Scope.CLUSTER
    role: str = DEFAULT_ROLE
    probe: ProbeRoutesFn | None = None
    resolve: Resolve | None = None


def assemble(site: Site, outside: Dependencies) -> Reconciler:
    """Build the reconciler; ``run`` it in the process's task group."""
    timing = site.timing
    pool = WorkerPool()
    service = KubeFateService(
        outside.access,
        known_limit_s=timing.service_known_limit_s,
        on_change=pool.refresh_all,
        on_unreachable=pool.wake_endpoints,
    )
    cluster = ClusterAccess(
        outside.kube, NamespaceAccess(outside.kube, outside.role), outside.scope
    )
    resolve = outside.resolve or partial(resolve_name, limit_s=timing.resolve_limit_s)
    prober = RouteProber(timing.probe_connect_limit_s, timing.probe_handshake_limit_s)
    names = DnsCache(resolve)
    observer = Observer(site, outside.kube, service, names)
    actor = Actor(site, cluster, service, hub=outside.hub, probe=outside.probe or prober.probe)

    def make_worker(document: document_pb2.DesiredDocument) -> Worker:
        wake = asyncio.Event()
        resource_id = document.resource_id
        if document.WhichOneof("body") == "endpoint":
            endpoint = EndpointController(site, cluster, service)
            return ResourceWorker(resource_id, site, endpoint, wake=wake)
        participant = ParticipantController(
            site, cluster, service, observer=observer, actor=actor, wake=wake
        )
        return ResourceWorker(resource_id, site, participant, wake=wake)

    return Reconciler(site, pool, names, make_worker)
