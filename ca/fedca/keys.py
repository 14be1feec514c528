"""Private keys: making them, writing and reading them, naming their public half."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import assert_never

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from fedcore.errors import Invalid

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class KeyKind(StrEnum):
    """A kind of key; ``RSA`` is 3,072 bits when we make it."""

    P256 = "p256"
    P384 = "p384"
    RSA = "rsa"


class KeyFormat(StrEnum):
    """How a private key is written as PEM: a Pulsar broker reads PKCS#8 alone."""

    PKCS8 = "pkcs8"
    TRADITIONAL = "traditional"


_FORMATS = {
    KeyFormat.PKCS8: PrivateFormat.PKCS8,
    KeyFormat.TRADITIONAL: PrivateFormat.TraditionalOpenSSL,
}


def make_private_key(kind: KeyKind = KeyKind.P256) -> PrivateKey:
    """Make a new private key; RSA takes a quarter of a second, call it by ``to_thread``."""
    match kind:
        case KeyKind.P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyKind.RSA:
            return rsa.generate_private_key(public_exponent=65537, key_size=3072)
        case _:
            assert_never(kind)


def private_key_pem(key: PrivateKey, form: KeyFormat = KeyFormat.PKCS8) -> bytes:
    """Write a private key in clear; whoever stores it answers for the place."""
    return key.private_bytes(Encoding.PEM, _FORMATS[form], NoEncryption())


def private_key_der(key: PrivateKey) -> bytes:
    """Write a private key in clear as PKCS#8 DER; the form that is sealed."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def load_private_key(data: bytes) -> PrivateKey:
    """Read an unencrypted private key, PEM (either format) or PKCS#8 DER; ``Invalid`` if it is not.

    The error holds nothing of the key.
    """
    load = load_pem_private_key if data.lstrip().startswith(b"-----") else load_der_private_key
    try:
        key = load(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Invalid("this is no private key that can be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Invalid("the private key is neither elliptic-curve nor RSA")
    return key


def spki_der(key: PublicKey) -> bytes:
    """Write a public key as SubjectPublicKeyInfo, the bytes that name it everywhere."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def spki_sha256(key: PublicKey) -> str:
    """Name a public key: lower-case hexadecimal SHA-256 of its SubjectPublicKeyInfo."""
    return hashlib.sha256(spki_der(key)).hexdigest()


def signing_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384:
    """Choose the hash that a key signs with: as strong as its curve."""
    is_p384 = isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1)
    return hashes.SHA384() if is_p384 else hashes.SHA256()
