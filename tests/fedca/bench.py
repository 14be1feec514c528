"""An authority to try things on, what it issues, and a request that asks for too much."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from subprocess import CompletedProcess

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID

from fedca.authority import Authority, AuthoritySettings, IssuedCertificate, IssueRequest, Subject
from fedca.csr import make_csr_pem
from fedca.keys import KeyKind, PrivateKey, make_private_key
from fedca.ledger import Ledger
from fedca.sealing import Sealer

OpenSsl = Callable[..., CompletedProcess[str]]

START = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
DOMAIN = "fed-a.example.com"
MANY_NAMES, DOUBLED_EXTENSION = 1, 2


class SetClock:
    """A clock that moves when it is told to."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def advance(self, by: timedelta) -> None:
        self.at += by


@dataclass
class Bench:
    """An authority and all that it was made from."""

    authority: Authority
    ledger: Ledger
    sealer: Sealer
    clock: SetClock
    settings: AuthoritySettings

    async def reopened(self, settings: AuthoritySettings | None = None) -> Authority:
        """Open the same ledger again, as another process would."""
        return await Authority.open(
            ledger=self.ledger,
            sealer=self.sealer,
            clock=self.clock,
            settings=settings or self.settings,
        )

    async def issue(
        self, profile: str, *, kind: KeyKind = KeyKind.P256, **subject: str | int
    ) -> IssuedCertificate:
        """Issue to a usual subject, changed by ``subject``, for a fresh key."""
        request = IssueRequest(
            profile=profile,
            subject=usual_subject(**subject),
            csr_pem=make_csr_pem(make_private_key(kind)),
            requested_by="test",
        )
        return await self.authority.issue(request)

    @property
    def root(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.authority.trust_bundle().roots_pem)


def usual_subject(**changes: str | int) -> Subject:
    fields: dict[str, str | int] = {
        "site_id": "site-1",
        "site_name": "alpha",
        "agent_id": "agent-1",
        "federation_id": "fed-a",
        "domain": DOMAIN,
        "party_id": 9999,
    }
    return Subject(**(fields | changes))


def request(csr_pem: bytes, profile: str = "agent", **subject: str | int) -> IssueRequest:
    return IssueRequest(profile, usual_subject(**subject), csr_pem, requested_by="test")


def leaf_of(issued: IssuedCertificate) -> x509.Certificate:
    return x509.load_pem_x509_certificates(issued.chain_pem)[0]


def issuer_of(issued: IssuedCertificate) -> x509.Certificate:
    return x509.load_pem_x509_certificates(issued.chain_pem)[1]


def hostile_csr(key: PrivateKey, *, with_csr_extensions: int = 0) -> bytes:
    """Ask for everything that nobody may have; 1: 200 names, 2: a doubled extension."""
    wishes: list[x509.GeneralName] = [
        x509.DNSName("hub.federation.internal"),
        x509.DNSName("*.federation.internal"),
        x509.UniformResourceIdentifier("spiffe://federation.internal/site/x/agent/y"),
        x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
        x509.RFC822Name("root@example.com"),
    ]
    if with_csr_extensions == MANY_NAMES:
        wishes += [x509.DNSName(f"host-{number}.example.com") for number in range(200)]
    unrecognized = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.20"), b"\x02\x01\x01")
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub.evil")]))
        .add_extension(x509.SubjectAlternativeName(wishes), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=5), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), critical=True
        )
        .add_extension(unrecognized, critical=True)
        .add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"let me in")
        .sign(key, hashes.SHA256())
    )
    if with_csr_extensions != DOUBLED_EXTENSION:
        return request.public_bytes(Encoding.PEM)
    return _with_doubled_extension(request, key)


def _with_doubled_extension(request: x509.CertificateSigningRequest, key: PrivateKey) -> bytes:
    """Rename one extension to another's identifier and sign again: a builder refuses to."""
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    body = request.tbs_certrequest_bytes
    crl_number, basic_constraints = bytes.fromhex("0603551d14"), bytes.fromhex("0603551d13")
    assert body.count(crl_number) == 1
    body = body.replace(crl_number, basic_constraints)
    signature = key.sign(body, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    content = body + algorithm + bytes([3, len(signature) + 1, 0]) + signature
    der = b"\x30\x82" + len(content).to_bytes(2, "big") + content
    text = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + text + b"-----END CERTIFICATE REQUEST-----\n"
