"""The simulated Traffic Server: routes TLS by the name in its ClientHello, and never opens it.

Its behaviour, the traps included, is that measured on Apache Traffic Server 9.2 with the
exchange chart's configuration.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
import yaml

from fedsim.kube.certificates import context_of

log = structlog.get_logger(__name__)

_ALLOWED_PORTS = (range(443, 444), range(6650, 6701), range(30_000, 33_001))
_DEFAULT_PORT = 443
_HELLO_LIMIT_S = 10.0
_DIAL_LIMIT_S = 10.0
_HANDSHAKE_LIMIT_S = 10.0
_CHUNK = 64 * 1024
_PEEK_BYTES = 16 * 1024
_PEEK_PAUSE_S = 0.005
_REFUSAL = (
    b"HTTP/1.0 %s\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
    b"<HTML><HEAD><TITLE>%s</TITLE></HEAD><BODY><H1>%s</H1></BODY></HTML>\n"
)

Routes = Mapping[str, tuple[str, int]]
Parsed = TypeVar("Parsed")


class TableError(ValueError):
    """A table of routes that Traffic Server cannot load."""


def parse_routes(text: bytes | None) -> Routes:
    """Read ``sni.yaml``; a missing or empty file and an empty list mean no routes.

    Raises `TableError` for what kills the real server at its start: a null or a map where the list
    should be, an entry without a name, and text that is no YAML.
    """
    if not text or not text.strip():
        return {}
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TableError(f"yaml-cpp: error at {error}") from error
    entries = document.get("sni") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise TableError("expected sequence")
    routes: dict[str, tuple[str, int]] = {}
    for entry in entries:
        if not isinstance(entry, dict) or not entry.get("fqdn"):
            raise TableError("missing fqdn")
        if entry.get("tunnel_route"):
            routes.setdefault(str(entry["fqdn"]).lower(), _parse_route(entry["tunnel_route"]))
    return routes


def _parse_route(value: Any) -> tuple[str, int]:
    host, colon, port = str(value).rpartition(":")
    if not colon:
        return str(value), _DEFAULT_PORT
    return host, int(port) if port.isdigit() else 0


def parse_hello(data: bytes) -> str | None:
    """Return the server name of a ClientHello, empty when it has none, None when more is to come.

    OpenSSL reads the hello and calls back with the name before it would need a certificate. Raises
    `ValueError` for what is no ClientHello.
    """
    names: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _, name, __: names.append(name or "")
    incoming = ssl.MemoryBIO()
    incoming.write(data)
    try:
        context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
    except ssl.SSLWantReadError:
        return None
    except ssl.SSLError as error:
        if not names:
            raise ValueError("not a ClientHello") from error
    return names[0]


@dataclass(frozen=True, slots=True)
class ProxyFiles:
    """What a Traffic Server pod reads: its table whenever asked, its certificate at the start."""

    table: Callable[[], bytes | None]
    certificate: bytes | None
    key: bytes | None


class TrafficServer:
    """One Traffic Server process; a broken table at the start kills it, and it looks alive."""

    def __init__(
        self, files: ProxyFiles, *, idle_s: float, write_log: Callable[[str], None]
    ) -> None:
        self._files = files
        self._idle_s = idle_s
        self._write_log = write_log
        self._routes: Routes = {}
        self.is_dead = False
        self._context = (
            context_of(files.certificate, files.key) if files.certificate and files.key else None
        )
        try:
            self._routes = parse_routes(files.table())
        except TableError as error:
            self.is_dead = True
            write_log(f"Emergency: sni.yaml failed to load: {error}; exit code 33")

    def reload(self) -> None:
        """Load the table again; a broken one changes nothing, and a dead process stays dead."""
        if self.is_dead:
            return
        try:
            self._routes = parse_routes(self._files.table() or None)
        except TableError as error:
            self._write_log(f"ERROR: sni.yaml failed to load: {error}")
        else:
            self._write_log(f"NOTE: sni.yaml finished loading: {len(self._routes)} routes")

    async def serve(self, client: socket.socket) -> None:
        """Serve one connection until it ends."""
        if self.is_dead:
            await (
                asyncio.get_running_loop().create_future()
            )  # the kernel accepts, the process does not: hangs
        name = await self._name(client)
        if name is None:
            return
        route = self._routes.get(name.lower())
        if route is None:
            await self._answer_itself(client)
        elif not any(route[1] in allowed for allowed in _ALLOWED_PORTS):
            await _refuse(client, b"403 Access Denied")
        else:
            await self._tunnel(client, *route)

    async def _name(self, client: socket.socket) -> str | None:
        try:
            async with asyncio.timeout(_HELLO_LIMIT_S):
                return await peek(client, parse_hello)
        except (TimeoutError, ValueError, OSError):
            return None

    async def _answer_itself(self, client: socket.socket) -> None:
        if self._context is None:
            return
        async with asyncio.timeout(_HANDSHAKE_LIMIT_S):
            reader, writer = await accept_stream(client, self._context)
        try:
            async with asyncio.timeout(self._idle_s):
                if await reader.read(_CHUNK):
                    writer.write(_REFUSAL.replace(b"%s", b"400 Invalid HTTP Request"))
                    await writer.drain()
        finally:
            writer.close()

    async def _tunnel(self, client: socket.socket, host: str, port: int) -> None:
        try:
            async with asyncio.timeout(_DIAL_LIMIT_S):
                far_reader, far_writer = await asyncio.open_connection(host, port)
        except socket.gaierror:
            await _refuse(client, b"500 Unknown Host")
            return
        except OSError:
            return
        near_reader, near_writer = await accept_stream(client, None)
        try:
            async with asyncio.timeout(self._idle_s) as limit:
                await asyncio.gather(
                    self._pipe(near_reader, far_writer, limit),
                    self._pipe(far_reader, near_writer, limit),
                )
        except TimeoutError:
            log.debug("tunnel.idle", host=host, port=port)
        finally:
            near_writer.close()
            far_writer.close()

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: asyncio.Timeout
    ) -> None:
        """Carry one direction to its end; whatever comes renews the limit of both."""
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(_CHUNK):
                limit.reschedule(loop.time() + self._idle_s)
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            writer.close()


async def _refuse(client: socket.socket, text: bytes) -> None:
    """Answer in clear, as Traffic Server does: the client sees a wrong TLS version number."""
    _, writer = await accept_stream(client, None)
    writer.write(_REFUSAL.replace(b"%s", text))
    try:
        async with asyncio.timeout(_DIAL_LIMIT_S):
            await writer.drain()
    finally:
        writer.close()


async def accept_stream(
    client: socket.socket, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Wrap an accepted socket, as the server's side of TLS if a context is given."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=context)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def peek(client: socket.socket, parse: Callable[[bytes], Parsed | None]) -> Parsed:
    """Look at what has come until ``parse`` makes something of it; the caller limits the time.

    Raises `ConnectionError` when the peer closes first.
    """
    while True:
        await _readable(client)
        data = client.recv(_PEEK_BYTES, socket.MSG_PEEK)
        if not data:
            raise ConnectionResetError("closed before it sent anything")
        parsed = parse(data)
        if parsed is not None:
            return parsed
        await asyncio.sleep(_PEEK_PAUSE_S)


async def _readable(client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(client, wake)
    try:
        await ready
    finally:
        loop.remove_reader(client)
