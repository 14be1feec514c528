"""Who this agent is: key, certificate and the hub's roots, and the file of mode 0600 for them.

The other place for them is a Secret: ``identity_secret.py``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fedca.renewal import renew_at
from fedcore.errors import Invalid, NotFound
from fedcore.files import create_private, write_private

_FILE: Final = "identity.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything an agent needs to dial its hub. ``key_pem`` never leaves the site."""

    hub_id: str
    site_id: str
    site_name: str
    agent_id: str
    link_address: str
    trust_domain: str
    key_pem: bytes
    chain_pem: bytes
    roots_pem: bytes
    trust_version: int

    @property
    def hub_name(self) -> str:
        """Name that the hub's certificate must bear."""
        return f"hub.{self.trust_domain}"

    @property
    def certificate(self) -> x509.Certificate:
        """The agent's own certificate."""
        return x509.load_pem_x509_certificates(self.chain_pem)[0]

    def renew_at(self) -> datetime:
        """When to renew: 2/3 of life, spread by the serial so that agents do not renew at once."""
        leaf = self.certificate
        spread = (leaf.serial_number % 2001 - 1000) / 1000
        return renew_at(leaf.not_valid_before_utc, leaf.not_valid_after_utc, spread=spread)


class Identities(Protocol):
    """Where an agent keeps who it is. Every write is kept, or nothing of it is, at its return."""

    @property
    def place(self) -> str:
        """The place in words for people."""

    async def exists(self) -> bool:
        """Tell whether the agent has joined."""

    async def load(self) -> Identity:
        """Read the identity; NotFound tells to join first, Invalid names what cannot be read."""

    async def save(self, identity: Identity) -> None:
        """Replace the identity as a whole: a crash leaves the old or the new."""

    async def pending_key(self) -> bytes:
        """Return the key of a join under way; a retry after a crash must use the same one."""

    async def drop_pending_key(self) -> None:
        """Forget the key of a join that is complete."""


@dataclass(frozen=True, slots=True)
class StoredIdentity:
    """An identity, and where it is kept."""

    identity: Identity
    identities: Identities


class IdentityFile:
    """The agent's identity on disk."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _FILE

    @property
    def place(self) -> str:
        """The file."""
        return f"file {self._path}"

    async def exists(self) -> bool:
        """Tell whether the agent has joined."""
        return await asyncio.to_thread(self._path.exists)

    async def load(self) -> Identity:
        """Read the identity."""
        try:
            content = await asyncio.to_thread(self._path.read_bytes)
        except FileNotFoundError:
            text = f"no identity in {self._path.parent}: run `fedagent join` first"
            raise NotFound(text) from None
        return read_identity(content, self.place)

    async def save(self, identity: Identity) -> None:
        """Write the identity; on disk when the call returns."""
        await asyncio.to_thread(write_private, self._path, write_identity(identity))

    async def pending_key(self) -> bytes:
        """Return the key of a join under way."""
        return await asyncio.to_thread(self._pending_key)

    async def drop_pending_key(self) -> None:
        """Forget the key of a join that is complete."""
        await asyncio.to_thread(self._path.with_name("join.key").unlink, missing_ok=True)

    def _pending_key(self) -> bytes:
        path = self._path.with_name("join.key")
        if not path.exists():
            create_private(path, make_key())
        return path.read_bytes()


def make_key() -> bytes:
    """Make a P-256 key, PKCS#8 PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def make_csr(key_pem: bytes, common_name: str) -> bytes:
    """Make a PKCS#10 request for ``key_pem``; the hub takes nothing of it but the key."""
    key = serialization.load_pem_private_key(key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("an agent's key is a P-256 key")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def with_certificate(
    identity: Identity, key_pem: bytes, chain_pem: bytes, roots_pem: bytes, trust_version: int
) -> Identity:
    """Return the identity with a renewed certificate."""
    return replace(
        identity,
        key_pem=key_pem,
        chain_pem=chain_pem,
        roots_pem=roots_pem,
        trust_version=trust_version,
    )


_TEXT_FIELDS: Final = (
    "hub_id",
    "site_id",
    "site_name",
    "agent_id",
    "link_address",
    "trust_domain",
)
_PEM_FIELDS: Final = ("key_pem", "chain_pem", "roots_pem")


def write_identity(identity: Identity) -> bytes:
    """Write an identity as JSON, the private key included."""
    read: Callable[[str], Any] = identity.__getattribute__
    tree = {
        **{name: read(name) for name in _TEXT_FIELDS},
        **{name: read(name).decode() for name in _PEM_FIELDS},
        "trust_version": identity.trust_version,
    }
    return json.dumps(tree, indent=1).encode()


def read_identity(content: bytes, place: str) -> Identity:
    """Read what ``write_identity`` wrote; raises Invalid, which never quotes the content."""
    try:
        data = json.loads(content)
        fields: dict[str, Any] = {
            **{name: str(data[name]) for name in _TEXT_FIELDS},
            **{name: data[name].encode() for name in _PEM_FIELDS},
        }
        return Identity(**fields, trust_version=int(data["trust_version"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Invalid(f"{place} holds no identity that can be read: join again") from None
