"""What names a certificate bears, computed from whom it is for and never from a request.

Pure, and free of cryptography: the agent imports it to know what it must be given.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fedca.settings import AuthoritySettings, is_within
from fedcore.errors import FieldError, Invalid
from fedcore.ids import is_domain, is_name

MAX_COMMON_NAME: Final = 64
"""X.520 ub-common-name."""
MAX_PARTY_ID: Final = 999_999
"""KubeFATE's templates corrupt larger ones."""

_HOST = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_AGENT_PATH = re.compile(r"/site/([A-Za-z0-9_-]{1,64})/agent/([A-Za-z0-9_-]{1,64})")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class ProfileName(StrEnum):
    """What a certificate is for."""

    HUB = "hub"
    """The hub's gRPC ports."""
    CONSOLE = "console"
    """The hub's HTTPS port."""
    AGENT = "agent"
    PULSAR = "pulsar"
    ATS = "ats"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate is for; each profile reads its own fields.

    ``agent``: ``site_id``, ``site_name``, ``agent_id``. ``pulsar``: ``federation_id``, ``domain``,
    ``party_id``. ``ats``: ``federation_id``, ``domain``. ``hub``, ``console``: none.
    """

    site_id: str | None = None
    site_name: str | None = None
    agent_id: str | None = None
    federation_id: str | None = None
    domain: str | None = None
    party_id: int | None = None


@dataclass(frozen=True, slots=True)
class CertificateNames:
    """All names of one certificate, in the order in which they stand in it.

    ``common_name`` is the first DNS name, or nothing where that is too long for the field.
    Whatever computed them: a DNS name that is no plain host name raises ``Invalid``.
    """

    common_name: str | None
    dns_names: tuple[str, ...]
    uris: tuple[str, ...] = ()
    ip_addresses: tuple[IpAddress, ...] = ()

    def __post_init__(self) -> None:
        for name in self.dns_names:
            if _HOST.fullmatch(name) is None:
                field_error = FieldError("names", f"{name!r} is no host name")
                raise Invalid("no certificate for such a name", errors=(field_error,))


def names_of(
    profile: ProfileName, subject: Subject, settings: AuthoritySettings
) -> CertificateNames:
    """Compute the names of a profile's certificate; ``Invalid`` names the field that is wrong."""
    match profile:
        case ProfileName.HUB:
            return hub_names(settings)
        case ProfileName.CONSOLE:
            return console_names(settings)
        case ProfileName.AGENT:
            return agent_names(subject, settings.trust_domain)
        case ProfileName.PULSAR:
            return pulsar_names(subject.domain, subject.party_id)
        case ProfileName.ATS:
            return ats_names(subject.domain)


def hub_names(settings: AuthoritySettings) -> CertificateNames:
    """Name the hub for agents: by its name in the trust domain alone.

    It bears no address: BoringSSL, which gRPC uses, refuses every address under a constraint on
    addresses ("unsupported name constraint type"), also a permitted one.
    """
    uri = f"spiffe://{settings.trust_domain}/hub"
    return CertificateNames(_fitting(settings.hub_name), (settings.hub_name,), (uri,))


def console_names(settings: AuthoritySettings) -> CertificateNames:
    """Name the hub for people: its public names and addresses, its own name below the hub's."""
    own = f"console.{settings.hub_name}"
    addresses = tuple(
        dict.fromkeys(ipaddress.ip_address(text) for text in settings.hub_ip_addresses)
    )
    dns_names = tuple(dict.fromkeys((own, *settings.hub_dns_names)))
    return CertificateNames(_fitting(own), dns_names, (), addresses)


def agent_names(subject: Subject, trust_domain: str) -> CertificateNames:
    """Name an agent: a DNS name by its site's name, a SPIFFE URI by the ids that never change."""
    site_name = subject.site_name
    if site_name is None or not is_name(site_name):
        raise _wrong("site_name", "a DNS-1123 label is needed")
    site_id = _checked_id("site_id", subject.site_id)
    agent_id = _checked_id("agent_id", subject.agent_id)
    dns_name = f"{site_name}.agents.{trust_domain}"
    uri = f"spiffe://{trust_domain}/site/{site_id}/agent/{agent_id}"
    return CertificateNames(_fitting(dns_name), (dns_name,), (uri,))


def pulsar_names(domain: str | None, party_id: int | None) -> CertificateNames:
    """Name a party's broker; its common name is the role that Pulsar authorises."""
    if isinstance(party_id, bool) or not isinstance(party_id, int):
        raise _wrong("party_id", "a number is needed")
    if not 1 <= party_id <= MAX_PARTY_ID:
        raise _wrong("party_id", f"must be from 1 to {MAX_PARTY_ID}")
    return _service_names(str(party_id), domain)


def ats_names(domain: str | None) -> CertificateNames:
    """Name the exchange's Traffic Server."""
    return _service_names("proxy", domain)


def owner_of(profile: ProfileName, subject: Subject) -> str:
    """Write whom a certificate is for in one canonical text; a key belongs to one such text."""
    match profile:
        case ProfileName.HUB:
            return "hub"
        case ProfileName.CONSOLE:
            return "console"
        case ProfileName.AGENT:
            site_id = _checked_id("site_id", subject.site_id)
            return f"agent:{site_id}/{_checked_id('agent_id', subject.agent_id)}"
        case ProfileName.PULSAR:
            federation_id = _checked_id("federation_id", subject.federation_id)
            return f"pulsar:{federation_id}/{subject.party_id}"
        case ProfileName.ATS:
            return f"ats:{_checked_id('federation_id', subject.federation_id)}"


def parse_agent_uri(uri: str, trust_domain: str) -> tuple[str, str] | None:
    """Read (site id, agent id) from an agent's SPIFFE URI; nothing if it is not exactly one."""
    prefix = f"spiffe://{trust_domain}"
    if not uri.startswith(prefix):
        return None
    match = _AGENT_PATH.fullmatch(uri, len(prefix))
    return None if match is None else (match[1], match[2])


def check_federation_domain(domain: str | None, settings: AuthoritySettings) -> str:
    """Return a domain that a federation may have; ``Invalid`` for the hub's and the agents' own."""
    if domain is None or not is_domain(domain):
        raise _wrong("domain", "a lower-case DNS name of two labels or more is needed")
    for reserved in (settings.hub_name, settings.agents_domain):
        if is_within(domain, reserved):
            raise _wrong("domain", f"{reserved} is reserved")
    return domain


def _service_names(host: str, domain: str | None) -> CertificateNames:
    if domain is None or not is_domain(domain):
        raise _wrong("domain", "a lower-case DNS name of two labels or more is needed")
    dns_name = f"{host}.{domain}"
    if len(dns_name) > MAX_COMMON_NAME:
        raise _wrong("domain", f"{dns_name} is longer than a common name's {MAX_COMMON_NAME}")
    return CertificateNames(dns_name, (dns_name,))


def _fitting(name: str) -> str | None:
    return name if len(name) <= MAX_COMMON_NAME else None


def _checked_id(field: str, text: str | None) -> str:
    if text is None or _ID.fullmatch(text) is None:
        raise _wrong(field, "letters, digits, - and _ are needed, 64 at most")
    return text


def _wrong(field: str, message: str) -> Invalid:
    field_error = FieldError(f"subject.{field}", message)
    return Invalid(f"no certificate for this subject: {field}: {message}", errors=(field_error,))
