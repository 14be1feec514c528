"""The site's KubeFATE service as its participants share it: where it is, and whether it answers.

The endpoint's controller alone writes it, by ``publish`` and ``withdraw``. Participants read it,
and call ``report_unreachable`` when they get no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from fedagent.domain.observed import ServiceAccess
from fedagent.kube.errors import KubeError
from fedagent.kubefate.access import Access, AccessMode, BadCredentials
from fedagent.kubefate.client import KubeFate
from fedagent.kubefate.errors import KubeFateError, Unauthorized, Unavailable
from fedagent.kubefate.service import ServiceObservation


class KubeFateService:
    """The way to the service, and the last observation of it.

    ``on_change`` is called when participants may use it from now on, or may not any more;
    ``on_unreachable`` when one of them got no answer from a service that was taken for ready.
    """

    def __init__(
        self,
        access: Access,
        *,
        known_limit_s: float,
        on_change: Callable[[], None],
        on_unreachable: Callable[[], None],
    ) -> None:
        self.access = access
        self._known_limit_s = known_limit_s
        self._on_change = on_change
        self._on_unreachable = on_unreachable
        self._known = asyncio.Event()
        self._observation: ServiceObservation | None = None
        self._namespace: str | None = None
        self._is_ready = False
        self._is_doubted = False

    @property
    def key(self) -> str:
        """Name of the service in the journal's notes about charts."""
        return f"{self.access.mode}:{self._namespace or ''}"

    @property
    def started_at(self) -> datetime | None:
        """When the service's pod started; None when no observation has shown it."""
        return None if self._observation is None else self._observation.started_at

    def evidence(self) -> ServiceObservation | None:
        """Return the last observation, for the next one to go by; None when it is in doubt.

        The doubt ends with this call: the observation that follows asks the service itself.
        """
        is_doubted, self._is_doubted = self._is_doubted, False
        return None if is_doubted else self._observation

    def publish(
        self, observation: ServiceObservation, *, namespace: str | None, is_ready: bool
    ) -> None:
        """Open the service in ``namespace`` to participants; None closes it to them."""
        self._observation = observation
        self._known.set()
        before = (self._namespace, self._is_ready)
        self._namespace, self._is_ready = namespace, is_ready
        if before != (namespace, is_ready):
            self._on_change()

    def withdraw(self) -> None:
        """Leave no way to the service open: its endpoint is gone."""
        self._namespace, self._is_ready = None, False
        self._on_change()

    def report_unreachable(self) -> None:
        """Wake the endpoint's worker: a service that is taken for ready has just not answered."""
        if self._observation is None or not self._observation.is_ready:
            return
        self._is_doubted = True
        self._on_unreachable()

    async def wait_known(self) -> None:
        """Wait, after a start of the agent, for the first look at the service; not for long.

        Without this wait each participant would show for a moment that there is no service.
        """
        try:
            async with asyncio.timeout(self._known_limit_s):
                await self._known.wait()
        except TimeoutError:
            self._known.set()

    async def client(self) -> KubeFate:
        """Return the client; raises KubeFateError or KubeError when there is no way to it."""
        if self.access.mode is not AccessMode.URL and self._namespace is None:
            raise Unavailable("there is no KubeFATE service at this site yet")
        return await self.access.client(self._namespace or "")

    def access_after(self, error: KubeFateError | KubeError) -> tuple[ServiceAccess, str]:
        """Return what the failure of a call says about the service, and a sentence."""
        last = self._observation
        is_absent = last is None or not last.is_installed or self._namespace is None
        if is_absent and self.access.mode is not AccessMode.URL:
            return ServiceAccess.ABSENT, error.message
        if isinstance(error, Unauthorized | BadCredentials):
            return ServiceAccess.UNAUTHORIZED, error.message
        return ServiceAccess.UNREACHABLE, error.message
