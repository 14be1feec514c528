"""Revocation lists: full, one for each authority, without an issuing distribution point.

A list with a critical distribution point fails ``openssl verify -crl_check_all`` at the root, and
nginx wants a list for every authority of the chain.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fedca.hierarchy import authority_key_identifier, floor_second
from fedca.issuers import Issuer
from fedca.keys import signing_hash
from fedca.profiles import BACKDATE
from fedca.records import Revocation, RevocationReason

CRL_LIFE: Final = timedelta(hours=24)
"""From one list's making to its ``nextUpdate``; also how long an expired entry is kept."""

_REASONS: Final = {
    RevocationReason.KEY_COMPROMISE: x509.ReasonFlags.key_compromise,
    RevocationReason.AFFILIATION_CHANGED: x509.ReasonFlags.affiliation_changed,
    RevocationReason.SUPERSEDED: x509.ReasonFlags.superseded,
    RevocationReason.CESSATION_OF_OPERATION: x509.ReasonFlags.cessation_of_operation,
    RevocationReason.PRIVILEGE_WITHDRAWN: x509.ReasonFlags.privilege_withdrawn,
}


def make_crl_pem(
    issuer: Issuer, revoked: Iterable[Revocation], *, number: int, now: datetime
) -> bytes:
    """Sign a full list of an authority's revoked certificates."""
    start = floor_second(now)
    builder = (
        x509.CertificateRevocationListBuilder(issuer.certificate.subject)
        .last_update(start - BACKDATE)
        .next_update(start + CRL_LIFE)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(authority_key_identifier(issuer.key.public_key()), critical=False)
    )
    for line in revoked:
        builder = builder.add_revoked_certificate(_entry(line))
    return builder.sign(issuer.key, signing_hash(issuer.key)).public_bytes(Encoding.PEM)


def _entry(line: Revocation) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(int(line.serial, 16))
        .revocation_date(floor_second(line.revoked_at))
    )
    # RFC 5280 §5.3.1: an unspecified reason is said by saying none.
    reason = _REASONS.get(line.reason)
    if reason is not None:
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    return builder.build()
