"""Who a program is for its hub: key, certificate and the hub's roots, and where they are kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fedca.renewal import renew_at
from fedcore.errors import FedError, Invalid, NotFound
from fedcore.files import create_private, write_private
from fedcore.ids import AgentId, SiteId
from fedlink.trust import check_roots

log = structlog.get_logger()
_FILE: Final = "identity.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything a program needs to dial its hub. ``key_pem`` never leaves the site."""

    hub_id: str
    site_id: SiteId
    site_name: str
    agent_id: AgentId
    link_address: str
    trust_domain: str
    key_pem: bytes
    chain_pem: bytes
    roots_pem: bytes
    trust_version: int

    @property
    def hub_name(self) -> str:
        """Return the name that the hub's certificate must bear."""
        return f"hub.{self.trust_domain}"

    @property
    def certificate(self) -> x509.Certificate:
        """Return the program's own certificate."""
        return x509.load_pem_x509_certificates(self.chain_pem)[0]

    def renew_at(self) -> datetime:
        """Return when to renew: 2/3 of life, spread by the serial so that not all renew at once."""
        leaf = self.certificate
        spread = (leaf.serial_number % 2001 - 1000) / 1000
        return renew_at(leaf.not_valid_before_utc, leaf.not_valid_after_utc, spread=spread)


class IdentityStore(Protocol):
    """Where a program keeps who it is. A write is kept as a whole at its return, or not at all."""

    @property
    def place(self) -> str:
        """Return the place in words for people."""

    async def exists(self) -> bool:
        """Return whether the program has joined."""

    async def load(self) -> Identity:
        """Read the identity; raises NotFound before a join, Invalid for what cannot be read."""

    async def save(self, identity: Identity) -> None:
        """Replace the identity as a whole: a crash leaves the old or the new."""

    async def pending_key(self) -> bytes:
        """Return the key of a join under way; a retry after a crash must use the same one."""

    async def drop_pending_key(self) -> None:
        """Forget the key of a join that is complete."""


class CurrentIdentity:
    """The identity that a running program has at present, and the store that it is kept in.

    Everybody who needs the certificate or the roots holds this object, so that a renewal reaches
    them all.
    """

    def __init__(self, identity: Identity, store: IdentityStore) -> None:
        self.value = identity
        self.store = store

    def roots_pem(self) -> bytes:
        """Return the roots that the hub is verified against."""
        return self.value.roots_pem

    async def replace(self, identity: Identity) -> None:
        """Store another identity, then take it up; where storing fails the old one stays."""
        await self.store.save(identity)
        self.value = identity

    async def add_roots(self, version: int, roots_pem: bytes) -> None:
        """Take up roots that the hub announces; the older ones stay until the hub drops them.

        Raises Invalid for what is no root. Roots that cannot be stored hold for this life of the
        process: the hub announces them again in each session.
        """
        if version <= self.value.trust_version:
            return
        check_roots(roots_pem)
        identity = replace(self.value, roots_pem=roots_pem, trust_version=version)
        try:
            await self.replace(identity)
        except FedError as error:
            log.warning("trust.not_stored", reason=error.message)
            self.value = identity

    async def reload(self) -> bool:
        """Take up what another process has stored meanwhile; return whether it has."""
        stored = await self.store.load()
        is_same = stored.chain_pem == self.value.chain_pem
        if is_same or stored.agent_id != self.value.agent_id:
            return False
        self.value = stored
        return True


class IdentityFile:
    """An identity on disk, in a file of mode 0600. ``program`` names the command that joins."""

    def __init__(self, directory: Path, *, program: str) -> None:
        self._path = directory / _FILE
        self._program = program

    @property
    def place(self) -> str:
        """Return the file in words for people."""
        return f"file {self._path}"

    async def exists(self) -> bool:
        """Return whether the program has joined."""
        return await asyncio.to_thread(self._path.exists)

    async def load(self) -> Identity:
        """Read the identity; raises NotFound, Invalid."""
        try:
            content = await asyncio.to_thread(self._path.read_bytes)
        except FileNotFoundError:
            text = f"no identity in {self._path.parent}: run `{self._program} join` first"
            raise NotFound(text) from None
        return read_identity(content, self.place)

    async def save(self, identity: Identity) -> None:
        """Write the identity; it is on disk when the call returns."""
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
        raise TypeError("the key of an identity is a P-256 key")
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
