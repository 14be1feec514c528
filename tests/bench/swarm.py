"""Many light agents in one process: ``python -m tests.bench.swarm place.json``.

Talks in JSON lines: one task a line on stdin (a list of [site, token]; or "reconnect"), what
happens on stdout ({"connected": n}, {"document": id, "generation": g, "at": unix time}).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
from tests.support.fakeagent import FakeAgent, FakeSession
from tests.support.restclient import Place

from fedcore import limits
from fedcore.errors import FedError
from fedproto.agent.v1 import link_pb2, status_pb2
from fedproto.agent.v1.document_pb2 import DesiredDocument as Document

HEARTBEAT_S: Final = 15.0
ENROLLING: Final = 16
CONNECTING: Final = 100
STORM_CAP_S: Final = 4.0
"""Much shorter than a real agent's, so that a restart of the hub makes a storm."""


def say(**what: object) -> None:
    """Write one line for the bench."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Light(FakeAgent):
    """An agent that beats, takes documents, and says Deploying to each."""

    async def run(self, gate: asyncio.Semaphore, swarm: Swarm) -> None:
        """Stay connected; come back after each break, with full jitter."""
        attempt = 0
        while True:
            try:
                async with gate:
                    await self.reconnect()
                swarm.count(1)
                attempt = 0
                await self._beat()
            except (FedError, AssertionError, grpc.aio.UsageError, asyncio.InvalidStateError):
                pass
            except grpc.aio.AioRpcError:
                pass
            if self.session is not None and self.session.ended.is_set():
                swarm.count(-1)
                self.session = None
            attempt += 1
            await asyncio.sleep(random.uniform(0, min(STORM_CAP_S, 2.0**attempt)))

    async def _beat(self) -> None:
        session = self.live
        sequence = 0
        await asyncio.sleep(random.uniform(0, 0.1))
        while not session.ended.is_set():
            sequence += 1
            await session.send(heartbeat=link_pb2.Heartbeat(sequence=sequence))
            try:
                async with asyncio.timeout(HEARTBEAT_S * random.uniform(0.8, 1.2)):
                    await session.ended.wait()
            except TimeoutError:
                session.frames.clear()

    def on_documents(self, session: FakeSession, documents: link_pb2.DesiredDocuments) -> None:
        """Tell the bench when each document came, and answer it."""
        now = time.time()
        for document in documents.documents:
            say(document=document.resource_id, generation=document.generation, at=now)
        for some in batched(documents.documents, limits.MAX_STATUSES_PER_REPORT):
            report = link_pb2.StatusReport(statuses=[status_of(document) for document in some])
            self.answers.add(task := asyncio.create_task(session.send(status=report)))
            task.add_done_callback(self.answers.discard)

    answers: set[asyncio.Task[None]] = set()  # noqa: RUF012 - shared on purpose: keeps tasks alive


def batched(documents: Sequence[Document], most: int) -> Iterator[Sequence[Document]]:
    """Cut a list into pieces of ``most`` at most."""
    return (documents[start : start + most] for start in range(0, len(documents), most))


def status_of(document: Document) -> status_pb2.ResourceStatus:
    """Say Deploying of a document, or Gone where its resource shall be."""
    return status_pb2.ResourceStatus(
        resource_id=document.resource_id,
        observed_generation=document.generation,
        phase=status_pb2.PHASE_GONE if document.absent else status_pb2.PHASE_DEPLOYING,
    )


class Swarm:
    """The agents of this process and how many of them are connected."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.agents: list[Light] = []
        self.connected = 0

    def count(self, change: int) -> None:
        """Note one more or one less, and tell each full hundred."""
        self.connected += change
        if self.connected % 50 == 0 or self.connected == len(self.agents):
            say(connected=self.connected, at=time.time())

    async def enrol(self, invited: list[list[str]]) -> None:
        """Join every invited site."""
        gate = asyncio.Semaphore(ENROLLING)

        async def one(name: str, token: str) -> None:
            agent = Light(self.place, name)
            async with gate:
                await agent.enrol(token)
            self.agents.append(agent)

        await asyncio.gather(*(one(name, token) for name, token in invited))
        say(enrolled=len(self.agents))


def load_place(path: Path) -> Place:
    """Read where the hub is."""
    told: dict[str, Any] = json.loads(path.read_text())
    return Place(**{**told, "ca_pem": told["ca_pem"].encode()})


async def main() -> None:
    """Enrol, connect, and stay until stdin ends."""
    swarm = Swarm(load_place(Path(sys.argv[1])))
    reader = asyncio.StreamReader(limit=16 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await swarm.enrol(json.loads(await reader.readline()))
    gate = asyncio.Semaphore(CONNECTING)
    tasks = [asyncio.create_task(agent.run(gate, swarm)) for agent in swarm.agents]
    await reader.read()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
