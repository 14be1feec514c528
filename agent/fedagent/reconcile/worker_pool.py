"""The running workers, by resource: who can be woken, and by whom."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

import structlog

log = structlog.get_logger()


class Worker(Protocol):
    """What the pool needs of a worker, whatever it looks after."""

    wake: asyncio.Event

    async def run(self) -> None:
        """Work until the document is forgotten."""

    def refresh(self) -> None:
        """Read everything anew, now."""

    def retry_hub_requests(self) -> None:
        """Go on at once with what failed for lack of a session with the hub."""


@dataclass(frozen=True, slots=True)
class _Running:
    worker: Worker
    task: asyncio.Task[None]
    is_endpoint: bool


class WorkerPool:
    """Starts workers in the reconciler's task group; each ends by itself.

    It is made before everything that wakes workers, so that all of it takes the pool's methods by
    constructor.
    """

    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}

    def has(self, resource_id: str) -> bool:
        """Return whether a worker of this resource runs."""
        running = self._running.get(resource_id)
        return running is not None and not running.task.done()

    def start(
        self, resource_id: str, worker: Worker, group: asyncio.TaskGroup, *, is_endpoint: bool
    ) -> None:
        """Start a worker in place of one that has ended."""
        task = group.create_task(worker.run(), name=f"reconcile.{resource_id}")
        self._running[resource_id] = _Running(worker, task, is_endpoint)
        log.info("worker.started", resource_id=resource_id)

    def resource_ids(self) -> frozenset[str]:
        """Return the resources that have, or had, a worker."""
        return frozenset(self._running)

    def wake(self, resource_id: str) -> None:
        """Wake one worker: its document has changed."""
        self._running[resource_id].worker.wake.set()

    def wake_endpoints(self) -> None:
        """Wake the worker of the KubeFATE service: a participant got no answer."""
        for running in self._running.values():
            if running.is_endpoint:
                running.worker.wake.set()

    def refresh_all(self) -> None:
        """Wake every worker to read everything anew: the service changed, a person approved."""
        for running in self._running.values():
            running.worker.refresh()

    def retry_hub_requests(self) -> None:
        """Wake whatever waits to ask the hub again: there is a session."""
        for running in self._running.values():
            running.worker.retry_hub_requests()

    def clear(self) -> None:
        """Forget all workers: their tasks have ended with the group."""
        self._running.clear()
