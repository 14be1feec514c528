"""The reconciler: a worker for each document, woken by what the journal hears."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from fedagent.reconcile.controllers import ParticipantSubject, ResourceController
from fedagent.reconcile.dns_cache import DnsCache
from fedagent.reconcile.worker import ResourceWorker, Site
from fedcore.tasks import run_periodically, sleep_with_heartbeat
from fedproto.agent.v1 import document_pb2

log = structlog.get_logger()

_FOLLOWER: Final = "reconcile.documents"

MakeSubject = Callable[
    [document_pb2.DesiredDocument, asyncio.Event, Callable[[], None]], ResourceController
]
"""(document, the worker's wake, what wakes all workers) -> what the worker looks after."""


class Reconciler:
    """Keeps one worker running for each document of the journal."""

    def __init__(self, site: Site, names: DnsCache, make_subject: MakeSubject) -> None:
        self._site = site
        self._names = names
        self._make_subject = make_subject
        self._workers: dict[str, tuple[ResourceWorker, asyncio.Task[None]]] = {}
        self._known: dict[str, tuple[int, str]] = {}
        self._data_version = 0

    async def run(self) -> None:
        """Work for ever; cancel to stop. Nothing is lost by that: the journal holds it all."""
        loop_health = self._site.loop_health
        self._data_version = await self._site.journal.data_version()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_documents(group), name=_FOLLOWER)
                for name, work, interval_s in (
                    ("reconcile.journal", self._hear_others, self._site.timing.journal_poll_s),
                    ("resolve", self._resolve, self._site.timing.names_s),
                ):
                    loop = run_periodically(
                        name, work, interval_s=interval_s, loop_health=loop_health
                    )
                    group.create_task(loop, name=name)
        finally:
            self._workers.clear()

    def wake_all(self) -> None:
        """Have every worker look again: the service came or went, or a person approved."""
        for worker, _ in self._workers.values():
            if isinstance(worker.subject, ParticipantSubject):
                worker.subject.spoil()
            worker.wake.set()

    def hear_hub(self) -> None:
        """Have whoever waits to try the hub again do it now: it is back."""
        for worker, _ in self._workers.values():
            worker.hear_hub()

    async def _follow_documents(self, group: asyncio.TaskGroup) -> None:
        """Start and wake workers as documents come; a worker ends by itself."""
        changed = self._site.journal.documents.changed
        while True:
            self._site.loop_health.heartbeat(_FOLLOWER)
            documents = await self._site.journal.documents.all()
            for message in documents:
                self._start_or_wake(message, group)
            kept = {message.resource_id for message in documents}
            for resource_id in set(self._workers) - kept:
                self._workers[resource_id][0].wake.set()
            await sleep_with_heartbeat(
                _FOLLOWER,
                self._site.timing.documents_poll_s,
                loop_health=self._site.loop_health,
                wake=changed,
            )

    def _start_or_wake(
        self, message: document_pb2.DesiredDocument, group: asyncio.TaskGroup
    ) -> None:
        resource_id = message.resource_id
        mark = (message.generation, message.digest)
        entry = self._workers.get(resource_id)
        if entry is None or entry[1].done():
            wake = asyncio.Event()
            subject = self._make_subject(message, wake, self.wake_all)
            worker = ResourceWorker(resource_id, self._site, subject, wake=wake)
            task = group.create_task(worker.run(), name=f"reconcile.{resource_id}")
            self._workers[resource_id] = (worker, task)
            log.info("worker.started", resource_id=resource_id)
        elif self._known.get(resource_id) != mark:
            entry[0].wake.set()
        self._known[resource_id] = mark

    async def _hear_others(self) -> None:
        """Notice what another process wrote into the journal: approvals and retries."""
        version = await self._site.journal.data_version()
        if version != self._data_version:
            self._data_version = version
            self.wake_all()

    async def _resolve(self) -> None:
        """Resolve every name of every document again; wake all when an answer has changed."""
        documents = await self._site.journal.documents.all()
        names = [
            name
            for message in documents
            if message.WhichOneof("body") == "participant"
            for name in message.participant.resolve_names
        ]
        if await self._names.refresh(names):
            self.wake_all()
