"""When one agent was last heard, and how long its session's loops have been at their work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from fedcore.clock import Clock


class Loop(StrEnum):
    """The two loops that serve a session in the hub, as findings name them."""

    READ = "hub.read"
    DOCUMENTS = "hub.documents"


class Liveness:
    """Proof of life of one session, by the monotonic clock.

    Whatever comes shows that the agent is there; a heartbeat shows besides that its loop turns.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard_at = clock.monotonic()
        self._heartbeat_at = clock.monotonic()
        self._busy_since: dict[Loop, float] = {}
        self.is_unwritten = False
        """It was heard since that was last written to the store."""

    @property
    def silent_s(self) -> float:
        """How long nothing has been heard."""
        return self._clock.monotonic() - self._heard_at

    @property
    def without_heartbeat_s(self) -> float:
        """How long no heartbeat has come."""
        return self._clock.monotonic() - self._heartbeat_at

    @property
    def busy_s(self) -> dict[Loop, float]:
        """How long each loop that is at work has been at its present piece."""
        now = self._clock.monotonic()
        return {loop: now - since for loop, since in self._busy_since.items()}

    def note_frame(self) -> None:
        """Note that a frame came; heartbeats may be waiting behind it."""
        self._heard_at = self._clock.monotonic()
        self.is_unwritten = True

    def note_heartbeat(self) -> None:
        """Note that a heartbeat came."""
        self._heartbeat_at = self._clock.monotonic()

    def excuse(self) -> None:
        """Begin to count anew: the hub did not read, because its database was away."""
        self._heard_at = self._heartbeat_at = self._clock.monotonic()

    @contextmanager
    def at_work(self, loop: Loop) -> Iterator[None]:
        """Note, while in the block, since when a loop has been at one piece of work."""
        self._busy_since[loop] = self._clock.monotonic()
        try:
            yield
        finally:
            self._busy_since.pop(loop, None)
