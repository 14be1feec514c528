"""The reconciler with all its parts, for the process that runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fedagent.journal import Journal
from fedagent.kube.client import Kube
from fedagent.kube.rbac import DEFAULT_ROLE, NamespaceAccess
from fedagent.kubefate.access import Access
from fedagent.kubefate.manifests import Scope
from fedagent.reconcile.actor import Actor, ClusterAccess
from fedagent.reconcile.controllers import EndpointSubject, ParticipantSubject, ResourceController
from fedagent.reconcile.dns_cache import DnsCache, Resolve, resolve_name
from fedagent.reconcile.hub_client import HubClient
from fedagent.reconcile.kubefate_service import KubeFateService
from fedagent.reconcile.manager import Reconciler
from fedagent.reconcile.observer import Observer
from fedagent.reconcile.probe import ProbeRoutesFn, RouteProber
from fedagent.reconcile.worker import Site
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
    journal: Journal = site.journal
    timing = site.timing
    desk = KubeFateService(outside.access, timing.service_known_limit_s)
    resolve = outside.resolve or partial(resolve_name, limit_s=timing.resolve_limit_s)
    prober = RouteProber(timing.probe_connect_limit_s, timing.probe_handshake_limit_s)
    names = DnsCache(resolve)
    rights = NamespaceAccess(outside.kube, outside.role)
    observer = Observer(outside.kube, journal, desk, names, clock=site.clock, timing=timing)
    actor = Actor(
        ClusterAccess(outside.kube, rights, outside.scope),
        journal,
        desk,
        hub_id=site.hub_id,
        hub=outside.hub,
        probe=outside.probe or prober.probe,
        clock=site.clock,
        timing=timing,
    )

    def make(
        message: document_pb2.DesiredDocument, wake: asyncio.Event, wake_all: Callable[[], None]
    ) -> ResourceController:
        if message.WhichOneof("body") == "endpoint":
            desk.on_doubt = wake.set
            return EndpointSubject(journal, desk, observer, actor, on_change=wake_all)
        return ParticipantSubject(
            outside.kube,
            desk,
            observer,
            actor,
            rights=rights,
            loop_health=site.loop_health,
            wake=wake,
            timing=timing,
        )

    return Reconciler(site, names, make)
