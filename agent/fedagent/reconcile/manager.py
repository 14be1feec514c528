"""The reconciler: a worker for each document, woken by what is written into the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from fedagent.reconcile.dns_cache import DnsCache
from fedagent.reconcile.site import Site
from fedagent.reconcile.worker_pool import Worker, WorkerPool
from fedcore.tasks import run_periodically, sleep_with_heartbeat
from fedproto.agent.v1 import document_pb2

_FOLLOWER: Final = "reconcile.documents"

MakeWorker = Callable[[document_pb2.DesiredDocument], Worker]


class Reconciler:
    """Keeps one worker running for each document of the journal."""

    def __init__(
        self, site: Site, pool: WorkerPool, names: DnsCache, make_worker: MakeWorker
    ) -> None:
        self._site = site
        self._pool = pool
        self._names = names
        self._make_worker = make_worker
        self._versions: dict[str, tuple[int, str]] = {}
        self._data_version = 0

    async def run(self) -> None:
        """Work for ever; cancel to stop. Nothing is lost by that: the journal holds it all."""
        loop_health, timing = self._site.loop_health, self._site.timing
        self._data_version = await self._site.journal.data_version()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_documents(group), name=_FOLLOWER)
                for name, work, interval_s in (
                    ("reconcile.journal", self._follow_other_processes, timing.journal_poll_s),
                    ("resolve", self._resolve, timing.names_s),
                ):
                    loop = run_periodically(
                        name, work, interval_s=interval_s, loop_health=loop_health
                    )
                    group.create_task(loop, name=name)
        finally:
            self._pool.clear()

    def hear_hub(self) -> None:
        """Try again now what failed for lack of a session with the hub: there is one."""
        self._pool.retry_hub_requests()

    async def _follow_documents(self, group: asyncio.TaskGroup) -> None:
        """Start and wake workers as documents come; a worker ends by itself."""
        changed = self._site.journal.documents.changed
        while True:
            self._site.loop_health.heartbeat(_FOLLOWER)
            documents = await self._site.journal.documents.all()
            for document in documents:
                self._start_or_wake(document, group)
            # The worker of a document that is gone must see that to end.
            for resource_id in self._pool.resource_ids() - {item.resource_id for item in documents}:
                self._pool.wake(resource_id)
            await sleep_with_heartbeat(
                _FOLLOWER,
                self._site.timing.documents_poll_s,
                loop_health=self._site.loop_health,
                wake=changed,
            )

    def _start_or_wake(
        self, document: document_pb2.DesiredDocument, group: asyncio.TaskGroup
    ) -> None:
        resource_id = document.resource_id
        version = (document.generation, document.digest)
        if not self._pool.has(resource_id):
            is_endpoint = document.WhichOneof("body") == "endpoint"
            worker = self._make_worker(document)
            self._pool.start(resource_id, worker, group, is_endpoint=is_endpoint)
        elif self._versions.get(resource_id) != version:
            self._pool.wake(resource_id)
        self._versions[resource_id] = version

    async def _follow_other_processes(self) -> None:
        """Notice what another process wrote into the journal: approvals and retries."""
        version = await self._site.journal.data_version()
        if version != self._data_version:
            self._data_version = version
            self._pool.refresh_all()

    async def _resolve(self) -> None:
        """Resolve every name of every document again; wake all when an answer has changed."""
        documents = await self._site.journal.documents.all()
        names = [
            name
            for document in documents
            if document.WhichOneof("body") == "participant"
            for name in document.participant.resolve_names
        ]
        if await self._names.refresh(names):
            self._pool.refresh_all()
