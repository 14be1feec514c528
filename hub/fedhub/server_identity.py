"""The hub's own certificates: renewed while it serves, and shown at the next handshake."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from fedca.authority import Authority, IssueRequest, Subject
from fedca.csr import make_csr_pem
from fedca.keys import make_private_key, private_key_pem
from fedca.names import ProfileName
from fedca.renewal import renew_at
from fedcore.clock import Clock
from fedhub.instruments import Instruments


@dataclass(slots=True)
class ServerIdentity:
    """The hub's own key and certificate; renewed while it serves, for new handshakes."""

    authority: Authority
    clock: Clock
    folder: Path
    profile: ProfileName
    key_pem: bytes = b""
    chain_pem: bytes = b""
    due: float = 0.0

    async def renew_if_due(self) -> bool:
        """Get a certificate for a new key at 2/3 of life; return whether it did."""
        if self.chain_pem and self.clock.now().timestamp() < self.due:
            return False
        key = make_private_key()
        issued = await self.authority.issue(
            IssueRequest(
                profile=self.profile,
                subject=Subject(),
                csr_pem=make_csr_pem(key),
                requested_by="hub",
            )
        )
        self.key_pem, self.chain_pem = private_key_pem(key), issued.chain_pem
        self.due = renew_at(issued.not_before, issued.not_after, spread=0.0).timestamp()
        return True

    def ssl_context(self) -> ssl.SSLContext:
        """Build the context of the HTTPS listener, TLS 1.2 or newer."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.load_into(context)
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """Load the present certificate; the ssl module reads files only, so they exist shortly."""
        path = self.folder / "server.pem"
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_bytes(self.key_pem + self.chain_pem)
        try:
            context.load_cert_chain(path)
        finally:
            path.unlink()


@dataclass(slots=True)
class GrpcCertificates:
    """What a gRPC port shows and trusts; asked at every handshake.

    ``fetch`` answers None while nothing changed. That is more than thrift: gRPC swaps in each
    configuration that it is given without a lock, while other handshakes use the one before, and
    crashes in a storm of connections.
    """

    identity: ServerIdentity
    client_anchor: Callable[[], bytes] | None
    shown: tuple[bytes, bytes, bytes | None] = (b"", b"", None)

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the configuration, if it is another one than the last time."""
        anchor = self.client_anchor() if self.client_anchor is not None else None
        present = (self.identity.key_pem, self.identity.chain_pem, anchor)
        if present == self.shown:
            return None
        self.shown = present
        return self._configuration()

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        key_pem, chain_pem, anchor = self.shown
        return grpc.ssl_server_certificate_configuration([(key_pem, chain_pem)], anchor)

    def first(self) -> grpc.ServerCertificateConfiguration:
        """Return the configuration to begin with."""
        self.fetch()
        return self._configuration()


def grpc_credentials(
    identity: ServerIdentity, client_anchor: Callable[[], bytes] | None
) -> grpc.ServerCredentials:
    """Server credentials that take up a renewed certificate and new anchors while they serve."""
    certificates = GrpcCertificates(identity, client_anchor)
    return grpc.dynamic_ssl_server_credentials(
        certificates.first(),
        certificates.fetch,  # type: ignore[arg-type] # the stub forgets that None means unchanged
        require_client_authentication=client_anchor is not None,
    )


async def renew_certificates(
    link: ServerIdentity,
    console: ServerIdentity,
    context: ssl.SSLContext,
    instruments: Instruments,
) -> None:
    """Renew the hub's certificates if they are due; new handshakes show them at once."""
    if await link.renew_if_due():
        instruments.renewals.labels("hub").inc()
    if await console.renew_if_due():
        instruments.renewals.labels("console").inc()
        console.load_into(context)
