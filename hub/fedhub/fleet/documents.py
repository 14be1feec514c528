"""Documents out: what each connected agent lacks, sent soon after the commit."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from fedcore.clock import Clock
from fedcore.errors import Unavailable
from fedhub.domain.models import ResourceKind, StoredDocument
from fedhub.fleet.agent_sessions import LiveAgentSession, SessionRegistry
from fedhub.fleet.frame_stream import document_frames
from fedhub.fleet.liveness import Loop
from fedhub.instruments import Instruments
from fedhub.store import documents
from fedproto.agent.v1 import document_pb2, link_pb2
from fedsql.engine import Database

log = structlog.get_logger()


def to_wire(stored: StoredDocument) -> document_pb2.DesiredDocument:
    """Turn a stored document into the message that agents take."""
    document = document_pb2.DesiredDocument(
        resource_id=stored.resource_id,
        generation=stored.generation,
        digest=stored.digest,
        absent=stored.absent,
    )
    if stored.kind is ResourceKind.ENDPOINT:
        document.endpoint.ParseFromString(stored.spec_bytes)
    else:
        document.participant.ParseFromString(stored.spec_bytes)
    return document


class Notifier:
    """Sends changed documents to the live sessions of their sites.

    Each session has a task of its own (``serve``), so that one that reads slowly holds up nobody.
    """

    def __init__(
        self,
        database: Database,
        registry: SessionRegistry,
        *,
        clock: Clock,
        instruments: Instruments,
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._instruments = instruments

    def mark_stale(self, site_ids: Iterable[str]) -> None:
        """Note that documents of these sites changed; returns at once."""
        for site_id in site_ids:
            session = self._registry.of_site(site_id)
            if session is not None:
                session.documents.mark_stale()

    async def poll(self) -> None:
        """Find every session that lacks something, in one query."""
        live = {session.site_id: session for session in self._registry}
        if not live:
            return
        async with self._database.read() as db:
            generations = await documents.generations_of_sites(db, list(live))
        for site_id, session in live.items():
            if not session.documents.is_at(generations.get(site_id, {})):
                session.documents.mark_stale()

    async def serve(self, session: LiveAgentSession) -> None:
        """Send a session what it lacks, now and whenever that changes; runs until cancelled."""
        is_first = True
        while True:
            session.documents.begin_turn()
            try:
                with session.liveness.at_work(Loop.DOCUMENTS):
                    await self._send_missing(session, is_first=is_first)
            except Unavailable:
                # The database is away; the poll finds the difference when it is back.
                log.info("documents.delayed", site=session.site_name)
            else:
                is_first = False
            await session.documents.wait_until_stale()

    async def _send_missing(self, session: LiveAgentSession, *, is_first: bool) -> None:
        async with self._database.read() as db:
            stored = await documents.of_site(db, session.site_id)
        cursor = session.documents
        missing = [document for document in stored if cursor.lacks(document)]
        frames = link_pb2.DesiredDocuments(
            documents=[to_wire(document) for document in missing], forget=cursor.surplus(stored)
        )
        cursor.advance(stored)
        for frame in document_frames(frames):
            await session.stream.send(frame)
        # What changed before the session began waited for the agent, not for the hub.
        if not is_first:
            self._observe_propagation(missing)

    def _observe_propagation(self, documents_sent: Iterable[StoredDocument]) -> None:
        now = self._clock.now()
        for document in documents_sent:
            self._instruments.document_propagation.observe(
                max(0.0, (now - document.updated_at).total_seconds())
            )
