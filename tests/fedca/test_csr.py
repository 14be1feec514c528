"""Certificate requests: only the key counts, and only a decent key."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fedca.bench import hostile_csr

from fedca.csr import make_csr_pem, parse_csr
from fedca.keys import (
    KeyFormat,
    KeyKind,
    PublicKey,
    load_private_key,
    make_private_key,
    private_key_der,
    private_key_pem,
    spki_der,
    spki_sha256,
)
from fedcore.errors import Invalid

P256 = ec.generate_private_key(ec.SECP256R1())
GOOD = make_csr_pem(P256)


def pem(der: bytes, label: str = "CERTIFICATE REQUEST") -> bytes:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n".encode()


def tlv(tag: int, content: bytes) -> bytes:
    """Write one DER element."""
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    width = (size.bit_length() + 7) // 8
    return bytes([tag, 0x80 | width]) + size.to_bytes(width, "big") + content


def with_another_key(der: bytes, key: PublicKey) -> bytes:
    """Write a request for ``key`` with a signature that is not its own."""
    signed = x509.load_der_x509_csr(der)
    body = tlv(0x02, b"\0") + tlv(0x30, b"") + spki_der(key) + tlv(0xA0, b"")
    rsa_with_sha256 = bytes.fromhex("300d06092a864886f70d01010b0500")
    signature = tlv(0x03, b"\0" + signed.signature)
    return tlv(0x30, tlv(0x30, body) + rsa_with_sha256 + signature)


def der_of(csr_pem: bytes) -> bytes:
    return x509.load_pem_x509_csr(csr_pem).public_bytes(Encoding.DER)


HOSTILE = der_of(hostile_csr(P256))


@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_request_gives_its_key_and_its_kind(kind: KeyKind) -> None:
    key = make_private_key(kind)
    asked = parse_csr(make_csr_pem(key))
    assert asked.kind is kind
    assert asked.spki_sha256 == spki_sha256(key.public_key())
    assert asked.public_key == key.public_key()


def test_an_older_label_and_blank_lines_around_are_read() -> None:
    asked = parse_csr(b"\r\n" + pem(der_of(GOOD), "NEW CERTIFICATE REQUEST") + b"\n\n")
    assert asked.spki_sha256 == spki_sha256(P256.public_key())


def test_a_kind_that_the_profile_does_not_take_is_refused() -> None:
    with pytest.raises(Invalid, match=r"p256 is not accepted here \(accepted: p384\)"):
        parse_csr(GOOD, allowed={KeyKind.P384})


@pytest.mark.parametrize("bits", [1024, 1536, 2047])
def test_a_weak_rsa_key_is_refused(bits: int) -> None:
    with pytest.raises(Invalid, match="2048 to 4096"):
        parse_csr(make_csr_pem(rsa.generate_private_key(65537, bits)))


@pytest.mark.parametrize("bits", [4097, 8192, 65536])
def test_a_huge_rsa_key_is_refused_before_its_signature_is_checked(bits: int) -> None:
    small = rsa.generate_private_key(65537, 2048)
    huge = rsa.RSAPublicNumbers(65537, (1 << bits) - 1).public_key()
    with pytest.raises(Invalid, match=r"2048 to 4096|of no kind"):
        parse_csr(pem(with_another_key(der_of(make_csr_pem(small)), huge)))


def test_an_odd_rsa_exponent_is_refused() -> None:
    with pytest.raises(Invalid, match="exponent"):
        parse_csr(make_csr_pem(rsa.generate_private_key(3, 2048)))


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP521R1(), ec.SECP224R1()])
def test_an_odd_curve_is_refused(curve: ec.EllipticCurve) -> None:
    with pytest.raises(Invalid, match="curve"):
        parse_csr(make_csr_pem(ec.generate_private_key(curve)))


def test_an_edwards_key_is_refused() -> None:
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    request = builder.sign(ed25519.Ed25519PrivateKey.generate(), None)
    with pytest.raises(Invalid, match="neither P-256"):
        parse_csr(request.public_bytes(Encoding.PEM))


def test_a_weak_hash_is_refused() -> None:
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    request = builder.sign(P256, hashes.SHA224())
    with pytest.raises(Invalid, match="SHA-256"):
        parse_csr(request.public_bytes(Encoding.PEM))


def test_another_keys_signature_is_refused() -> None:
    der, other = der_of(GOOD), ec.generate_private_key(ec.SECP256R1())
    ours = P256.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    theirs = other.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with pytest.raises(Invalid, match="not signed by its own key"):
        parse_csr(pem(der.replace(ours, theirs)))


def test_a_point_off_the_curve_is_refused() -> None:
    ours = P256.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with pytest.raises(Invalid):
        parse_csr(pem(der_of(GOOD).replace(ours, b"\x04" + b"\x11" * 64)))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no PEM",
        GOOD + GOOD,
        b"hello\n" + GOOD,
        GOOD.replace(b"CERTIFICATE REQUEST", b"CERTIFICATE"),
        GOOD.replace(b"END CERTIFICATE REQUEST", b"END NEW CERTIFICATE REQUEST"),
        GOOD[:-40],
        pem(der_of(GOOD) + b"\0"),
        pem(der_of(GOOD)[:-3]),
        pem(b""),
        pem(b"\x30\x80\0\0"),
        pem(der_of(GOOD).replace(b"\x02\x01\x00", b"\x02\x01\x05", 1)),
        pem(b"\x30\x84\xff\xff\xff\xff"),
        b"-----BEGIN CERTIFICATE REQUEST-----\n=AAA\n-----END CERTIFICATE REQUEST-----\n",
    ],
)
def test_what_is_not_exactly_one_request_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        parse_csr(text)
    assert caught.value.errors[0].path == "csr_pem"


def test_a_request_above_the_limit_is_refused_before_it_is_read() -> None:
    names = [x509.DNSName(f"host-{number}.example.com") for number in range(10_000)]
    request = (
        x509.CertificateSigningRequestBuilder(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(P256, hashes.SHA256())
    )
    with pytest.raises(Invalid, match="larger than"):
        parse_csr(request.public_bytes(Encoding.PEM))


@given(st.binary(max_size=400))
def test_garbage_is_refused_and_nothing_else_happens(garbage: bytes) -> None:
    for text in (garbage, pem(garbage)):
        with pytest.raises(Invalid):
            parse_csr(text)


@given(st.data())
@settings(max_examples=200)
def test_a_bent_request_is_refused_or_gives_the_same_key(data: st.DataObject) -> None:
    der = bytearray(HOSTILE)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, 10_000))
        der[position % len(der)] = data.draw(st.integers(0, 255))
    try:
        asked = parse_csr(pem(bytes(der)))
    except Invalid:
        return
    assert asked.spki_sha256 == spki_sha256(P256.public_key())


def test_a_private_key_is_written_in_both_formats_and_read_back() -> None:
    rsa_key = make_private_key(KeyKind.RSA)
    assert private_key_pem(rsa_key).startswith(b"-----BEGIN PRIVATE KEY-----")
    old = private_key_pem(rsa_key, KeyFormat.TRADITIONAL)
    assert old.startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    for written in (private_key_pem(rsa_key), old, private_key_der(rsa_key)):
        assert spki_sha256(load_private_key(written).public_key()) == spki_sha256(
            rsa_key.public_key()
        )


@pytest.mark.parametrize("data", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n", b"\x30\x00"])
def test_what_is_no_private_key_is_refused_without_showing_it(data: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        load_private_key(data)
    assert caught.value.__cause__ is None


def test_a_private_key_of_another_kind_is_refused() -> None:
    written = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    with pytest.raises(Invalid, match="neither elliptic-curve nor RSA"):
        load_private_key(written)
