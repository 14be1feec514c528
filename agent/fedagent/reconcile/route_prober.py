"""Probe a route: a TLS handshake with its SNI, and the certificate that answers.

What each answer of Traffic Server means was measured on version 9.2: a name without a route gets
the proxy's own certificate, a route that it refuses an answer in clear, a dead party an early end.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fedcore.words import ProbeState

_AT_ONCE: Final = 20
_SILENCE: Final = "silence"
_END: Final = "end"
_NOBODY: Final = "nobody.invalid"
"""An SNI without a route: a living proxy answers it itself."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one handshake showed."""

    state: ProbeState
    message: str
    foreign: bool = False
    """A certificate answered that is not the party's."""


ProbeRoutesFn = Callable[[str, int, Sequence[str], bytes], Awaitable[dict[str, Answer]]]
"""(ip, port, SNIs, roots as PEM) -> the answer for each SNI."""


@dataclass(frozen=True, slots=True)
class RouteProber:
    """Tries routes through an exchange. Limits in seconds, for one connection and one handshake."""

    connect_limit_s: float
    handshake_limit_s: float

    async def probe(
        self, ip: str, port: int, names: Sequence[str], roots_pem: bytes
    ) -> dict[str, Answer]:
        """Try every name. The address itself is tried first, so that silence costs little."""
        if not await self._is_reachable(ip, port):
            answer = Answer(ProbeState.UNREACHABLE, f"{ip}:{port} cannot be reached from the agent")
            return dict.fromkeys(names, answer)
        trusting = ssl.create_default_context(cadata=roots_pem.decode())
        proxy = _ProxyProber(ip, port, trusting, self.handshake_limit_s)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def probe_one(name: str) -> Answer:
            async with gate:
                return await proxy.probe(name)

        answers = await asyncio.gather(*(probe_one(name) for name in names))
        return dict(zip(names, answers, strict=True))

    async def _is_reachable(self, ip: str, port: int) -> bool:
        try:
            async with asyncio.timeout(self.connect_limit_s):
                _, writer = await asyncio.open_connection(ip, port)
        except (OSError, TimeoutError):
            return False
        writer.transport.abort()
        return True


@dataclass(frozen=True, slots=True)
class _Shown:
    """What an unverified handshake came to: a certificate (DER), or a word for its failure."""

    certificate: bytes | None
    failure: str = ""


class _ProxyProber:
    """Tries names at one proxy. What the proxy answers by itself is asked once, when needed."""

    def __init__(
        self, ip: str, port: int, trusting: ssl.SSLContext, handshake_limit_s: float
    ) -> None:
        self._handshake_limit_s = handshake_limit_s
        self._ip = ip
        self._port = port
        self._trusting = trusting
        self._own: asyncio.Task[_Shown] | None = None

    async def probe(self, name: str) -> Answer:
        """Do one handshake and say what it means."""
        try:
            await self._handshake(name, self._trusting)
        except TimeoutError:
            return await self._compare(_Shown(None, _SILENCE), "the party behind it is silent")
        except ssl.SSLCertVerificationError as error:
            shown = await self._show(name)
            text = f"its certificate is wrong: {error.verify_message}"
            return await self._compare(shown, text, foreign=True)
        except ssl.SSLError as error:
            shown = _Shown(None, str(error.reason))
            return await self._compare(shown, f"the route or its target is refused: {error.reason}")
        except OSError:
            return await self._compare(_Shown(None, _END), "the party behind it does not answer")
        return Answer(ProbeState.REACHABLE, "the party's certificate answers")

    async def _compare(self, shown: _Shown, otherwise: str, *, foreign: bool = False) -> Answer:
        """Call a route not taken where the proxy answers as it answers a name without a route.

        Only this tells a missing route from a party with a wrong certificate: the proxy's own may
        be expired, of an older root, or not loaded at all.
        """
        if self._own is None:
            self._own = asyncio.create_task(self._show(_NOBODY))
        if shown == await self._own:
            return Answer(ProbeState.NOT_SERVED, "the proxy itself answers: the route is not taken")
        return Answer(ProbeState.PARTY_DOWN, f"the route is taken, but {otherwise}", foreign)

    async def _show(self, name: str) -> _Shown:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            return _Shown(await self._handshake(name, context))
        except TimeoutError:
            return _Shown(None, _SILENCE)
        except ssl.SSLError as error:
            return _Shown(None, str(error.reason))
        except OSError:
            return _Shown(None, _END)

    async def _handshake(self, name: str, context: ssl.SSLContext) -> bytes | None:
        """Shake hands and hang up; return the peer's certificate."""
        async with asyncio.timeout(self._handshake_limit_s):
            _, writer = await asyncio.open_connection(
                self._ip,
                self._port,
                ssl=context,
                server_hostname=name,
                # The time limit above must end it, not the loop's own.
                ssl_handshake_timeout=60.0,
            )
        shown: ssl.SSLObject = writer.get_extra_info("ssl_object")
        certificate = shown.getpeercert(binary_form=True)
        # No farewell: an orderly close would wait for the peer's.
        writer.transport.abort()
        return certificate
