"""Revocation lists, as openssl judges them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from tests.fedca.bench import START, Bench, OpenSsl

from fedca.authority import RevocationReason
from fedca.hierarchy import pem_of
from fedca.records import CaPurpose
from fedcore.errors import NotFound


async def name_of(bench: Bench, purpose: CaPurpose, scope: str = "") -> str:
    row = await bench.ledger.active_authority(purpose, scope)
    assert row is not None
    return row.name


async def agents_crl(bench: Bench) -> x509.CertificateRevocationList:
    name = await name_of(bench, CaPurpose.AGENTS)
    return x509.load_pem_x509_crl(await bench.authority.crl_pem(name))


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


@pytest.mark.parametrize("reason", list(RevocationReason))
async def test_openssl_refuses_the_revoked_and_takes_the_others(
    bench: Bench, openssl: OpenSsl, reason: RevocationReason
) -> None:
    bad, good = await bench.issue("agent"), await bench.issue("agent")
    await bench.authority.revoke(bad.serial, reason)
    lists = [
        await bench.authority.crl_pem(await name_of(bench, purpose))
        for purpose in (CaPurpose.AGENTS, CaPurpose.ROOT)
    ]
    roots = bench.authority.trust_bundle().roots_pem
    for issued, is_good in ((bad, False), (good, True)):
        leaf, issuer = x509.load_pem_x509_certificates(issued.chain_pem)
        for option, crl in (("-crl_check", lists[0]), ("-crl_check_all", b"".join(lists))):
            judged = openssl(pem_of(leaf), pem_of(issuer), roots, option, crl=crl)
            assert (judged.returncode == 0) is is_good, judged.stderr
            assert ("certificate revoked" in judged.stderr) is not is_good


async def test_a_list_is_full_signed_and_lives_a_day(bench: Bench) -> None:
    issued = await bench.issue("agent")
    await bench.authority.revoke(issued.serial, RevocationReason.UNSPECIFIED)
    crl = await agents_crl(bench)
    (anchor,) = x509.load_pem_x509_certificates(bench.authority.agents_anchor_pem())
    assert crl.is_signature_valid(anchor.public_key())
    assert crl.issuer == anchor.subject
    assert crl.next_update_utc == START.replace(microsecond=0) + timedelta(hours=24)
    assert {extension.oid for extension in crl.extensions} == {
        x509.CRLNumber.oid,
        x509.AuthorityKeyIdentifier.oid,
    }
    (line,) = crl
    assert line.serial_number == int(issued.serial, 16)
    assert list(line.extensions) == []


async def test_numbers_rise_also_for_another_process(bench: Bench) -> None:
    first = number_of(await agents_crl(bench))
    second = number_of(await agents_crl(bench))
    bench.authority = await bench.reopened()
    third = number_of(await agents_crl(bench))
    assert first < second < third


async def test_a_list_holds_its_own_authoritys_revocations_alone(bench: Bench) -> None:
    service, agent = await bench.issue("ats"), await bench.issue("agent")
    for issued in (service, agent):
        await bench.authority.revoke(issued.serial, RevocationReason.SUPERSEDED)
    assert [line.serial_number for line in await agents_crl(bench)] == [int(agent.serial, 16)]
    services = await name_of(bench, CaPurpose.SERVICES, "fed-a")
    crl = x509.load_pem_x509_crl(await bench.authority.crl_pem(services))
    assert [line.serial_number for line in crl] == [int(service.serial, 16)]


async def test_an_expired_certificate_stays_listed_for_one_more_day(bench: Bench) -> None:
    issued = await bench.issue("agent")
    await bench.authority.revoke(issued.serial, RevocationReason.SUPERSEDED)
    bench.clock.at = issued.not_after + timedelta(hours=23)
    assert len(list(await agents_crl(bench))) == 1
    bench.clock.advance(timedelta(hours=1))
    assert list(await agents_crl(bench)) == []


async def test_a_retired_authority_still_signs_its_list(bench: Bench) -> None:
    issued = await bench.issue("agent")
    old = await name_of(bench, CaPurpose.AGENTS)
    bench.clock.advance(timedelta(days=183))
    await bench.authority.refresh()
    assert await name_of(bench, CaPurpose.AGENTS) != old
    crl = x509.load_pem_x509_crl(await bench.authority.crl_pem(old))
    issuer = x509.load_pem_x509_certificates(issued.chain_pem)[1]
    assert crl.is_signature_valid(issuer.public_key())


async def test_an_unknown_authority_has_no_list(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.authority.crl_pem("agents-000000000000")
