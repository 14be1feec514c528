"""What a hub answers about trust, checked before it is stored: a hub can be wrong, or hostile."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from fedcore.errors import Invalid

_MAX_TRUST_BYTES: Final = 64 * 1024


def check_certificate(key_pem: bytes, chain_pem: bytes, roots_pem: bytes) -> None:
    """Raise Invalid unless a program can dial with what the hub answered.

    Stored unchecked, a wrong answer would lock the program out for good.
    """
    check_roots(roots_pem)
    try:
        leaf = x509.load_pem_x509_certificates(chain_pem)[0]
        ours = serialization.load_pem_private_key(key_pem, password=None).public_key()
        is_ours = leaf.public_key() == ours
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid("the hub answered with no certificate that can be used") from error
    if not is_ours:
        raise Invalid("the hub answered with a certificate for another key")


def check_roots(roots_pem: bytes) -> None:
    """Raise Invalid unless these are roots in PEM that a hub can be verified against."""
    if len(roots_pem) > _MAX_TRUST_BYTES:
        raise Invalid(f"the hub sent more than {_MAX_TRUST_BYTES} bytes of roots")
    try:
        roots_pem.decode("ascii")
        x509.load_pem_x509_certificates(roots_pem)
    except ValueError as error:
        raise Invalid("the hub sent no usable roots") from error
