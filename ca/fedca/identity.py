"""Who a peer is, read from its verified certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography import x509

from fedca.issuing import serial_text
from fedca.names import parse_agent_uri
from fedcore.errors import Unauthenticated

_MAX_BYTES: Final = 16 * 1024
_UNREADABLE: Final = (
    ValueError,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """An agent, as its certificate names it."""

    site_id: str
    agent_id: str
    serial: str
    """Lower-case hexadecimal; look it up among the revoked."""


def peer_identity(certificate_pem: bytes, trust_domain: str) -> AgentIdentity:
    """Read an agent's identity from the certificate that TLS has verified.

    Verifies nothing itself: the port's only trust anchor is the Agents authority. The one URI must
    be an agent's of this trust domain. Raises ``Unauthenticated``, always with the same words.
    """
    found = None if len(certificate_pem) > _MAX_BYTES else _read(certificate_pem, trust_domain)
    if found is None:
        raise Unauthenticated("the peer's certificate is no agent's")
    return found


def _read(certificate_pem: bytes, trust_domain: str) -> AgentIdentity | None:
    try:
        leaf = x509.load_pem_x509_certificate(certificate_pem)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _UNREADABLE:
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    parsed = parse_agent_uri(uris[0], trust_domain) if len(uris) == 1 else None
    if parsed is None:
        return None
    return AgentIdentity(*parsed, serial=serial_text(leaf.serial_number))
