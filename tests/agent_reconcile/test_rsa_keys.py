"""An RSA key of a Secret is looked at with care, though not with primality tests."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fedagent.domain.document import CertificateSpec
from fedagent.kube.ownership import Owner
from fedagent.reconcile.certificates import issue_secret, read_secret
from fedcore.words import KeyAlgorithm, KeyFormat

NAMES = ("9999.fed.example.com",)
WISH = CertificateSpec(
    "pulsar-cert",
    "pulsar",
    KeyAlgorithm.RSA3072,
    KeyFormat.TRADITIONAL,
    "broker.cert.pem",
    "broker.key.pem",
    "ca.cert.pem",
    NAMES,
    (),
)
FIELDS = ("p", "q", "d", "dmp1", "dmq1", "iqmp")


async def issued(docs: Any) -> dict[str, Any]:
    hub = docs.hub()
    hub.names["party-1/pulsar-cert"] = NAMES
    owner = Owner("hub-1", "party-1", federation="fed")
    return await issue_secret(
        WISH, owner, "fate-9999", hub.issue_certificate, now=datetime(2026, 5, 4, tzinfo=UTC)
    )


def field(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 + len(length)]) + length + content


def number(value: int) -> bytes:
    return field(2, value.to_bytes(value.bit_length() // 8 + 1))


def pem_of(modulus: int, exponent: int, parts: dict[str, int]) -> bytes:
    """Write any numbers as PKCS#1: the library writes no broken key."""
    order = ("d", "p", "q", "dmp1", "dmq1", "iqmp")
    values = [0, modulus, exponent, *(parts[name] for name in order)]
    body = base64.encodebytes(field(0x30, b"".join(number(value) for value in values)))
    return b"-----BEGIN RSA PRIVATE KEY-----\n" + body + b"-----END RSA PRIVATE KEY-----\n"


async def test_a_whole_key_is_taken_and_one_with_any_part_changed_is_not(docs: Any) -> None:
    body = await issued(docs)
    assert read_secret(WISH, body).error == ""
    key = serialization.load_pem_private_key(
        base64.b64decode(body["data"]["broker.key.pem"]), password=None
    )
    assert isinstance(key, rsa.RSAPrivateKey)
    numbers = key.private_numbers()
    public = numbers.public_numbers
    whole = {name: getattr(numbers, name) for name in FIELDS}
    assert error_of(body, pem_of(public.n, public.e, whole)) == ""
    for name in FIELDS:
        spoilt = pem_of(public.n, public.e, {**whole, name: whole[name] + 2})
        assert error_of(body, spoilt) == "its content cannot be read", name
    trivial = {**whole, "p": 1, "q": public.n}
    assert error_of(body, pem_of(public.n, public.e, trivial)) == "its content cannot be read"


def error_of(body: dict[str, Any], key_pem: bytes) -> str:
    data = {**body["data"], "broker.key.pem": base64.b64encode(key_pem).decode()}
    return read_secret(WISH, {**body, "data": data}).error


async def test_another_whole_key_is_another_key(docs: Any) -> None:
    body, other = await issued(docs), await issued(docs)
    key_pem = base64.b64decode(other["data"]["broker.key.pem"])
    assert "another key" in error_of(body, key_pem)


async def test_a_key_of_another_size_is_another_key(docs: Any) -> None:
    body = await issued(docs)
    small = rsa.generate_private_key(65537, 2048)
    pem = small.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    assert "another key" in error_of(body, pem)
