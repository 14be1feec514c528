"""Join a hub: verify it by the root's fingerprint first, then trade the token for a certificate."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
from dataclasses import dataclass
from typing import Final, Protocol

import grpc
import grpc.aio
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fedcore.errors import Denied, FedError, Invalid, Unavailable
from fedcore.ids import AgentId, SiteId
from fedlink.channel import typed_errors
from fedlink.identity import Identity, IdentityStore, make_csr
from fedlink.timing import LinkTiming
from fedlink.trust import check_certificate
from fedproto.transport import channel_options

log = structlog.get_logger()
FINGERPRINT_PREFIX: Final = "sha256:"
_HEX_DIGITS: Final = 64


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """Where the hub is, and by which root it is known: what the site's administrator was given."""

    hub_address: str
    ca_fingerprint: str


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What the hub answered to an enrolment."""

    hub_id: str
    site_id: SiteId
    site_name: str
    agent_id: AgentId
    link_address: str
    chain_pem: bytes
    roots_pem: bytes
    trust_version: int


class EnrolmentCalls(Protocol):
    """What the program hands in: its calls on the hub's enrolment port, and with them its token."""

    async def fetch_roots(self, channel: grpc.aio.Channel) -> bytes:
        """Return the hub's roots, PEM, over a channel that is not verified yet."""

    async def enrol(self, channel: grpc.aio.Channel, csr_pem: bytes) -> Enrolled:
        """Trade the one-time token for a certificate, over a verified channel."""


async def join(
    request: JoinRequest,
    calls: EnrolmentCalls,
    store: IdentityStore,
    *,
    common_name: str,
    timing: LinkTiming,
) -> Identity:
    """Join and store the identity.

    ``calls.enrol``, and with it the token, is used only over a connection that was verified against
    a root with the pinned fingerprint. Safe to repeat after a crash: the key is kept before the
    token is used. Raises Invalid, Denied (the hub is not the one of the fingerprint),
    Unauthenticated (token), Unavailable.
    """
    host, port, pin = _check(request)
    leaf_pem = await _presented_certificate(host, port, timing.dial_limit_s)
    hub_name = _hub_name(leaf_pem)
    async with _channel(request.hub_address, hub_name, leaf_pem) as channel:
        with typed_errors():
            roots_pem = await calls.fetch_roots(channel)
    root_pem = _pinned_root(roots_pem, pin)
    key_pem = await store.pending_key()
    csr_pem = make_csr(key_pem, common_name)
    async with _channel(request.hub_address, hub_name, root_pem) as channel:
        answer = await _enrol(calls, channel, csr_pem)
    check_certificate(key_pem, answer.chain_pem, answer.roots_pem)
    identity = Identity(
        hub_id=answer.hub_id,
        site_id=answer.site_id,
        site_name=answer.site_name,
        agent_id=answer.agent_id,
        link_address=answer.link_address,
        trust_domain=hub_name.removeprefix("hub."),
        key_pem=key_pem,
        chain_pem=answer.chain_pem,
        roots_pem=answer.roots_pem,
        trust_version=answer.trust_version,
    )
    await store.save(identity)
    await store.drop_pending_key()
    log.info("link.joined", site=identity.site_name, agent_id=identity.agent_id)
    return identity


def _check(request: JoinRequest) -> tuple[str, int, bytes]:
    host, separator, port = request.hub_address.rpartition(":")
    if not separator or not port.isdigit() or not host:
        raise Invalid(f"{request.hub_address!r} is no host:port of a hub's enrolment port")
    digits = request.ca_fingerprint.removeprefix(FINGERPRINT_PREFIX)
    try:
        pin = bytes.fromhex(digits)
    except ValueError:
        pin = b""
    if len(digits) != _HEX_DIGITS or not pin:
        raise Invalid("the CA fingerprint must be sha256: and 64 hexadecimal digits")
    return host.strip("[]"), int(port), pin


async def _presented_certificate(host: str, port: int, limit_s: float) -> bytes:
    """Return the certificate that the hub shows, unverified: an anchor for one call only."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(limit_s):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"the hub at {host}:{port} cannot be reached: {error}") from error
    try:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
    if der is None:
        raise Unavailable(f"the hub at {host}:{port} showed no certificate")
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def _hub_name(leaf_pem: bytes) -> str:
    leaf = x509.load_pem_x509_certificate(leaf_pem)
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise Denied("the hub's certificate names nobody") from error
    for name in names.get_values_for_type(x509.DNSName):
        if name.startswith("hub."):
            return name
    raise Denied("this is no hub: its certificate has no name that begins with hub.")


def _channel(address: str, hub_name: str, roots_pem: bytes) -> grpc.aio.Channel:
    """Make a channel to the enrolment port, which asks for no certificate of ours."""
    credentials = grpc.ssl_channel_credentials(root_certificates=roots_pem)
    return grpc.aio.secure_channel(address, credentials, options=channel_options(hub_name))


def _pinned_root(roots_pem: bytes, pin: bytes) -> bytes:
    try:
        roots = x509.load_pem_x509_certificates(roots_pem)
    except ValueError as error:
        raise Denied("the hub sent no usable root certificate") from error
    for root in roots:
        der = root.public_bytes(Encoding.DER)
        if hmac.compare_digest(hashlib.sha256(der).digest(), pin):
            return root.public_bytes(Encoding.PEM)
    raise Denied(
        "the hub's root certificate does not have the expected fingerprint: this is not the hub "
        "that invited you. The token was not sent."
    )


async def _enrol(calls: EnrolmentCalls, channel: grpc.aio.Channel, csr_pem: bytes) -> Enrolled:
    try:
        with typed_errors():
            return await calls.enrol(channel, csr_pem)
    except FedError as error:
        text = f"the hub refused to enrol this program: {error.message}"
        raise FedError(text, code=error.code) from error
