"""The reconciler with all its parts, for the process that runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from fedagent.journal import Journal
from fedagent.kube.client import Kube
from fedagent.kube.rbac import DEFAULT_ROLE, NamespaceAccess
from fedagent.kubefate.access import Access
from fedagent.kubefate.manifests import Scope
from fedagent.reconcile.actor import Actor, HubSide
from fedagent.reconcile.controllers import EndpointSubject, ParticipantSubject, ResourceController
from fedagent.reconcile.dns_cache import DnsCache, Resolve, resolve_name
from fedagent.reconcile.kubefate_service import KubeFateService
from fedagent.reconcile.manager import Reconciler
from fedagent.reconcile.observer import Observer
from fedagent.reconcile.probe import ProbeRoutesFn, probe_routes
from fedagent.reconcile.worker import Site
from fedproto.agent.v1 import document_pb2


@dataclass(frozen=True, slots=True)
class Dependencies:
    """How the reconciler reaches the world. The last two are replaced by tests."""

    kube: Kube
    access: Access
    hub: HubSide
    scope: Scope = Scope.CLUSTER
    role: str = DEFAULT_ROLE
    probe: ProbeRoutesFn = probe_routes
    resolve: Resolve = resolve_name


def assemble(site: Site, outside: Dependencies) -> Reconciler:
    """Build the reconciler; ``run`` it in the process's task group."""
    journal: Journal = site.journal
    desk = KubeFateService(outside.access)
    names = DnsCache(outside.resolve)
    rights = NamespaceAccess(outside.kube, outside.role)
    observer = Observer(outside.kube, journal, desk, names, clock=site.clock)
    actor = Actor(
        outside.kube,
        journal,
        desk,
        hub=outside.hub,
        probe=outside.probe,
        clock=site.clock,
        rights=rights,
        scope=outside.scope,
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
        )

    return Reconciler(site, names, make)
