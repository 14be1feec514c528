"""Join a hub: verify it by the root's fingerprint first, then trade the token for a certificate."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
from dataclasses import dataclass
from typing import Final

import grpc
import grpc.aio
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fedagent.link.identity import Identities, Identity, make_csr
from fedagent.link.validation import check_certificate
from fedcore import limits
from fedcore.errors import Denied, FedError, Invalid, Unavailable
from fedproto.agent.v1 import enrolment_pb2, enrolment_pb2_grpc
from fedproto.transport import channel_options, error_from_rpc

log = structlog.get_logger()
FINGERPRINT_PREFIX: Final = "sha256:"
_HEX_DIGITS: Final = 64


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What the site's administrator was given, and what the agent knows of its place."""

    hub_address: str
    token: str
    ca_fingerprint: str
    cluster_uid: str
    instance_id: str
    agent_version: str


async def join(request: JoinRequest, identities: Identities) -> Identity:
    """Join and store the identity.

    The token is sent only over a connection that was verified against a root with the pinned
    fingerprint. Safe to repeat after a crash: the key is kept before the token is used.
    Raises Invalid, Denied (the hub is not the one of the fingerprint), Unauthenticated (token),
    Unavailable.
    """
    host, port, pin = _check(request)
    leaf_pem = await _presented_certificate(host, port)
    roots = await _fetch_roots(request.hub_address, leaf_pem)
    root_pem = _pinned_root(roots, pin)
    hub_name = _hub_name(leaf_pem)
    key_pem = await identities.pending_key()
    answer = await _enrol(request, root_pem, hub_name, make_csr(key_pem, "fedagent"))
    check_certificate(key_pem, answer.certificate_chain_pem, answer.trust.roots_pem)
    identity = Identity(
        hub_id=answer.hub_id,
        site_id=answer.site_id,
        site_name=answer.site_name,
        agent_id=answer.agent_id,
        link_address=answer.link_address,
        trust_domain=hub_name.removeprefix("hub."),
        key_pem=key_pem,
        chain_pem=answer.certificate_chain_pem,
        roots_pem=answer.trust.roots_pem,
        trust_version=answer.trust.version,
    )
    await identities.save(identity)
    await identities.drop_pending_key()
    log.info("agent.joined", site=identity.site_name, agent_id=identity.agent_id)
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


async def _presented_certificate(host: str, port: int) -> bytes:
    """Return the certificate that the hub shows, unverified: an anchor for one call only."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(limits.HANDSHAKE_TIMEOUT_S):
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


async def _fetch_roots(address: str, leaf_pem: bytes) -> bytes:
    credentials = grpc.ssl_channel_credentials(root_certificates=leaf_pem)
    options = channel_options(_hub_name(leaf_pem))
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        stub = enrolment_pb2_grpc.EnrolmentStub(channel)
        try:
            bundle = await stub.GetTrust(
                enrolment_pb2.GetTrustRequest(), timeout=limits.RPC_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
    return bundle.roots_pem


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


async def _enrol(
    request: JoinRequest, root_pem: bytes, hub_name: str, csr_pem: bytes
) -> enrolment_pb2.EnrolResponse:
    credentials = grpc.ssl_channel_credentials(root_certificates=root_pem)
    options = channel_options(hub_name)
    async with grpc.aio.secure_channel(
        request.hub_address, credentials, options=options
    ) as channel:
        try:
            return await enrolment_pb2_grpc.EnrolmentStub(channel).Enrol(
                enrolment_pb2.EnrolRequest(
                    token=request.token,
                    csr_pem=csr_pem,
                    cluster_uid=request.cluster_uid,
                    instance_id=request.instance_id,
                    agent_version=request.agent_version,
                ),
                timeout=limits.RPC_TIMEOUT_S,
            )
        except grpc.aio.AioRpcError as error:
            raise _named(error_from_rpc(error)) from error


def _named(error: FedError) -> FedError:
    """Keep the hub's words; add the next act where the token is at fault."""
    return FedError(f"the hub refused to enrol this agent: {error.message}", code=error.code)
