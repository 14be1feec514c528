"""Certificate requests: proof that the asker holds a key. Nothing else in one counts."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from fedca.keys import KeyKind, PrivateKey, PublicKey, signing_hash, spki_sha256
from fedcore.errors import FieldError, Invalid
from fedcore.limits import MAX_CSR_BYTES

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 4096
"""Above, a signature check alone costs a hub milliseconds."""
ANY_KIND: Final = frozenset(KeyKind)
_RSA_EXPONENT: Final = 65537

_PEM = re.compile(
    rb"\s*-----BEGIN (?P<label>(?:NEW )?CERTIFICATE REQUEST)-----"
    rb"(?P<body>[A-Za-z0-9+/=\s]+)"
    rb"-----END (?P=label)-----\s*"
)
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


@dataclass(frozen=True, slots=True)
class RequestedKey:
    """The one thing that a request contributes."""

    public_key: PublicKey
    kind: KeyKind
    spki_sha256: str


def parse_csr(csr_pem: bytes, *, allowed: Collection[KeyKind] = ANY_KIND) -> RequestedKey:
    """Take the public key out of a PKCS#10 request; ``Invalid`` says what is wrong with it.

    One PEM block of 16 KiB at most; a key of an allowed kind and an ordinary size; a signature by
    that key over SHA-2. Names and extensions are neither read nor checked.
    """
    request = _parse(csr_pem)
    try:
        key = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _wrong("its public key is of no kind that we accept") from None
    # The kind first: a signature is not checked under a key of absurd size.
    public_key, kind = _accepted(key, allowed)
    _check_signature(request)
    return RequestedKey(public_key, kind, spki_sha256(public_key))


def make_csr_pem(key: PrivateKey) -> bytes:
    """Write a request that proves possession of ``key`` and names nobody."""
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    return builder.sign(key, signing_hash(key)).public_bytes(Encoding.PEM)


def _parse(csr_pem: bytes) -> x509.CertificateSigningRequest:
    if len(csr_pem) > MAX_CSR_BYTES:
        raise _wrong(f"it is larger than {MAX_CSR_BYTES} bytes")
    match = _PEM.fullmatch(csr_pem)
    if match is None:
        raise _wrong("it is not one PEM block CERTIFICATE REQUEST")
    try:
        der = base64.b64decode(b"".join(match["body"].split()), validate=True)
        return x509.load_der_x509_csr(der)
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise _wrong("it is not a PKCS#10 request") from None


def _accepted(key: object, allowed: Collection[KeyKind]) -> tuple[PublicKey, KeyKind]:
    if isinstance(key, ec.EllipticCurvePublicKey):
        kind = _curve_kind(key.curve)
    elif isinstance(key, rsa.RSAPublicKey):
        kind = _rsa_kind(key)
    else:
        raise _wrong("its key is neither P-256, P-384 nor RSA")
    if kind not in allowed:
        kinds = ", ".join(sorted(allowed))
        raise _wrong(f"a key of kind {kind} is not accepted here (accepted: {kinds})")
    return key, kind


def _curve_kind(curve: ec.EllipticCurve) -> KeyKind:
    match curve:
        case ec.SECP256R1():
            return KeyKind.P256
        case ec.SECP384R1():
            return KeyKind.P384
        case _:
            raise _wrong(f"the curve {curve.name} is not accepted (P-256 and P-384 are)")


def _rsa_kind(key: rsa.RSAPublicKey) -> KeyKind:
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise _wrong(f"an RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    if key.public_numbers().e != _RSA_EXPONENT:
        raise _wrong(f"an RSA key must have the exponent {_RSA_EXPONENT}")
    return KeyKind.RSA


def _check_signature(request: x509.CertificateSigningRequest) -> None:
    try:
        is_valid = (
            isinstance(request.signature_hash_algorithm, _HASHES) and request.is_signature_valid
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        is_valid = False
    if not is_valid:
        raise _wrong("it is not signed by its own key with SHA-256, SHA-384 or SHA-512")


def _wrong(message: str) -> Invalid:
    field_error = FieldError("csr_pem", message)
    return Invalid(f"the certificate request is refused: {message}", errors=(field_error,))
