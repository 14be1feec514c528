"""Keys and certificates of a participant: made here, signed by the hub, kept as a Secret.

The private key is nowhere but in this process's memory and in the Secret.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from fedagent.domain.document import CertificateSpec
from fedagent.domain.observed import CertificateView, OwnerView, SecretView
from fedagent.kube.ownership import PREFIX, Owner, owner_of
from fedcore.errors import Internal
from fedcore.words import KeyAlgorithm, KeyFormat
from fedproto.agent.v1 import certificate_pb2

Issue = Callable[[str, str, bytes], Awaitable[certificate_pb2.CertificateResponse]]
"""Ask the hub: (resource id, Secret's name, CSR as PEM). Unavailable when the hub is away."""

ISSUED_AT: Final = f"{PREFIX}issued-at"
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_RSA_BITS: Final = 3072
_RSA_EXPONENT: Final = 65537
_MAX_PEM_BYTES: Final = 330_000
_MAX_CHAIN: Final = 10


async def issue_secret(
    spec: CertificateSpec, owner: Owner, namespace: str, issue: Issue, *, now: datetime
) -> dict[str, Any]:
    """Make a key, have it signed, and return the Secret's body, ready to be applied.

    Raises what ``issue`` raises, and Internal when the hub answers something that does not fit.
    """
    key = await asyncio.to_thread(make_key, spec.key_algorithm)
    csr = await asyncio.to_thread(make_csr, key, spec.dns_names)
    answer = await issue(owner.resource_id, spec.secret_name, csr)
    chain, roots = answer.certificate_chain_pem, answer.trust.roots_pem
    error = chain_error(chain, roots, key.public_key(), spec.dns_names)
    if error:
        raise Internal(f"the hub's certificate for {spec.secret_name} does not fit: {error}")
    data = {
        spec.certificate_key: chain,
        spec.private_key_key: write_key(key, spec.key_format),
        spec.ca_key: roots,
    }
    return {
        "metadata": {
            "name": spec.secret_name,
            "namespace": namespace,
            "labels": owner.labels(),
            "annotations": {ISSUED_AT: now.isoformat()},
        },
        "type": "Opaque",
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def make_key(algorithm: KeyAlgorithm) -> PrivateKey:
    """Make a private key. RSA takes some hundred milliseconds: not in the event loop."""
    if algorithm is KeyAlgorithm.P256:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(_RSA_EXPONENT, _RSA_BITS)


def make_csr(key: PrivateKey, dns_names: tuple[str, ...]) -> bytes:
    """Make a PKCS#10 request; the hub takes nothing of it but the public key."""
    name = dns_names[0] if dns_names else "service"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def write_key(key: PrivateKey, key_format: KeyFormat) -> bytes:
    """Write a private key as PEM in the format that its reader understands."""
    style = (
        serialization.PrivateFormat.PKCS8
        if key_format is KeyFormat.PKCS8
        else serialization.PrivateFormat.TraditionalOpenSSL
    )
    return key.private_bytes(serialization.Encoding.PEM, style, serialization.NoEncryption())


def chain_error(
    chain_pem: bytes, roots_pem: bytes, public_key: Any, dns_names: tuple[str, ...]
) -> str:
    """Return what is wrong with a chain for this key and these names; empty when nothing is."""
    try:
        chain = _certificates(chain_pem)
        roots = _certificates(roots_pem)
        if _spki(chain[0].public_key()) != _spki(public_key):
            return "it is for another key"
        if sorted(names_of(chain[0])) != sorted(dns_names):
            return "it bears other names"
        return _path_error(chain, roots)
    except ValueError as reason:
        return str(reason)


def _certificates(pem: bytes) -> list[x509.Certificate]:
    if len(pem) > _MAX_PEM_BYTES:
        raise ValueError(f"more than {_MAX_PEM_BYTES} bytes of certificates")
    certificates = x509.load_pem_x509_certificates(pem)
    if len(certificates) > _MAX_CHAIN:
        raise ValueError(f"more than {_MAX_CHAIN} certificates")
    return certificates


def _path_error(chain: list[x509.Certificate], roots: list[x509.Certificate]) -> str:
    for child, issuer in pairwise(chain):
        if not _is_issued_by(child, issuer):
            return "its chain is broken"
    last = chain[-1]
    if any(last == root or _is_issued_by(last, root) for root in roots):
        return ""
    return "its chain leads to no root that the hub names"


def _is_issued_by(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _spki(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the DNS names that a certificate bears."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(extension.value.get_values_for_type(x509.DNSName))


def read_secret(spec: CertificateSpec, body: Mapping[str, Any]) -> SecretView:
    """Return what a Secret of the cluster holds, or why its content cannot be used."""
    label = owner_of(body)
    owner = None if label is None else OwnerView(label.hub_id, label.resource_id)
    annotations = body["metadata"].get("annotations") or {}
    data = body.get("data") or {}
    try:
        chain_pem, key_pem, roots_pem = (
            base64.b64decode(data[name], validate=True)
            for name in (spec.certificate_key, spec.private_key_key, spec.ca_key)
        )
        public_key = _load_key(key_pem).public_key()
        certificate = _view_of(_certificates(chain_pem)[0])
        error = chain_error(chain_pem, roots_pem, public_key, certificate.dns_names)
    except KeyError as missing:
        certificate, error = None, f"its key {missing} is missing"
    except (ValueError, TypeError, binascii.Error):
        certificate, error = None, "its content cannot be read"
    issued_at = annotations.get(ISSUED_AT)
    return SecretView(
        name=spec.secret_name,
        owner=owner,
        certificate=certificate,
        error=error,
        issued_at=_time(issued_at),
    )


def _load_key(pem: bytes) -> Any:
    """Read a private key; ValueError where it is none, or its parts do not fit together.

    Proving that RSA's primes are primes takes 0.13 s of a core, and proves nothing here: the
    modulus is compared with a certificate's, which the hub gave for a key that was made here, and
    has no other factors.
    """
    key = serialization.load_pem_private_key(
        pem, password=None, unsafe_skip_rsa_key_validation=True
    )
    if isinstance(key, rsa.RSAPrivateKey) and not _fits_together(key.private_numbers()):
        raise ValueError("the numbers of its key do not fit together")
    return key


def _fits_together(key: rsa.RSAPrivateNumbers) -> bool:
    modulus, exponent = key.public_numbers.n, key.public_numbers.e
    if not 1 < key.p < modulus or key.p * key.q != modulus:
        return False
    return (
        (key.dmp1, key.dmq1) == (key.d % (key.p - 1), key.d % (key.q - 1))
        and key.dmp1 * exponent % (key.p - 1) == 1
        and key.dmq1 * exponent % (key.q - 1) == 1
        and key.iqmp * key.q % key.p == 1
    )


def roots_of(spec: CertificateSpec, body: Mapping[str, Any]) -> bytes:
    """Return the roots that a Secret holds, PEM; empty when there are none."""
    try:
        return base64.b64decode((body.get("data") or {})[spec.ca_key], validate=True)
    except (KeyError, binascii.Error):
        return b""


def _view_of(certificate: x509.Certificate) -> CertificateView:
    return CertificateView(
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        dns_names=names_of(certificate),
    )


def _time(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
