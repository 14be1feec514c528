"""Prove a route: a TLS handshake with its SNI, and the certificate that answers.

What each answer of Traffic Server means was measured on version 9.2: a name without a route gets
the proxy's own certificate, a route that it refuses an answer in clear, a dead party an early end.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fedagent.domain.telling import NOT_SERVED, PARTY_DOWN, PROVEN, UNREACHABLE

_CONNECT_LIMIT_S: Final = 1.5
_HANDSHAKE_LIMIT_S: Final = 4.0
_AT_ONCE: Final = 20
_HOSTNAME_MISMATCH: Final = 62
_NOBODY: Final = "nobody.invalid"
"""An SNI without a route: a living proxy answers it itself."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one handshake showed. ``state`` is a word of the planner."""

    state: str
    message: str


Prove = Callable[[str, int, Sequence[str], bytes], Awaitable[dict[str, Answer]]]
"""(ip, port, SNIs, roots as PEM) -> the answer for each SNI."""


async def prove_routes(
    ip: str, port: int, names: Sequence[str], roots_pem: bytes
) -> dict[str, Answer]:
    """Try every name; the proxy's address is tried once before, so that silence costs little."""
    if not await _is_reachable(ip, port):
        answer = Answer(UNREACHABLE, f"{ip}:{port} cannot be reached from the agent")
        return dict.fromkeys(names, answer)
    context = ssl.create_default_context(cadata=roots_pem.decode())
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> Answer:
        async with gate:
            return await handshake(ip, port, name, context)

    answers = await asyncio.gather(*(one(name) for name in names))
    return dict(zip(names, answers, strict=True))


async def _is_reachable(ip: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_CONNECT_LIMIT_S):
            _, writer = await asyncio.open_connection(ip, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def handshake(ip: str, port: int, name: str, context: ssl.SSLContext) -> Answer:
    """Do one handshake and say what it means."""
    try:
        async with asyncio.timeout(_HANDSHAKE_LIMIT_S):
            _, writer = await asyncio.open_connection(
                ip, port, ssl=context, server_hostname=name, ssl_handshake_timeout=60.0
            )
    except TimeoutError:
        return await _silent(ip, port)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _HOSTNAME_MISMATCH:
            return Answer(NOT_SERVED, "another certificate answers: the route is not taken")
        return Answer(PARTY_DOWN, f"its certificate does not verify: {error.verify_message}")
    except ssl.SSLError as error:
        return Answer(PARTY_DOWN, f"the proxy refuses the route or its target: {error.reason}")
    except (ConnectionError, OSError):
        return Answer(PARTY_DOWN, "the route is taken, but the party behind it does not answer")
    writer.close()
    return Answer(PROVEN, "the party's certificate answers")


async def _silent(ip: str, port: int) -> Answer:
    """Find out who is silent: a dead proxy accepts connections and says nothing either."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_HANDSHAKE_LIMIT_S):
            _, writer = await asyncio.open_connection(
                ip, port, ssl=context, server_hostname=_NOBODY, ssl_handshake_timeout=60.0
            )
    except (OSError, TimeoutError):
        return Answer(NOT_SERVED, "the proxy accepts connections and answers nothing")
    writer.close()
    return Answer(PARTY_DOWN, "the party behind the route is silent")
