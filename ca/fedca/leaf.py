"""Leaf certificates: built from a profile and computed names, then checked as a stranger would.

The check does not share the builder's code: it reads the signed bytes again and compares each
extension with the profile, so that a fault in the builder ends as a refused issuance.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from fedca.hierarchy import authority_key_identifier, floor_second
from fedca.keys import PrivateKey, PublicKey, signing_hash, spki_sha256
from fedca.names import CertificateNames
from fedca.profiles import BACKDATE, Profile, Usage
from fedcore.errors import Internal

_USAGES: Final = {
    Usage.SERVER: ExtendedKeyUsageOID.SERVER_AUTH,
    Usage.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH,
}
_EXTENSIONS: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }
)


@dataclass(frozen=True, slots=True)
class LeafPlan:
    """All that a leaf certificate is made from; the request gave the public key and no more."""

    profile: Profile
    names: CertificateNames
    public_key: PublicKey
    serial: int
    not_before: datetime
    not_after: datetime


def plan_leaf(
    profile: Profile,
    names: CertificateNames,
    public_key: PublicKey,
    *,
    issuer: x509.Certificate,
    now: datetime,
) -> LeafPlan:
    """Choose a serial of 159 random bits and a validity that lies within the issuer's."""
    start = floor_second(now)
    not_before = max(start - BACKDATE, issuer.not_valid_before_utc)
    not_after = min(start + profile.life, issuer.not_valid_after_utc)
    serial = x509.random_serial_number()
    return LeafPlan(profile, names, public_key, serial, not_before, not_after)


def sign_leaf(plan: LeafPlan, *, issuer: x509.Certificate, key: PrivateKey) -> x509.Certificate:
    """Sign a leaf certificate."""
    names, public_key = plan.names, plan.public_key
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, names.common_name)] if names.common_name else []
    )
    builder = (
        x509.CertificateBuilder(issuer.subject, subject, public_key, plan.serial)
        .not_valid_before(plan.not_before)
        .not_valid_after(plan.not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(plan), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([_USAGES[usage] for usage in plan.profile.usages]),
            critical=False,
        )
        # RFC 5280 §4.2.1.6: critical where the subject is empty.
        .add_extension(_alternative_names(names), critical=names.common_name is None)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(authority_key_identifier(key.public_key()), critical=False)
    )
    return builder.sign(key, signing_hash(key))


def check_leaf(
    leaf: x509.Certificate, plan: LeafPlan, *, issuer: x509.Certificate, root: x509.Certificate
) -> None:
    """Raise ``Internal`` unless ``leaf`` is exactly what ``plan`` says and its chain verifies."""
    try:
        wrong = _first_difference(leaf, plan, issuer)
    except (x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise Internal("the signed certificate lacks or doubles an extension") from error
    if wrong is not None:
        raise Internal("the signed certificate differs from its profile", differs=wrong)
    try:
        verify_chain(leaf, plan.profile, plan.names, issuers=[issuer], roots=[root])
    except verification.VerificationError as error:
        raise Internal("the signed certificate's chain does not verify") from error


def verify_chain(
    leaf: x509.Certificate,
    profile: Profile,
    names: CertificateNames,
    *,
    issuers: list[x509.Certificate],
    roots: list[x509.Certificate],
) -> None:
    """Verify a chain for each usage of a profile and, as a server, under each of its names.

    Judged at the middle of the leaf's life. Raises ``cryptography``'s ``VerificationError``.
    """
    middle = leaf.not_valid_before_utc + (leaf.not_valid_after_utc - leaf.not_valid_before_utc) / 2
    policy = verification.PolicyBuilder().store(verification.Store(roots)).time(middle)
    if Usage.CLIENT in profile.usages:
        policy.build_client_verifier().verify(leaf, issuers)
    if Usage.SERVER in profile.usages:
        for dns_name in names.dns_names:
            policy.build_server_verifier(x509.DNSName(dns_name)).verify(leaf, issuers)
        for address in names.ip_addresses:
            policy.build_server_verifier(x509.IPAddress(address)).verify(leaf, issuers)


def _first_difference(
    leaf: x509.Certificate, plan: LeafPlan, issuer: x509.Certificate
) -> str | None:
    extensions = leaf.extensions
    common_names = [str(item.value) for item in leaf.subject]
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    checks = {
        "version": leaf.version is x509.Version.v3,
        "serial": leaf.serial_number == plan.serial,
        "issuer": leaf.issuer == issuer.subject,
        "subject": common_names == ([plan.names.common_name] if plan.names.common_name else []),
        "validity": _is_valid_within(leaf, plan, issuer),
        "public_key": _key_name(leaf) == spki_sha256(plan.public_key),
        "extensions": {extension.oid for extension in extensions} == _EXTENSIONS,
        "basic_constraints": basic.critical and not basic.value.ca,
        "key_usage": _has_exact_key_usage(leaf),
        "extended_key_usage": set(usage.value) == {_USAGES[u] for u in plan.profile.usages},
        "names": _has_exact_names(leaf, plan.names),
    }
    return next((what for what, is_right in checks.items() if not is_right), None)


def _is_valid_within(leaf: x509.Certificate, plan: LeafPlan, issuer: x509.Certificate) -> bool:
    not_before, not_after = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    return (
        issuer.not_valid_before_utc <= not_before < not_after <= issuer.not_valid_after_utc
        and not_after - not_before <= plan.profile.life + BACKDATE
    )


def _key_name(leaf: x509.Certificate) -> str | None:
    key = leaf.public_key()
    return spki_sha256(key) if isinstance(key, PublicKey) else None


def _has_exact_key_usage(leaf: x509.Certificate) -> bool:
    extension = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    usage = extension.value
    never = (
        usage.content_commitment
        or usage.data_encipherment
        or usage.key_agreement
        or usage.key_cert_sign
        or usage.crl_sign
    )
    is_rsa = isinstance(leaf.public_key(), rsa.RSAPublicKey)
    may_encipher = usage.key_encipherment is is_rsa
    return extension.critical and usage.digital_signature and may_encipher and not never


def _has_exact_names(leaf: x509.Certificate, names: CertificateNames) -> bool:
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    expected = len(names.dns_names) + len(names.uris) + len(names.ip_addresses)
    return (
        len(list(found)) == expected
        and tuple(found.get_values_for_type(x509.DNSName)) == names.dns_names
        and tuple(found.get_values_for_type(x509.UniformResourceIdentifier)) == names.uris
        and tuple(found.get_values_for_type(x509.IPAddress)) == names.ip_addresses
    )


def _alternative_names(names: CertificateNames) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [
            *map(x509.DNSName, names.dns_names),
            *map(x509.UniformResourceIdentifier, names.uris),
            *map(x509.IPAddress, names.ip_addresses),
        ]
    )


def _key_usage(plan: LeafPlan) -> x509.KeyUsage:
    # Key transport exists with RSA alone; every RSA profile is a server's.
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=isinstance(plan.public_key, rsa.RSAPublicKey),
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
