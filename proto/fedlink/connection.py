"""Keep a session with the hub, for ever: dial, redial with jitter, renew the certificate."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import grpc.aio
import structlog

from fedcore.clock import Clock
from fedcore.errors import FedError
from fedcore.ids import Serial
from fedcore.tasks import (
    LoopHealth,
    await_with_heartbeat,
    run_periodically,
    sleep_with_heartbeat,
)
from fedlink.channel import LiveChannel, open_channel, typed_errors
from fedlink.identity import CurrentIdentity, make_csr, make_key, with_certificate
from fedlink.stream import SessionEnded
from fedlink.timing import LinkTiming
from fedlink.trust import check_certificate

log = structlog.get_logger()
_SESSIONS: Final = "link.sessions"
_RENEWAL: Final = "link.renewal"


class OpenSession(Protocol):
    """A session to which the hub has said welcome."""

    async def run(self) -> None:
        """Exchange frames until something ends the session; raises a FedError for it."""


@dataclass(frozen=True, slots=True)
class RenewedCertificate:
    """What the hub answered to a renewal."""

    serial: Serial
    chain_pem: bytes
    roots_pem: bytes
    trust_version: int


class HubCalls(Protocol):
    """What the program hands in: its stub's calls and its frames."""

    async def open_session(self, channel: grpc.aio.Channel) -> OpenSession:
        """Introduce the program over a new channel; raises a FedError when the hub refuses."""

    async def renew(
        self, channel: grpc.aio.Channel, csr_pem: bytes, *, limit_s: float
    ) -> RenewedCertificate:
        """Ask for a certificate for a new key."""


class HubConnection:
    """A program's connection to its hub.

    ``live`` is where calls beside the session find the channel. ``on_connected`` is called at each
    welcome.
    """

    def __init__(
        self,
        identity: CurrentIdentity,
        calls: HubCalls,
        live: LiveChannel,
        *,
        loop_health: LoopHealth,
        clock: Clock,
        timing: LinkTiming,
        on_connected: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        self._identity = identity
        self._calls = calls
        self._live = live
        self._loop_health = loop_health
        self._clock = clock
        self._timing = timing
        self._on_connected = on_connected
        self._rng = rng if rng is not None else random.Random()  # noqa: S311 - jitter, no secret
        self._redial = asyncio.Event()
        self._renewal_check = asyncio.Event()

    @property
    def connected(self) -> asyncio.Event:
        """Return the event that is set while a session is held."""
        return self._live.opened

    async def run(self) -> None:
        """Hold a session for ever; run it in a TaskGroup."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hold_sessions(), name=_SESSIONS)
            renewal = run_periodically(
                _RENEWAL,
                self._renew_if_due,
                interval_s=self._timing.renewal_check_s,
                loop_health=self._loop_health,
                wake=self._renewal_check,
            )
            group.create_task(renewal, name=_RENEWAL)

    async def _hold_sessions(self) -> None:
        attempt = 0
        while True:
            self._loop_health.heartbeat(_SESSIONS)
            began_s = self._clock.monotonic()
            asked_s: float | None = None
            try:
                await self._hold_session()
            except SessionEnded as ended:
                asked_s = ended.retry_after_s
                log.info("link.ended", reason=ended.message)
            except FedError as error:
                log.warning("link.lost", code=error.code.value, reason=error.message)
            lasted_s = self._clock.monotonic() - began_s
            if lasted_s > self._timing.redial_reset_s or asked_s is not None:
                attempt = 0
            delay_s = self._delay_s(attempt, asked_s)
            attempt += 1
            if await sleep_with_heartbeat(
                _SESSIONS, delay_s, loop_health=self._loop_health, wake=self._redial
            ):
                attempt = 0

    def _delay_s(self, attempt: int, asked_s: float | None) -> float:
        """Draw the wait before the next dial; within what the hub asked for, when it did."""
        if asked_s is not None:
            return self._rng.uniform(0.0, asked_s)
        return self._timing.redial.jittered_s(attempt, self._rng)

    async def _hold_session(self) -> None:
        async with open_channel(self._identity.value) as channel:
            session = await self._calls.open_session(channel)
            self._live.set(channel)
            try:
                self._renewal_check.set()
                self._on_connected()
                await self._run_until_redial(session)
            finally:
                self._live.clear()

    async def _run_until_redial(self, session: OpenSession) -> None:
        """Run the session; end it when the program itself wants a new one (a new certificate)."""
        running = asyncio.create_task(session.run(), name="link.session")
        redial = asyncio.create_task(self._redial.wait(), name="link.redial")
        try:
            first = asyncio.wait({running, redial}, return_when=asyncio.FIRST_COMPLETED)
            await await_with_heartbeat(_SESSIONS, first, loop_health=self._loop_health)
            if running.done():
                await running
            self._redial.clear()
            raise SessionEnded("a new certificate is used from the next session", retry_after_s=0.0)
        finally:
            running.cancel()
            redial.cancel()
            await asyncio.gather(running, redial, return_exceptions=True)

    async def _renew_if_due(self) -> None:
        """Renew at the time for it; without a session the next one calls again."""
        if self._clock.now() >= self._identity.value.renew_at() and self.connected.is_set():
            await self.renew()

    async def renew(self) -> None:
        """Get a certificate for a new key, unless another process has; then redial with it."""
        if await self._identity.reload():
            log.info("renewal.found", place=self._identity.store.place)
            self._redial.set()
            return
        key_pem = make_key()
        csr_pem = make_csr(key_pem, self._identity.value.agent_id)
        with typed_errors():
            answer = await self._calls.renew(
                self._live.get(), csr_pem, limit_s=self._timing.call_limit_s
            )
        check_certificate(key_pem, answer.chain_pem, answer.roots_pem)
        await self._identity.replace(
            with_certificate(
                self._identity.value,
                key_pem,
                answer.chain_pem,
                answer.roots_pem,
                answer.trust_version,
            )
        )
        log.info("renewal.done", serial=answer.serial)
        self._redial.set()
