"""Fixtures of the authority's tests: a clock that is set, an authority, the openssl program."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from tests.fedca.bench import START, Bench, OpenSsl, SetClock

from fedca.authority import Authority, AuthoritySettings
from fedca.ledger import MemoryLedger
from fedca.sealing import Sealer


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


async def a_bench(clock: SetClock) -> Bench:
    settings = AuthoritySettings(
        hub_dns_names=("localhost", "fed.example.org"), hub_ip_addresses=("127.0.0.1", "::1")
    )
    ledger, sealer = MemoryLedger(), Sealer(os.urandom(32))
    authority = await Authority.open(ledger=ledger, sealer=sealer, clock=clock, settings=settings)
    return Bench(authority, ledger, sealer, clock, settings)


@pytest.fixture
async def bench(clock: SetClock) -> Bench:
    return await a_bench(clock)


@pytest.fixture
async def other_bench(clock: SetClock) -> Bench:
    return await a_bench(clock)


@pytest.fixture
def openssl(tmp_path: Path) -> OpenSsl:
    """Run ``openssl verify`` strictly on PEM given as bytes; the time is the clock's start."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("the openssl program is absent: apt-get install openssl")

    def verify(
        leaf: bytes,
        issuers: bytes,
        roots: bytes,
        *options: str,
        at: datetime = START,
        crl: bytes = b"",
    ) -> subprocess.CompletedProcess[str]:
        files = {"leaf": leaf, "issuers": issuers, "roots": roots, "crl": crl}
        for name, content in files.items():
            (tmp_path / f"{name}.pem").write_bytes(content)
        command = [
            program, "verify", "-x509_strict", "-attime", str(int(at.timestamp())),
            "-CAfile", str(tmp_path / "roots.pem"), "-untrusted", str(tmp_path / "issuers.pem"),
            *(("-CRLfile", str(tmp_path / "crl.pem")) if crl else ()),
            *options, str(tmp_path / "leaf.pem"),
        ]  # fmt: skip
        return subprocess.run(  # noqa: S603 - our own arguments, no shell
            command, capture_output=True, text=True, timeout=20, check=False
        )

    return verify
