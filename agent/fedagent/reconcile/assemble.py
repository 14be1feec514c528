"""The reconciler with all its parts, for the process that runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from fedagent.journal import Journal
from fedagent.kube.client import Kube
from fedagent.kube.rights import DEFAULT_ROLE, Rights
from fedagent.kubefate.access import Access
from fedagent.kubefate.manifests import Scope
from fedagent.reconcile.act import Actor, HubSide
from fedagent.reconcile.desk import ServiceDesk
from fedagent.reconcile.loop import Reconciler
from fedagent.reconcile.observe import Observer
from fedagent.reconcile.prove import Prove, prove_routes
from fedagent.reconcile.resolve import NameBook, Resolve, resolve_name
from fedagent.reconcile.subjects import EndpointSubject, ParticipantSubject, Subject
from fedagent.reconcile.worker import Site
from fedproto.agent.v1 import document_pb2


@dataclass(frozen=True, slots=True)
class Outside:
    """How the reconciler reaches the world. The last two are replaced by tests."""

    kube: Kube
    access: Access
    hub: HubSide
    scope: Scope = Scope.CLUSTER
    role: str = DEFAULT_ROLE
    prove: Prove = prove_routes
    resolve: Resolve = resolve_name


def assemble(site: Site, outside: Outside) -> Reconciler:
    """Build the reconciler; ``run`` it in the process's task group."""
    journal: Journal = site.journal
    desk = ServiceDesk(outside.access)
    names = NameBook(outside.resolve)
    rights = Rights(outside.kube, outside.role)
    observer = Observer(outside.kube, journal, desk, names, clock=site.clock)
    actor = Actor(
        outside.kube,
        journal,
        desk,
        hub=outside.hub,
        prove=outside.prove,
        clock=site.clock,
        rights=rights,
        scope=outside.scope,
    )

    def make(
        message: document_pb2.DesiredDocument, wake: asyncio.Event, wake_all: Callable[[], None]
    ) -> Subject:
        if message.WhichOneof("body") == "endpoint":
            desk.on_doubt = wake.set
            return EndpointSubject(journal, desk, observer, actor, on_change=wake_all)
        return ParticipantSubject(
            outside.kube, desk, observer, actor, rights=rights, board=site.board, wake=wake
        )

    return Reconciler(site, names, make)
