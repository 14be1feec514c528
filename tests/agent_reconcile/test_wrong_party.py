"""A route that leads to another's certificate: told as a warning, and never as proven."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedagent.domain.document import CertificateSpec
from fedagent.domain.timing import PlanTiming
from fedagent.kube.ownership import Owner
from fedagent.reconcile.certificates import issue_secret
from fedcore.clock import SystemClock
from fedcore.words import KeyAlgorithm, KeyFormat
from fedproto.agent.v1 import status_pb2
from fedsim.kube import Delays

NAME = "9999.credit.example.com"
FILES = ("broker.cert.pem", "broker.key-pk8.pem", "ca.cert.pem")
WISH = CertificateSpec(
    "pulsar-cert", "pulsar", KeyAlgorithm.P256, KeyFormat.PKCS8, *FILES, (NAME,), ()
)


@asynccontextmanager
async def broker(hub: Any, folder: Path, ports: Iterator[int]) -> AsyncIterator[int]:
    """Serve TLS with the party's certificate of ``hub``, on a port that a tunnel may have."""
    hub.names["party-1/pulsar-cert"] = (NAME,)
    owner = Owner("hub-1", "party-1")
    body = await issue_secret(
        WISH, owner, "fate-9999", hub.issue_certificate, now=SystemClock().now()
    )
    folder.mkdir()
    for name in FILES[:2]:
        (folder / name).write_bytes(base64.b64decode(body["data"][name]))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / FILES[0], folder / FILES[1])

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = None
    while server is None:
        try:
            server = await asyncio.start_server(greet, "127.0.0.1", next(ports), ssl=context)
        except OSError:
            continue
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_an_address_with_another_certificate_is_a_warning_of_the_exchange(
    docs: Any, tmp_path: Path
) -> None:
    slow = replace(Delays.none(), sni_reload_s=(0.5, 0.5))
    ports = iter(range(32_100, 33_000))
    async with docs.open_site(tmp_path / "site", delays=slow) as site:
        site.plan_timing = PlanTiming(reload_s=1.2)
        right = broker(site.hub, tmp_path / "right", ports)
        wrong = broker(docs.hub(), tmp_path / "wrong", ports)
        async with right as good, wrong as bad:
            route = (9999, "127.0.0.1", good, "127.0.0.1", 30103)
            await site.put(docs.endpoint(), docs.exchange(1, [route]))
            site.start()
            await site.until("exchange-1", "READY")
            before = len(await site.events())
            await site.put(docs.exchange(2, [(9999, "127.0.0.1", bad, "127.0.0.1", 30103)]))
            status = await site.until("exchange-1", "READY", generation=2)
            (probe,) = status.probes
            assert probe.state == status_pb2.PROBE_STATE_PARTY_DOWN
            (finding,) = status.findings
            assert finding.code == "WrongPartyCertificate"
            assert finding.severity == status_pb2.SEVERITY_WARNING
            assert f"party 9999 at 127.0.0.1:{bad}" in finding.message
            assert "its certificate is wrong" in finding.message
            told = [event.kind for event in (await site.events())[before:]]
            assert "route.reachable" not in told
            assert "participant.trouble" in told
            await site.put(docs.exchange(3, [route]))
            status = await site.until("exchange-1", "READY", generation=3)
            assert not status.findings
