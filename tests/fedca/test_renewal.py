"""One certificate for a key: renewal, retries, revocation."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.fedca.bench import Bench, request

from fedca.authority import RevocationReason
from fedca.csr import make_csr_pem
from fedca.keys import make_private_key
from fedca.records import IssuanceState
from fedca.renewal import renew_at
from fedcore.errors import Denied, NotFound


async def test_a_key_of_one_subject_is_refused_for_another(bench: Bench) -> None:
    csr_pem = make_csr_pem(make_private_key())
    await bench.authority.issue(request(csr_pem))
    for other in (
        request(csr_pem, agent_id="agent-2"),
        request(csr_pem, "pulsar"),
        replace(request(csr_pem, site_id="site-2"), is_retry=True),
    ):
        with pytest.raises(Denied) as caught:
            await bench.authority.issue(other)
        assert caught.value.facts["reason"] == "key_of_another"


async def test_an_agent_renews_with_a_new_key_only(bench: Bench) -> None:
    csr_pem = make_csr_pem(make_private_key())
    first = await bench.authority.issue(request(csr_pem))
    bench.clock.at = renew_at(first.not_before, first.not_after, spread=0)
    with pytest.raises(Denied) as caught:
        await bench.authority.issue(request(csr_pem))
    assert caught.value.facts["reason"] == "key_reused"
    second = await bench.issue("agent")
    assert second.not_after - first.not_after > timedelta(days=4)
    assert second.serial != first.serial


async def test_a_retry_with_the_same_key_gets_the_same_certificate(bench: Bench) -> None:
    asked = request(make_csr_pem(make_private_key()))
    first = await bench.authority.issue(asked)
    bench.clock.advance(timedelta(minutes=10))
    assert await bench.authority.issue(replace(asked, is_retry=True)) == first
    with pytest.raises(Denied):
        await bench.authority.issue(asked)


async def test_retries_at_once_get_one_certificate(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = bench.ledger.complete_issuance

    async def later(serial: str, certificate_der: bytes) -> bool:
        # All are begun before the first is completed, as with a database.
        await asyncio.sleep(0)
        return await complete(serial, certificate_der)

    monkeypatch.setattr(bench.ledger, "complete_issuance", later)
    asked = replace(request(make_csr_pem(make_private_key())), is_retry=True)
    answers = await asyncio.gather(*(bench.authority.issue(asked) for _ in range(5)))
    assert len({answer.serial for answer in answers}) == 1
    states = sorted(row.state for row in bench.ledger._issuances.values())
    assert states == [IssuanceState.FAILED] * 4 + [IssuanceState.ISSUED]


async def test_a_service_may_ask_again_until_it_is_due(bench: Bench) -> None:
    asked = request(make_csr_pem(make_private_key()), "pulsar")
    first = await bench.authority.issue(asked)
    assert await bench.authority.issue(asked) == first
    bench.clock.at = renew_at(first.not_before, first.not_after, spread=-1)
    with pytest.raises(Denied):
        await bench.authority.issue(asked)


async def test_a_revoked_certificate_is_not_repeated(bench: Bench) -> None:
    asked = request(make_csr_pem(make_private_key()), "pulsar")
    first = await bench.authority.issue(asked)
    await bench.authority.revoke(first.serial, RevocationReason.KEY_COMPROMISE)
    with pytest.raises(Denied):
        await bench.authority.issue(asked)


async def test_revoking_is_for_good_and_happens_once(bench: Bench) -> None:
    issued = await bench.issue("agent")
    assert not await bench.authority.is_revoked(issued.serial)
    for reason in (RevocationReason.KEY_COMPROMISE, RevocationReason.SUPERSEDED):
        await bench.authority.revoke(issued.serial.upper(), reason)
    assert await bench.authority.is_revoked(issued.serial)
    assert await bench.authority.revoked_serials() == {issued.serial}
    bench.clock.advance(timedelta(days=8))
    assert await bench.authority.revoked_serials() == frozenset()


async def test_an_unknown_serial_cannot_be_revoked_and_counts_as_revoked(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.authority.revoke("abc", RevocationReason.UNSPECIFIED)
    assert await bench.authority.is_revoked("abc")
