"""The site's KubeFATE service as its participants share it: where it is, and whether it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from fedagent.domain.observed import ServiceAccess
from fedagent.kube.errors import KubeError
from fedagent.kubefate.access import Access, AccessMode, BadCredentials
from fedagent.kubefate.client import KubeFate
from fedagent.kubefate.errors import KubeFateError, Unauthorized, Unavailable
from fedagent.kubefate.service import ServiceObservation


@dataclass(slots=True)
class KubeFateService:
    """Set by the endpoint's worker, read by the participants' workers.

    ``namespace`` None: no endpoint is known yet, or it belongs to another hub.
    """

    access: Access
    known_limit_s: float
    namespace: str | None = None
    last: ServiceObservation | None = None
    known: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it is known whether participants may use the service."""
    is_doubted: bool = False
    """A participant got no answer: the next look asks the service itself."""
    on_doubt: Callable[[], None] | None = None
    """Wakes the endpoint's worker."""

    @property
    def key(self) -> str:
        """Name of the service in the journal's notes about charts."""
        return f"{self.access.mode}:{self.namespace or ''}"

    @property
    def started_at(self) -> datetime | None:
        """When the service's pod started, as far as is known."""
        return None if self.last is None else self.last.started_at

    def doubt(self) -> None:
        """Have a service that is taken for ready looked at now: it has just not answered."""
        if self.last is None or not self.last.is_ready:
            return
        self.is_doubted = True
        if self.on_doubt is not None:
            self.on_doubt()

    async def wait_known(self) -> None:
        """Wait, after a start of the agent, for the first look at the service; not for long."""
        try:
            async with asyncio.timeout(self.known_limit_s):
                await self.known.wait()
        except TimeoutError:
            self.known.set()

    async def client(self) -> KubeFate:
        """Return the client; raises KubeFateError or KubeError when there is no way to it."""
        if self.access.mode is not AccessMode.URL and self.namespace is None:
            raise Unavailable("there is no KubeFATE service at this site yet")
        return await self.access.client(self.namespace or "")

    def meaning(self, error: KubeFateError | KubeError) -> tuple[ServiceAccess, str]:
        """Say what a failure of a call means."""
        nowhere = self.last is None or not self.last.is_installed or self.namespace is None
        if nowhere and self.access.mode is not AccessMode.URL:
            return ServiceAccess.ABSENT, error.message
        if isinstance(error, Unauthorized | BadCredentials):
            return ServiceAccess.UNAUTHORIZED, error.message
        return ServiceAccess.UNREACHABLE, error.message
