"""What stands behind the proxies: each party's broker and nginx, and the exchange's node ports.

Every answer names the party that gave it, so a route that leads to the wrong place shows.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web
from tests.support.dataplane import Deployed, DeployedParty, Proxies
from tests.support.patience import patient
from tests.support.proxy_host import Address

_CHUNK: Final = 65_536
_END_LIMIT_S: Final = 5.0
_Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Backends:
    """Runs them; ``names`` holds the SNIs that the brokers saw. ``folder`` takes their keys."""

    def __init__(self, folder: Path) -> None:
        self.names: list[str | None] = []
        self._folder = folder
        self._servers: dict[Address, asyncio.Server] = {}
        self._sites: dict[Address, web.AppRunner] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[object]] = set()

    async def open_all(self, deployed: Deployed, proxies: Proxies) -> None:
        """Start every party's backends and the node ports of the exchange."""
        await self.relay(deployed.ats, proxies.proxy_host.ats)
        await self.relay(deployed.nginx, proxies.proxy_host.nginx)
        for party in deployed.parties:
            await self.open(party)

    async def open(self, party: DeployedParty) -> None:
        """Start one party's broker (TLS, its own certificate) and nginx."""
        context = self._context(party)
        await self._serve(party.pulsar, self._broker(party.id), context)
        await self.open_http(party.nginx, party.id)

    async def open_http(self, address: Address, who: object) -> None:
        """Answer every request with ``who``."""

        async def answer(_: web.Request) -> web.Response:
            return web.json_response({"party": who})

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, *address).start()
        self._sites[address] = runner

    async def relay(self, at: Address, to: Address) -> None:
        """Be a node port: pass on whatever comes."""

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there_reader, there_writer = await asyncio.open_connection(*to)
            except OSError:
                return
            self._writers.add(there_writer)
            try:
                await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))
            finally:
                there_writer.close()
                self._writers.discard(there_writer)

        await self._serve(at, pass_on, None)

    async def shut(self, party: DeployedParty) -> None:
        """End a party's broker and nginx; open connections stay."""
        await self.close(party.pulsar)
        await self.close(party.nginx)

    async def close(self, address: Address) -> None:
        """End what listens at an address; open connections stay."""
        if address in self._servers:
            self._servers.pop(address).close()
        if address in self._sites:
            await self._sites.pop(address).cleanup()

    async def close_all(self) -> None:
        """End everything."""
        for address in [*self._servers, *self._sites]:
            await self.close(address)
        for writer in list(self._writers):
            writer.transport.abort()
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=patient(_END_LIMIT_S))

    async def _serve(
        self, address: Address, handle: _Handler, context: ssl.SSLContext | None
    ) -> None:
        async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.add(writer)
            if task := asyncio.current_task():
                self._handlers.add(task)
                task.add_done_callback(self._handlers.discard)
            try:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    await handle(reader, writer)
            finally:
                if context is None:
                    writer.close()
                else:
                    writer.transport.abort()  # TLS would wait for the other side's farewell
                self._writers.discard(writer)

        self._servers[address] = await asyncio.start_server(kept, *address, ssl=context)

    def _broker(self, party_id: int) -> _Handler:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"party {party_id}\n".encode())
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()

        return echo

    def _context(self, party: DeployedParty) -> ssl.SSLContext:
        secret = party.secrets["pulsar-cert"]
        files = {}
        for name in ("broker.cert.pem", "broker.key-pk8.pem"):
            files[name] = self._folder / f"{party.id}.{name}"
            files[name].write_bytes(base64.b64decode(secret[name]))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files["broker.cert.pem"], files["broker.key-pk8.pem"])
        context.sni_callback = lambda _, name, __: self.names.append(name)
        return context


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
