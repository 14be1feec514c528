"""When a start is over: the federations' participants at the sites that run here have settled.

What sites reported in an earlier run does not count. The first start ends with every participant
Ready, or with the first that failed. A later start finds what people made, and that need not be
Ready: it also ends when what is not Ready waits for a person and has not moved for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from fedcore.words import Phase
from fedctl.client import Client, path_of
from fedctl.durations import parse_time
from fedctl.errors import CliError, ExitCode
from fedctl.resources import kind_of
from fedctl.wait_status import (
    FAILED_PHASES,
    Goal,
    ResourceProgress,
    Verdict,
    WaitStatus,
    resource_source,
)

_STANDING_PHASES: Final = FAILED_PHASES | {
    Phase.DEGRADED,
    Phase.WAITING,
    Phase.AWAITING_APPROVAL,
}
"""Phases that end by an act of a person, as far as a start can know."""


@dataclass(slots=True)
class Readiness:
    """A source for ``fedctl.progress.wait``.

    ``sites`` are those whose agents run; no other participant is waited for. ``standing_limit_s``
    is how long what waits for a person may stand still before the wait ends, None in a first start.
    """

    federations: Sequence[str]
    sites: Sequence[str]
    since: datetime
    standing_limit_s: float | None = None
    now: Callable[[], float] = time.monotonic
    _fresh: set[str] = field(default_factory=set)
    _standing: tuple[ResourceProgress, ...] = ()
    _standing_since: float = 0.0

    async def __call__(self, client: Client) -> WaitStatus:
        """Read the federations and judge."""
        resources: list[ResourceProgress] = []
        for federation in self.federations:
            resources += await self._read(client, federation)
        ours = tuple(resource for resource in resources if resource.site in self.sites)
        settled = [
            resource for resource in ours if resource.is_done or resource.phase in _STANDING_PHASES
        ]
        stale = [
            resource
            for resource in settled
            if (resource.is_done or resource.phase in FAILED_PHASES)
            and not await self._is_fresh(client, resource)
        ]
        return self._judge(ours, settled, stale)

    async def _read(self, client: Client, federation: str) -> Sequence[ResourceProgress]:
        source = resource_source(kind_of("federations"), federation, Goal.READY)
        try:
            return (await source(client)).resources
        except CliError as error:
            if error.code is ExitCode.NOT_FOUND:  # a removal that came to its end meanwhile
                return ()
            raise

    def _judge(
        self,
        ours: tuple[ResourceProgress, ...],
        settled: Sequence[ResourceProgress],
        stale: Sequence[ResourceProgress],
    ) -> WaitStatus:
        failed = [
            resource
            for resource in ours
            if resource.phase in FAILED_PHASES and resource not in stale
        ]
        if self.standing_limit_s is None and failed:
            return WaitStatus(Verdict.FAILED, ours)
        if len(settled) < len(ours):
            self._standing = ()
            return WaitStatus(Verdict.OPEN, ours)
        if stale:
            return WaitStatus(Verdict.OPEN, ours, "waiting for fresh reports")
        if all(resource.is_done for resource in ours):
            return WaitStatus(Verdict.REACHED, ours)
        return WaitStatus(Verdict.REACHED if self._stands_still(ours) else Verdict.OPEN, ours)

    def _stands_still(self, ours: tuple[ResourceProgress, ...]) -> bool:
        """Return whether nothing has moved for the limit; words of a message may change."""
        compared = tuple(replace(resource, message="") for resource in ours)
        if compared != self._standing:
            self._standing, self._standing_since = compared, self.now()
        limit_s = self.standing_limit_s
        return limit_s is not None and self.now() - self._standing_since >= limit_s

    async def _is_fresh(self, client: Client, resource: ResourceProgress) -> bool:
        """Return whether its site has reported on it in this run."""
        if resource.name not in self._fresh:
            detail = await client.get(path_of("participants", *resource.name.split("/")))
            reported_at = parse_time(detail["reported_at"])
            if reported_at is not None and reported_at >= self.since:
                self._fresh.add(resource.name)
        return resource.name in self._fresh
