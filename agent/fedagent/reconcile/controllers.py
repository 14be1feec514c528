"""The two kinds of thing that a worker looks after: a KubeFATE service and a participant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from fedagent.domain.decision import (
    Action,
    Decision,
    DetachJob,
    EndSubmission,
    ForgetRelease,
    Phase,
    StopJob,
    Submit,
)
from fedagent.domain.document import Document, EndpointDocument, ParticipantDocument
from fedagent.domain.observed import ParticipantObserved, ServiceObserved
from fedagent.domain.state import ResourceState
from fedagent.journal import Journal
from fedagent.kube.client import Kube
from fedagent.kube.errors import Forbidden
from fedagent.kube.rbac import NamespaceAccess
from fedagent.reconcile.actor import Actor
from fedagent.reconcile.kubefate_service import KubeFateService
from fedagent.reconcile.observer import ObservationCache, Observer
from fedagent.reconcile.record_cache import RecordCache
from fedagent.reconcile.timing import ReconcileTiming
from fedagent.reconcile.watch import NamespaceWatch
from fedcore.tasks import LoopHealth
from fedproto.agent.v1 import status_pb2

Observed = ParticipantObserved | ServiceObserved
_USABLE = frozenset({Phase.READY, Phase.DEGRADED, Phase.INSTALLING, Phase.REMOVING})
_KEPT = _USABLE | {Phase.REFUSED, Phase.AWAITING_APPROVAL}
"""A service whose removal the site holds back is there to be used."""
_CHANGES_RECORD = (Submit, EndSubmission, StopJob, DetachJob, ForgetRelease)


class ResourceController(Protocol):
    """What a worker needs of the world. ``stop`` ends what runs in the background."""

    async def observe(self, document: Document, memory: ResourceState) -> Observed:
        """Look at it. KubeError when Kubernetes cannot be asked."""

    def decided(self, document: Document, decision: Decision) -> None:
        """Learn what was decided, before it is done."""

    async def act(
        self, document: Document, observed: Observed, memory: ResourceState, action: Action
    ) -> None:
        """Do one action."""

    async def stop(self) -> None:
        """End what runs in the background."""


class EndpointSubject:
    """A KubeFATE service. ``on_change`` is called when its participants may go on."""

    def __init__(
        self,
        journal: Journal,
        desk: KubeFateService,
        observer: Observer,
        actor: Actor,
        *,
        on_change: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._desk = desk
        self._observer = observer
        self._actor = actor
        self._on_change = on_change
        self._leftovers: tuple[str, ...] = ()
        self._was: tuple[str | None, bool] = (None, False)

    async def observe(self, document: Document, _memory: ResourceState) -> Observed:
        """Look at the service."""
        if not isinstance(document, EndpointDocument):
            raise TypeError("a resource never changes its kind")
        users = await self._users() if document.absent else ()
        return await self._observer.service(document, users, self._leftovers)

    async def _users(self) -> tuple[str, ...]:
        gone = {
            status.resource_id
            for status in await self._journal.statuses.all()
            if status.phase == status_pb2.PHASE_GONE
        }
        return tuple(
            item.participant.participant_name or item.resource_id
            for item in await self._journal.documents.all()
            if item.WhichOneof("body") == "participant" and item.resource_id not in gone
        )

    def decided(self, document: Document, decision: Decision) -> None:
        """Let participants use the service, or not, as the plan says."""
        usable = decision.phase in (_KEPT if document.absent else _USABLE)
        self._desk.namespace = document.namespace if usable else None
        self._desk.known.set()
        now = (self._desk.namespace, decision.phase is Phase.READY)
        if now != self._was:
            self._was = now
            self._on_change()

    async def act(
        self, document: Document, _observed: Observed, _memory: ResourceState, action: Action
    ) -> None:
        """Do one action of the service."""
        if not isinstance(document, EndpointDocument):
            raise TypeError("a resource never changes its kind")
        self._leftovers = await self._actor.serve(document, action)

    async def stop(self) -> None:
        """Leave no way to the service open."""
        self._desk.namespace = None
        self._on_change()


class ParticipantSubject:
    """An exchange or a cluster. ``wake`` is set by the watches of its namespace."""

    def __init__(
        self,
        kube: Kube,
        desk: KubeFateService,
        observer: Observer,
        actor: Actor,
        *,
        rights: NamespaceAccess,
        loop_health: LoopHealth,
        wake: asyncio.Event,
        timing: ReconcileTiming,
    ) -> None:
        self._timing = timing
        self._rights = rights
        self._kube = kube
        self._desk = desk
        self._observer = observer
        self._actor = actor
        self._loop_health = loop_health
        self._wake = wake
        self._eyes: ObservationCache | None = None
        self._task: asyncio.Task[None] | None = None
        self._seen = (0, "")

    async def observe(self, document: Document, memory: ResourceState) -> Observed:
        """Look at the participant; its watches are begun at the first look."""
        if not isinstance(document, ParticipantDocument):
            raise TypeError("a resource never changes its kind")
        if not await self._rights.held(document.namespace):
            await self.stop()
            look = self._new_look(document)
            return await self._observer.from_outside(document, memory, look)
        eyes = await self._open_eyes(document)
        self._spoil_if_new(document, eyes.kubefate)
        try:
            return await self._observer.participant(document, memory, eyes)
        except Forbidden:
            self._rights.doubt(document.namespace)
            raise

    def _new_look(self, document: ParticipantDocument) -> RecordCache:
        look = RecordCache(self._desk, self._timing) if self._eyes is None else self._eyes.kubefate
        self._spoil_if_new(document, look)
        return look

    def _spoil_if_new(self, document: ParticipantDocument, look: RecordCache) -> None:
        mark = (document.generation, document.digest)
        if mark != self._seen:
            self._seen = mark
            look.spoil()

    async def _open_eyes(self, document: ParticipantDocument) -> ObservationCache:
        secrets = tuple(wish.secret_name for wish in document.certificates)
        watch = None if self._eyes is None else self._eyes.watch
        if self._eyes is not None and watch is not None:
            same = (watch.namespace, watch.secrets) == (document.namespace, secrets)
            if same and self._task is not None and not self._task.done():
                return self._eyes
        await self.stop()
        watch = NamespaceWatch(
            self._kube,
            document.namespace,
            secrets,
            loop_health=self._loop_health,
            wake=self._wake,
            sync_limit_s=self._timing.sync_limit_s,
        )
        self._task = asyncio.create_task(watch.run(), name=f"watch.{document.namespace}")
        self._eyes = ObservationCache(watch, RecordCache(self._desk, self._timing))
        return self._eyes

    def decided(self, _document: Document, _decision: Decision) -> None:
        """Nothing beside the actions."""

    def spoil(self) -> None:
        """Read KubeFATE again at the next look: the service has changed."""
        if self._eyes is not None:
            self._eyes.kubefate.spoil()

    async def act(
        self, document: Document, observed: Observed, memory: ResourceState, action: Action
    ) -> None:
        """Do one action of the participant."""
        if not isinstance(document, ParticipantDocument) or not isinstance(
            observed, ParticipantObserved
        ):
            raise TypeError("a resource never changes its kind")
        try:
            await self._actor.act(document, observed, memory, action)
        finally:
            if isinstance(action, _CHANGES_RECORD):
                self.spoil()

    async def stop(self) -> None:
        """End the watches."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
