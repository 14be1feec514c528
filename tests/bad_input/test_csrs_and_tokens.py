"""Certificate requests and join tokens over the real ports: what comes out is as the profile says.

The authority alone is tested in ``tests/fedca``; here every call that takes a request is.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from sqlalchemy import func, select
from tests.fedca.bench import hostile_csr
from tests.fedca.test_csr import der_of, pem, with_another_key
from tests.support.clock import ManualClock
from tests.support.fakeagent import FakeAgent
from tests.support.hub import federation, party, running_test_hub

from fedca.csr import make_csr_pem
from fedca.keys import KeyKind, make_private_key
from fedcore.errors import ErrorCode, FedError
from fedhub.store.ledger_tables import IssuanceTable
from fedproto.agent.v1 import certificate_pb2
from fedproto.transport import error_from_rpc

TRUST_DOMAIN = "federation.internal"
RACERS = 50


def many_names(count):
    names = [x509.DNSName(f"host-{number}.example.com") for number in range(count)]
    return (
        x509.CertificateSigningRequestBuilder(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(make_private_key(), hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def signed(key, algorithm=None):
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


def weak_key():
    return rsa.generate_private_key(65_537, 1_024)  # noqa: S505 - it must be refused


def huge():
    """Ask for an RSA key of 16,384 bits, without the minutes that making one takes."""
    key = rsa.RSAPublicNumbers(65_537, (1 << 16_384) - 1).public_key()
    small = make_csr_pem(make_private_key(KeyKind.RSA))
    return pem(with_another_key(der_of(small), key))


REFUSED = {
    "nothing": lambda: b"",
    "no PEM": lambda: b"\xff" * 100,
    "two requests": lambda: make_csr_pem(make_private_key()) * 2,
    "another's signature": lambda: pem(
        with_another_key(der_of(make_csr_pem(make_private_key(KeyKind.RSA))), EC_KEY.public_key())
    ),
    "10,000 names": lambda: many_names(10_000),
    "RSA 1024": lambda: signed(weak_key(), hashes.SHA256()),
    "RSA 16384": huge,
    "P-521": lambda: signed(ec.generate_private_key(ec.SECP521R1()), hashes.SHA256()),
    "secp256k1": lambda: signed(ec.generate_private_key(ec.SECP256K1()), hashes.SHA256()),
    "Ed25519": lambda: signed(ed25519.Ed25519PrivateKey.generate()),
    "SHA-224": lambda: signed(make_private_key(), hashes.SHA224()),
}
EC_KEY = make_private_key()


@pytest.fixture
async def site(lab):
    """A connected agent whose document lists a certificate."""
    await lab.good_site("hq")
    alpha = await lab.good_site("alpha")
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    await alpha.stop()
    return alpha.agent


def own(agent):
    return next(one for one in agent.held.values() if one.HasField("participant"))


async def issue(agent, csr_pem):
    document = own(agent)
    request = certificate_pb2.IssueCertificateRequest(
        resource_id=document.resource_id,
        secret_name=document.participant.certificates[0].secret_name,
        csr_pem=csr_pem,
    )
    return await called(agent.stub.IssueCertificate(request, timeout=10))


async def renew(agent, csr_pem):
    request = certificate_pb2.RenewCertificateRequest(csr_pem=csr_pem)
    return await called(agent.stub.RenewCertificate(request, timeout=10))


async def called(call):
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from None


async def issued_count(lab, profile):
    """Count the certificates that were made; intents that came to nothing stay without one."""
    async with lab.hub.database.read() as db:
        statement = select(func.count()).where(
            IssuanceTable.profile == profile, IssuanceTable.certificate_der.is_not(None)
        )
        return int(await db.scalar(statement) or 0)


def assert_is_exactly(chain_pem, key, *, common_name, names, usages, life):
    """Compare a leaf with its profile, extension by extension."""
    leaf = x509.load_pem_x509_certificates(chain_pem)[0]
    assert leaf.public_key() == key.public_key()
    assert [(one.oid, one.value) for one in leaf.subject] == [(NameOID.COMMON_NAME, common_name)]
    found = {extension.oid: extension for extension in leaf.extensions}
    assert set(found) == {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }
    basic, usage = found[ExtensionOID.BASIC_CONSTRAINTS], found[ExtensionOID.KEY_USAGE]
    assert basic.critical
    assert basic.value == x509.BasicConstraints(ca=False, path_length=None)
    assert usage.critical
    assert usage.value == x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    assert list(found[ExtensionOID.EXTENDED_KEY_USAGE].value) == usages
    assert list(found[ExtensionOID.SUBJECT_ALTERNATIVE_NAME].value) == names
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    assert found[ExtensionOID.SUBJECT_KEY_IDENTIFIER].value == key_id
    issuer = x509.load_pem_x509_certificates(chain_pem)[1]
    leaf.verify_directly_issued_by(issuer)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == life + timedelta(minutes=5)


def assert_is_an_agents(chain_pem, key, agent):
    uri = f"spiffe://{TRUST_DOMAIN}/site/{agent.site_id}/agent/{agent.agent_id}"
    name = f"{agent.name}.agents.{TRUST_DOMAIN}"
    assert_is_exactly(
        chain_pem,
        key,
        common_name=name,
        names=[x509.DNSName(name), x509.UniformResourceIdentifier(uri)],
        usages=[ExtendedKeyUsageOID.CLIENT_AUTH],
        life=timedelta(days=7),
    )


@pytest.mark.parametrize("case", range(3))
async def test_foreign_names_and_ca_true_in_a_request_change_nothing(lab, site, case):
    token = (await lab.rest.invite("beta"))["token"]
    newcomer = FakeAgent(lab.place, "beta")
    await newcomer.enrol(token, csr_pem=hostile_csr(newcomer.key, with_csr_extensions=case))
    assert_is_an_agents(newcomer.chain_pem, newcomer.key, newcomer)
    key = make_private_key()
    renewed = await renew(site, hostile_csr(key, with_csr_extensions=case))
    assert_is_an_agents(renewed.certificate_chain_pem, key, site)
    key = make_private_key()
    answer = await issue(site, hostile_csr(key, with_csr_extensions=case))
    assert_is_exactly(
        answer.certificate_chain_pem,
        key,
        common_name="9999.credit-risk.example.com",
        names=[x509.DNSName("9999.credit-risk.example.com")],
        usages=[ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
        life=timedelta(days=30),
    )


async def test_each_request_that_is_refused_is_refused_at_every_call_and_leaves_nothing(lab, site):
    token = (await lab.rest.invite("beta"))["token"]
    newcomer = FakeAgent(lab.place, "beta")
    before = [await issued_count(lab, profile) for profile in ("agent", "pulsar")]
    for what, make in REFUSED.items():
        csr_pem = make()
        for call in (
            issue(site, csr_pem),
            renew(site, csr_pem),
            newcomer.enrol(token, csr_pem=csr_pem),
        ):
            with pytest.raises(FedError) as caught:
                await call
            too_large = caught.value.code is ErrorCode.TOO_MANY and "larger" in str(caught.value)
            assert caught.value.code is ErrorCode.INVALID or too_large, (what, caught.value)
    assert [await issued_count(lab, profile) for profile in ("agent", "pulsar")] == before
    await newcomer.enrol(token)
    assert_is_an_agents(newcomer.chain_pem, newcomer.key, newcomer)


async def test_of_fifty_that_race_for_a_token_one_key_wins_and_one_certificate_is_made(lab):
    """Half of them hold one and the same key, as a retry does: these are answered alike."""
    token = (await lab.rest.invite("alpha"))["token"]
    agents = [FakeAgent(lab.place, f"racer-{number}") for number in range(RACERS)]
    for agent in agents[::2]:
        agent.key = agents[0].key
    before = await issued_count(lab, "agent")
    outcomes = await asyncio.gather(
        *(agent.enrol(token) for agent in agents), return_exceptions=True
    )
    won = [one for one in outcomes if not isinstance(one, BaseException)]
    lost = [one for one in outcomes if isinstance(one, FedError)]
    assert len(won) in {1, RACERS // 2}
    assert len(won) + len(lost) == RACERS
    assert {error.code for error in lost} == {ErrorCode.UNAUTHENTICATED}
    assert len({one.certificate_chain_pem for one in won}) == 1
    assert await issued_count(lab, "agent") == before + 1
    site = await lab.rest.get("/api/v1/sites/alpha")
    assert {one.agent_id for one in won} == {site["agent_id"]}


@pytest.mark.parametrize("end", ["expired", "voided", "used"])
async def test_a_token_that_is_over_is_won_by_nobody_however_many_race(tmp_path, hub_template, end):
    clock = ManualClock()
    async with running_test_hub(tmp_path, template=hub_template, clock=clock) as lab:
        token = (await lab.rest.invite("alpha", life_s=60))["token"]
        match end:
            case "expired":
                clock.advance(61)
            case "voided":
                await lab.rest.invite("alpha", life_s=60)
            case "used":
                await FakeAgent(lab.place, "alpha").enrol(token)
        before = await issued_count(lab, "agent")
        outcomes = await asyncio.gather(
            *(FakeAgent(lab.place, f"racer-{n}").enrol(token) for n in range(RACERS)),
            return_exceptions=True,
        )
        assert {type(one) for one in outcomes} == {FedError}
        assert {one.code for one in outcomes} == {ErrorCode.UNAUTHENTICATED}
        assert await issued_count(lab, "agent") == before
