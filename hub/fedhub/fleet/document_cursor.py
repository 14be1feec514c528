"""What one agent has of its documents, as far as this session knows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from fedhub.domain.models import StoredDocument
from fedproto.agent.v1 import link_pb2


class DocumentCursor:
    """The generations that an agent has: those of its Hello, then those sent since.

    A digest of Hello that differs from the stored document's makes the agent lack it although the
    generation is the same: its copy was damaged, or the hub was restored from a backup.
    """

    def __init__(self, refs: Iterable[link_pb2.DocumentRef] = ()) -> None:
        self._generations: dict[str, int] = {}
        self._hello_digests: dict[str, str] = {}
        for ref in refs:
            self._generations[ref.resource_id] = ref.generation
            self._hello_digests[ref.resource_id] = ref.digest
        self._stale = asyncio.Event()

    def mark_stale(self) -> None:
        """Note that the agent may lack a document; returns at once."""
        self._stale.set()

    def begin_turn(self) -> None:
        """Note that what is read from now on is sent: a later mark asks for another turn."""
        self._stale.clear()

    async def wait_until_stale(self) -> None:
        """Wait for the next mark."""
        await self._stale.wait()

    def is_at(self, generations: Mapping[str, int]) -> bool:
        """Return whether the agent has these generations and no others."""
        return self._generations == generations

    def lacks(self, document: StoredDocument) -> bool:
        """Return whether the agent must be sent a document."""
        if self._generations.get(document.resource_id) != document.generation:
            return True
        digest = self._hello_digests.get(document.resource_id, document.digest)
        return digest != document.digest

    def surplus(self, documents: Iterable[StoredDocument]) -> list[str]:
        """Return the resources that the agent has and that are gone."""
        return sorted(set(self._generations) - {document.resource_id for document in documents})

    def advance(self, documents: Iterable[StoredDocument]) -> None:
        """Note that the agent has these documents, once their frames are sent."""
        self._generations = {document.resource_id: document.generation for document in documents}
        self._hello_digests.clear()
