"""Documents out: what each connected agent lacks, sent soon after the commit."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from fedcore.errors import Unavailable
from fedhub.domain.models import ResourceKind, StoredDocument
from fedhub.fleet.sessions import LiveSession, Loop, SessionRegistry, document_frames
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

    def __init__(self, database: Database, fleet: SessionRegistry) -> None:
        self._database = database
        self._fleet = fleet

    def changed(self, site_ids: Iterable[str]) -> None:
        """Note that documents of these sites changed; returns at once."""
        for site_id in site_ids:
            session = self._fleet.of_site(site_id)
            if session is not None:
                session.stale.set()

    async def poll(self) -> None:
        """Find every session that lacks something, in one query."""
        live = {session.site_id: session for session in self._fleet}
        if not live:
            return
        async with self._database.read() as db:
            generations = await documents.generations_of_sites(db, list(live))
        for site_id, session in live.items():
            if generations.get(site_id, {}) != session.sent:
                session.stale.set()

    async def serve(self, session: LiveSession) -> None:
        """Send a session what it lacks, now and whenever that changes; runs until cancelled."""
        while True:
            session.stale.clear()
            try:
                with self._fleet.at_work(session, Loop.DOCUMENTS):
                    await self._send_missing(session)
            except Unavailable:
                # The database is away; the poll finds the difference when it is back.
                log.info("documents.delayed", site=session.site_name)
            await session.stale.wait()

    async def _send_missing(self, session: LiveSession) -> None:
        async with self._database.read() as db:
            stored = await documents.of_site(db, session.site_id)
        missing = link_pb2.DesiredDocuments(
            documents=[to_wire(document) for document in stored if _is_missing(session, document)],
            forget=sorted(set(session.sent) - {document.resource_id for document in stored}),
        )
        session.sent = {document.resource_id: document.generation for document in stored}
        session.reported_digests.clear()
        for frame in document_frames(missing):
            await session.send(frame)


def _is_missing(session: LiveSession, document: StoredDocument) -> bool:
    """Tell whether the agent lacks a document; what it claimed in Hello counts by its digest."""
    if session.sent.get(document.resource_id) != document.generation:
        return True
    return session.reported_digests.get(document.resource_id, document.digest) != document.digest
