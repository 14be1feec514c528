"""A scripted site where everything works at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

import grpc
import grpc.aio
from tests.support.fakeagent import FakeAgent, FakeSession

from fedproto.agent.v1 import (
    document_pb2,
    status_pb2,
)


class GoodSite:
    """A site where everything works at once: each document is Ready (or Gone) as soon as it comes.

    ``hold``: resource ids that stay Deploying until they are released.
    """

    ROLE_PORTS: Final = {"pulsar": 9, "nginx": 3, "ats": 7}

    def __init__(self, agent: FakeAgent, number: int) -> None:
        self.agent = agent
        self.ip = f"10.{number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"
        self.hold: set[str] = set()
        self.statuses: dict[str, status_pb2.ResourceStatus] = {}
        self.answered: dict[str, tuple[int, bool]] = {}
        self._slots: dict[str, int] = {}
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            session = self.agent.session
            if session is None or session.ended.is_set():
                self.answered.clear()
                await asyncio.sleep(0.02)
                continue
            await self.answer(session)
            async with session._news:
                if not session.ended.is_set() and not self._due():
                    await session._news.wait()

    def _due(self) -> list[document_pb2.DesiredDocument]:
        return [
            one
            for one in self.agent.held.values()
            if self.answered.get(one.resource_id) != (one.generation, one.resource_id in self.hold)
        ]

    async def answer(self, session: FakeSession) -> None:
        for document in self._due():
            status = self.status_of(document)
            self.statuses[document.resource_id] = status
            self.answered[document.resource_id] = (
                document.generation,
                document.resource_id in self.hold,
            )
            try:
                await session.report(status)
            except (grpc.aio.UsageError, asyncio.InvalidStateError, grpc.aio.AioRpcError):
                self.answered.clear()
                return

    def status_of(
        self, document: document_pb2.DesiredDocument, **changes: Any
    ) -> status_pb2.ResourceStatus:
        phase = status_pb2.PHASE_GONE if document.absent else status_pb2.PHASE_READY
        if document.resource_id in self.hold:
            phase = status_pb2.PHASE_DEPLOYING
        status = status_pb2.ResourceStatus(
            resource_id=document.resource_id,
            observed_generation=document.generation,
            digest=document.digest,
            phase=phase,
        )
        status.since.FromDatetime(datetime.now(UTC))
        if not document.absent:
            slot = self._slots.setdefault(document.resource_id, len(self._slots))
            for wish in document.participant.addresses:
                status.addresses.add(
                    role=wish.role,
                    host=self.ip,
                    ip=self.ip,
                    port=30_000 + 10 * slot + self.ROLE_PORTS[wish.role],
                )
            for name in document.participant.resolve_names:
                status.resolutions.add(name=name, ip=f"192.0.2.{len(name)}")
            for table in document.participant.tables:
                status.tables.add(
                    kind=table.kind,
                    config_map=table.config_map,
                    matches=True,
                    entry_count=len(table.entries),
                )
        status.MergeFrom(status_pb2.ResourceStatus(**changes))
        return status

    async def move(self, ip: str) -> None:
        """Get another address, and say so."""
        self.ip = ip
        self.answered.clear()
        await self.answer(self.agent.live)

    async def release(self, resource_id: str) -> None:
        self.hold.discard(resource_id)
        await self.answer(self.agent.live)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def spec(self, resource_id: str) -> document_pb2.ParticipantSpec:
        return self.agent.held[resource_id].participant
