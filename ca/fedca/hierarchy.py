"""Roots and issuing authorities as certificates: their names, limits and name constraints.

Facts that shaped this were measured on four verifiers: constraints on URIs are enforced by some,
ignored by some and refused by ``cryptography``, so only DNS names and IP addresses are constrained;
a root with path length 1 could never be replaced by cross-signing, so it has 2.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedca.keys import PrivateKey, PublicKey, signing_hash
from fedca.names import check_federation_domain
from fedca.profiles import BACKDATE
from fedca.records import CaPurpose
from fedca.settings import AuthoritySettings

ROOT_LIFE: Final = timedelta(days=3652)
ISSUING_LIFE: Final = timedelta(days=365)
ROOT_PATH_LENGTH: Final = 2
_ORGANIZATION: Final = "FATE Lifecycle Manager"
_ALL_ADDRESSES: Final = ("0.0.0.0/0", "::/0")

_SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
_CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
_USAGES: Final = {
    CaPurpose.INFRA: (_SERVER,),
    CaPurpose.AGENTS: (_CLIENT,),
    CaPurpose.SERVICES: (_SERVER, _CLIENT),
}

_CA_KEY_USAGE: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True)
class Constraints:
    """What an issuing authority may name; its certificate says so to every verifier."""

    permitted_dns: tuple[str, ...]
    excluded_dns: tuple[str, ...]
    permitted_ips: tuple[str, ...] = ()

    def extension(self) -> x509.NameConstraints:
        """Write them as the X.509 extension; without permitted addresses, all are excluded."""
        networks = [ipaddress.ip_network(text) for text in self.permitted_ips]
        permitted = [*map(x509.DNSName, self.permitted_dns), *map(x509.IPAddress, networks)]
        refused = [] if networks else [ipaddress.ip_network(text) for text in _ALL_ADDRESSES]
        excluded = [*map(x509.DNSName, self.excluded_dns), *map(x509.IPAddress, refused)]
        return x509.NameConstraints(permitted, excluded)


def wanted_constraints(
    purpose: CaPurpose, settings: AuthoritySettings, domain: str | None
) -> Constraints:
    """Compute the constraints of an issuing authority; ``domain`` is the federation's."""
    if purpose is CaPurpose.INFRA:
        names = tuple(dict.fromkeys((settings.hub_name, *settings.hub_dns_names)))
        return Constraints(names, (settings.agents_domain,), settings.hub_ip_addresses)
    if purpose is CaPurpose.AGENTS:
        return Constraints((settings.agents_domain,), (settings.hub_name,))
    reserved = (settings.agents_domain, settings.hub_name)
    return Constraints((check_federation_domain(domain, settings),), reserved)


def make_root(key: PrivateKey, *, name: str, serial: int, now: datetime) -> x509.Certificate:
    """Sign a new root with its own key."""
    not_before = floor_second(now) - BACKDATE
    subject = _ca_name(name)
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), serial)
        .not_valid_before(not_before)
        .not_valid_after(not_before + ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=ROOT_PATH_LENGTH), critical=True)
        .add_extension(_CA_KEY_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority_key_identifier(key.public_key()), critical=False)
    )
    return builder.sign(key, signing_hash(key))


@dataclass(frozen=True, slots=True)
class IssuingPlan:
    """All that a new issuing authority's certificate is made from."""

    name: str
    purpose: CaPurpose
    public_key: PublicKey
    serial: int
    constraints: Constraints


def make_issuing(
    plan: IssuingPlan, *, root: x509.Certificate, root_key: PrivateKey, now: datetime
) -> x509.Certificate:
    """Sign a new issuing authority with the root; it ends with the root at the latest."""
    not_before = max(floor_second(now) - BACKDATE, root.not_valid_before_utc)
    not_after = min(not_before + ISSUING_LIFE, root.not_valid_after_utc)
    key_id = x509.SubjectKeyIdentifier.from_public_key(plan.public_key)
    builder = (
        x509.CertificateBuilder(root.subject, _ca_name(plan.name), plan.public_key, plan.serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_CA_KEY_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage(_USAGES[plan.purpose]), critical=False)
        .add_extension(plan.constraints.extension(), critical=True)
        .add_extension(key_id, critical=False)
        .add_extension(authority_key_identifier(root_key.public_key()), critical=False)
    )
    return builder.sign(root_key, signing_hash(root_key))


def may_go_on(certificate: x509.Certificate, wanted: Constraints, now: datetime) -> bool:
    """Tell whether an issuing authority is in the first half of its life and permits what it must.

    It may permit more than is wanted, never exclude less.
    """
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    if now >= certificate.not_valid_before_utc + life / 2:
        return False
    has = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    needs = wanted.extension()
    permits = set(needs.permitted_subtrees or ()) <= set(has.permitted_subtrees or ())
    return permits and set(needs.excluded_subtrees or ()) == set(has.excluded_subtrees or ())


def authority_key_identifier(key: PublicKey) -> x509.AuthorityKeyIdentifier:
    """Point to a signer by the hash of its key."""
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def floor_second(at: datetime) -> datetime:
    """Drop what a certificate cannot say."""
    return at.replace(microsecond=0)


def pem_of(*certificates: x509.Certificate) -> bytes:
    """Write certificates as PEM, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _ca_name(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
