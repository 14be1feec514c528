"""Host names of documents, resolved at the site and again from time to time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable

import structlog

log = structlog.get_logger()

Resolve = Callable[[str], Awaitable[str]]
"""Name -> IP literal, or an empty text."""


async def resolve_name(name: str, limit_s: float) -> str:
    """Ask the system's resolver; IPv4 first, and the lowest address, so that answers are stable."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit_s):
            answers = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return ""
    ranked = sorted(
        {(family != socket.AF_INET, str(address[0])) for family, _, _, _, address in answers}
    )
    return ranked[0][1] if ranked else ""


class DnsCache:
    """The last answer of the resolver for each name of a document."""

    def __init__(self, resolve: Resolve) -> None:
        self.answers: dict[str, str] = {}
        self._resolve = resolve

    async def learn(self, names: Iterable[str]) -> None:
        """Resolve the names that have no answer yet."""
        await self._ask([name for name in dict.fromkeys(names) if name not in self.answers])

    async def refresh(self, names: Iterable[str]) -> frozenset[str]:
        """Resolve names again, forget all others; return those whose answer has changed.

        A name that does not resolve for the moment keeps its last answer.
        """
        unique = list(dict.fromkeys(names))
        self.answers = {name: self.answers[name] for name in unique if name in self.answers}
        before = dict(self.answers)
        await self._ask(unique)
        return frozenset(name for name in unique if before.get(name) != self.answers.get(name))

    async def _ask(self, names: list[str]) -> None:
        ips = await asyncio.gather(*(self._resolve(name) for name in names))
        for name, ip in zip(names, ips, strict=True):
            if not ip and self.answers.get(name):
                log.info("name.unresolved", name=name)
                continue
            self.answers[name] = ip
