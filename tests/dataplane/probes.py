"""What a party does: it opens tunnels by its own Pulsar table and posts by its own nginx table."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from dataclasses import dataclass
from typing import Final, Self

import aiohttp
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from tests.support.dataplane import Deployed, DeployedParty, cut
from tests.support.patience import patient, time_limit
from tests.support.proxy_host import Address

PROBE_LIMIT_S: Final = 3.0
"""A proxy that does not answer is asked again: this limit is the pause, not the end."""
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class WayOut:
    """How a party leaves its site, read from the files that its own charts wrote."""

    ats: Address
    domain: str
    nginx: Address

    @classmethod
    def of(cls, party: DeployedParty) -> Self:
        """Read it. FATE-Flow asks for ``<id>.<domain>`` through ``proxy`` by SNI."""
        pulsar = yaml.safe_load(party.config_maps["pulsar-route-table"]["pulsar_route_table.yaml"])
        nginx = yaml.safe_load(party.config_maps["nginx-config"]["route_table.yaml"])
        ip, port = pulsar["default"]["proxy"].split(":")
        target = nginx["default"]["proxy"][0]
        return cls(
            (ip, int(port)), pulsar["default"]["domain"], (target["host"], target["http_port"])
        )

    def name(self, party_id: int) -> str:
        """Return what another party is called."""
        return f"{party_id}.{self.domain}"


@dataclass(slots=True)
class Tunnel:
    """An open connection to a party's broker through the exchange; ``greeting`` names the party."""

    greeting: str
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, address: Address, name: str, roots_pem: bytes) -> Self:
        """Open one; chain and host name are checked."""
        context = ssl.create_default_context(cadata=roots_pem.decode())
        async with time_limit(PROBE_LIMIT_S):
            reader, writer = await asyncio.open_connection(
                *address, ssl=context, server_hostname=name
            )
            greeting = (await reader.readline()).decode().strip()
        return cls(greeting, reader, writer)

    async def echoes(self, text: str) -> bool:
        """Tell whether the broker at the other end still answers."""
        async with time_limit(PROBE_LIMIT_S):
            self._writer.write(f"{text}\n".encode())
            await self._writer.drain()
            return (await self._reader.readline()).decode().strip() == text

    async def close(self) -> None:
        """Cut it."""
        await cut(self._writer)


async def reached(address: Address, name: str, roots_pem: bytes) -> str:
    """Return who answers to a name; whatever is wrong with the certificate raises."""
    tunnel = await Tunnel.open(address, name, roots_pem)
    await tunnel.close()
    return tunnel.greeting


async def presented(address: Address, name: str) -> tuple[str, ...]:
    """Return the names of the certificate that is shown for an SNI; nothing is checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with time_limit(PROBE_LIMIT_S):
        _, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=name)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    await cut(writer)
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_oid(
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME
    )
    assert isinstance(names.value, x509.SubjectAlternativeName)
    return tuple(names.value.get_values_for_type(x509.DNSName))


async def posted(address: Address, headers: dict[str, str]) -> tuple[int, object]:
    """Post as FATE-Flow does; return the status and who answered."""
    limit = aiohttp.ClientTimeout(total=patient(PROBE_LIMIT_S))
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.post(
            f"http://{address[0]}:{address[1]}/v1/party/x/create", headers=headers, json={}
        ) as answer,
    ):
        body = await answer.json() if answer.status == 200 else {}
        return answer.status, body.get("party")


def to(party_id: int, service: str = "fateflow") -> dict[str, str]:
    """Return the headers that FATE-Flow sends."""
    return {"dest-party-id": str(party_id), "service": service}


async def check_every_route(deployed: Deployed) -> None:
    """Have every party reach every other by its own tables; nothing less than all will do."""
    for asker, other in itertools.permutations(deployed.parties, 2):
        way = WayOut.of(asker)
        greeting = await reached(way.ats, way.name(other.id), deployed.roots_pem)
        assert greeting == f"party {other.id}"
        assert await posted(way.nginx, to(other.id)) == (200, other.id)
