"""BoringSSL, gRPC's own verifier, is the one that hub and agents meet: tried by connecting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import grpc
import grpc.aio
import pytest
from tests.fedca.bench import Bench, SetClock, request

from fedca.authority import IssuedCertificate
from fedca.csr import make_csr_pem
from fedca.keys import make_private_key, private_key_pem
from fedproto.agent.v1 import certificate_pb2, enrolment_pb2, enrolment_pb2_grpc
from fedproto.transport import channel_options


@pytest.fixture
def clock() -> SetClock:
    """BoringSSL reads the machine's clock."""
    return SetClock(datetime.now(UTC))


class Servicer(enrolment_pb2_grpc.EnrolmentServicer):
    async def GetTrust(self, _request, _context):  # noqa: N802 - the name is the contract's
        return certificate_pb2.TrustBundle(version=7)


async def issued_with_key(bench: Bench, profile: str) -> tuple[bytes, IssuedCertificate]:
    key = make_private_key()
    issued = await bench.authority.issue(request(make_csr_pem(key), profile))
    return private_key_pem(key), issued


@asynccontextmanager
async def serving(bench: Bench, *, profile: str = "hub", mutual: bool) -> AsyncIterator[str]:
    key, issued = await issued_with_key(bench, profile)
    anchor = bench.authority.agents_anchor_pem() if mutual else None
    credentials = grpc.ssl_server_credentials([(key, issued.chain_pem)], anchor, mutual)
    server = grpc.aio.server()
    enrolment_pb2_grpc.add_EnrolmentServicer_to_server(Servicer(), server)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def ask(bench: Bench, address: str, key: bytes | None = None, chain: bytes | None = None):
    credentials = grpc.ssl_channel_credentials(bench.authority.trust_bundle().roots_pem, key, chain)
    options = channel_options("hub.federation.internal")
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        stub = enrolment_pb2_grpc.EnrolmentStub(channel)
        answer = await stub.GetTrust(enrolment_pb2.GetTrustRequest(), timeout=3)
        return answer.version


async def test_an_agent_accepts_the_hub_by_its_name_in_the_trust_domain(bench: Bench):
    async with serving(bench, mutual=False) as address:
        assert await ask(bench, address) == 7


async def test_a_constrained_address_is_what_grpc_cannot_take(bench: Bench):
    """The reason why the gRPC ports have a certificate without addresses."""
    async with serving(bench, profile="console", mutual=False) as address:
        with pytest.raises(grpc.aio.AioRpcError, match="name constraint"):
            await ask(bench, address)


async def test_the_link_port_takes_an_agent(bench: Bench):
    key, agent = await issued_with_key(bench, "agent")
    async with serving(bench, mutual=True) as address:
        assert await ask(bench, address, key, agent.chain_pem) == 7


@pytest.mark.parametrize("profile", ["pulsar", "hub", "console", "ats", None])
async def test_the_link_port_takes_nobody_else(bench: Bench, profile: str | None):
    key, chain = None, None
    if profile is not None:
        key, issued = await issued_with_key(bench, profile)
        chain = issued.chain_pem
    async with serving(bench, mutual=True) as address:
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(bench, address, key, chain)


async def test_the_link_port_takes_no_agent_of_another_authority(bench: Bench, other_bench: Bench):
    key, foreign = await issued_with_key(other_bench, "agent")
    async with serving(bench, mutual=True) as address:
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(bench, address, key, foreign.chain_pem)
