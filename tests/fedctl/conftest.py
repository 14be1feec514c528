"""A hub's REST API in memory, over real TLS, and a way to run fedctl against it."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.patience import patient

from fedctl import cli
from fedctl.timing import Timing
from fedhub.domain.federation import FederationIntent

TOKEN = "hub-token-of-the-test"
Json = dict[str, Any]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(slots=True)
class FakeHub:
    """Answers what a test put there; remembers what was asked."""

    url: str = ""
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def on(
        self, method: str, path: str, body: Any = None, status: int = 200, **headers: str
    ) -> None:
        """Answer a request with a body, always the same."""

        async def answer(_request: web.Request) -> web.Response:
            return web.json_response(body, status=status, headers=headers)

        self.answers[method, path] = answer

    def handle(self, method: str, path: str, answer: Answer) -> None:
        self.answers[method, path] = answer

    def problem(self, method: str, path: str, status: int, code: str, **more: Any) -> None:
        body = {
            "type": f"urn:x:{code}",
            "title": code,
            "status": status,
            "detail": more.pop("detail", f"it is {code}"),
            "code": code,
            "retryable": more.pop("retryable", False),
            "request_id": "req-1",
            "errors": more.pop("errors", []),
        }
        self.on(method, path, body, status)

    def calls(self, method: str | None = None) -> list[str]:
        return [r.path_qs for r in self.requests if method in {None, r.method}]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            body = {"code": "unauthenticated", "detail": "no such token", "request_id": "r"}
            return web.json_response(body, status=401)
        answer = self.answers.get((request.method, request.path))
        if answer is None:
            body = {"code": "not_found", "detail": f"there is no {request.path}"}
            return web.json_response(body, status=404)
        return await answer(request)


def _certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = directory / "ca.pem", directory / "key.pem"
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory) -> tuple[Path, Path]:
    return _certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def hub(tls_files) -> AsyncIterator[FakeHub]:
    fake = FakeHub()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", fake.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    fake.url = f"https://127.0.0.1:{port}"
    yield fake
    await runner.cleanup()


@pytest.fixture
def configured(hub, tls_files, tmp_path, monkeypatch) -> Path:
    path = tmp_path / "fedctl.toml"
    (tmp_path / "token").write_text(TOKEN + "\n")
    path.write_text(f'hub = "{hub.url}"\ntoken_file = "token"\nca_file = "{tls_files[0]}"\n')
    monkeypatch.setenv("FEDCTL_CONFIG", str(path))
    for name in ("FEDCTL_HUB", "FEDCTL_TOKEN_FILE", "FEDCTL_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def timing() -> Timing:
    """Waits that are short, because the hub is a function in this process."""
    return Timing(
        retry_first_pause_s=0.001,
        retry_jitter_s=0.001,
        poll_interval_s=0.01,
        stream_reopen_pause_s=0.0,
    )


@pytest.fixture
def fedctl(capfd, timing):
    """Run a command to its end in a thread, as a process would."""

    async def run(*arguments: str) -> Ended:
        capfd.readouterr()
        code = await asyncio.wait_for(
            asyncio.to_thread(cli.run, list(arguments), timing=timing), patient()
        )
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return run


@pytest.fixture
def openapi() -> Json:
    """The part of the hub's OpenAPI document that describes the file."""
    schema = FederationIntent.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs")
    return {
        "info": {"version": "1.0.0"},
        "components": {"schemas": {**definitions, "FederationIntent": schema}},
    }
