"""One suite for every ledger: what ``fedca.ledger.Ledger`` promises."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fedca.ledger import (
    AuthorityRecord,
    AuthorityState,
    CaPurpose,
    IssuanceRecord,
    IssuanceState,
    KeyVerdict,
    Ledger,
    RedeemOutcome,
    RevocationReason,
    TokenRecord,
)
from fedcore.errors import Conflict, NotFound

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)


def sha(number: int) -> str:
    return f"{number:064x}"


def an_authority(
    number: int = 1, purpose: CaPurpose = CaPurpose.ROOT, scope: str = ""
) -> AuthorityRecord:
    return AuthorityRecord(
        authority_id=f"ca-{number}",
        name=f"{purpose}-{number}",
        purpose=purpose,
        scope=scope,
        state=AuthorityState.ACTIVE,
        certificate_der=bytes([0, number, 255]),
        sealed_key=bytes([1, number, 0]),
        created_at=NOW + timedelta(seconds=number),
        not_after=NOW + timedelta(days=365),
    )


def an_issuance(serial: str = "a1", *, subject: str = "agent:s/a", key: int = 1) -> IssuanceRecord:
    return IssuanceRecord(
        serial=serial,
        profile="agent",
        issuer_id="ca-1",
        subject=subject,
        spki_sha256=sha(key),
        dns_names=("alpha.agents.federation.internal",),
        requested_by="site:alpha",
        created_at=NOW,
        not_before=NOW - timedelta(minutes=5),
        not_after=NOW + timedelta(days=7),
    )


def a_token(number: int = 1, site_id: str = "site-1") -> TokenRecord:
    return TokenRecord(
        token_id=f"token-{number}",
        token_sha256=sha(number),
        site_id=site_id,
        created_by="admin",
        created_at=NOW,
        expires_at=NOW + HOUR,
    )


async def issued(ledger: Ledger, serial: str, key: int, **changes: object) -> None:
    record = replace(an_issuance(serial, key=key), **changes)
    assert await ledger.begin_issuance(record) is KeyVerdict.ACCEPTED
    assert await ledger.complete_issuance(serial, b"der")


# --- authorities


async def test_an_empty_ledger_has_no_authorities(ledger: Ledger) -> None:
    assert await ledger.authorities() == ()
    assert await ledger.active_authority(CaPurpose.ROOT, "") is None


async def test_an_installed_authority_comes_back_unchanged(ledger: Ledger) -> None:
    record = an_authority()
    assert await ledger.install_authority(record, replaces=None) == record
    assert await ledger.authorities() == (record,)
    assert await ledger.active_authority(CaPurpose.ROOT, "") == record


async def test_the_second_of_two_roots_gets_the_first_ones_record(ledger: Ledger) -> None:
    first, second = an_authority(1), an_authority(2)
    await ledger.install_authority(first, replaces=None)
    assert await ledger.install_authority(second, replaces=None) == first
    assert await ledger.authorities() == (first,)


async def test_of_many_authorities_at_once_one_is_installed(ledger: Ledger) -> None:
    records = [an_authority(number) for number in range(1, 11)]
    answers = await asyncio.gather(
        *(ledger.install_authority(record, replaces=None) for record in records)
    )
    assert len(set(answers)) == 1
    assert await ledger.authorities() == (answers[0],)


async def test_a_replacement_retires_the_one_it_names(ledger: Ledger) -> None:
    old, new = an_authority(1, CaPurpose.INFRA), an_authority(2, CaPurpose.INFRA)
    await ledger.install_authority(old, replaces=None)
    assert await ledger.install_authority(new, replaces=old.authority_id) == new
    retired = replace(old, state=AuthorityState.RETIRED)
    assert await ledger.authorities() == (retired, new)
    assert await ledger.active_authority(CaPurpose.INFRA, "") == new


async def test_of_two_replacements_the_later_gets_the_earlier(ledger: Ledger) -> None:
    old, new, late = (an_authority(n, CaPurpose.AGENTS) for n in (1, 2, 3))
    await ledger.install_authority(old, replaces=None)
    await ledger.install_authority(new, replaces=old.authority_id)
    assert await ledger.install_authority(late, replaces=old.authority_id) == new
    assert len(await ledger.authorities()) == 2


async def test_scopes_and_purposes_have_their_own_active_authority(ledger: Ledger) -> None:
    records = (
        an_authority(1),
        an_authority(2, CaPurpose.SERVICES, "fed-a"),
        an_authority(3, CaPurpose.SERVICES, "fed-b"),
    )
    for record in records:
        assert await ledger.install_authority(record, replaces=None) == record
    assert await ledger.authorities() == records
    assert await ledger.active_authority(CaPurpose.SERVICES, "fed-b") == records[2]
    assert await ledger.active_authority(CaPurpose.SERVICES, "") is None


async def test_an_authority_name_is_used_once(ledger: Ledger) -> None:
    await ledger.install_authority(an_authority(1), replaces=None)
    twin = replace(an_authority(2, CaPurpose.INFRA), name=an_authority(1).name)
    with pytest.raises(Conflict):
        await ledger.install_authority(twin, replaces=None)
    assert len(await ledger.authorities()) == 1


# --- issuances


async def test_an_intent_is_stored_pending_and_comes_back_unchanged(ledger: Ledger) -> None:
    record = an_issuance()
    assert await ledger.begin_issuance(record) is KeyVerdict.ACCEPTED
    assert await ledger.issuance("a1") == record
    assert await ledger.issued_for_key(sha(1)) is None


async def test_a_completed_issuance_is_found_by_serial_and_by_key(ledger: Ledger) -> None:
    await ledger.begin_issuance(an_issuance())
    assert await ledger.complete_issuance("a1", b"\x30\x00der")
    expected = replace(an_issuance(), state=IssuanceState.ISSUED, certificate_der=b"\x30\x00der")
    assert await ledger.issuance("a1") == expected
    assert await ledger.issued_for_key(sha(1)) == expected


async def test_an_unknown_serial_is_none_or_not_found(ledger: Ledger) -> None:
    assert await ledger.issuance("ff") is None
    with pytest.raises(NotFound):
        await ledger.complete_issuance("ff", b"der")
    with pytest.raises(NotFound):
        await ledger.fail_issuance("ff", "self_check")
    with pytest.raises(NotFound):
        await ledger.revoke("ff", RevocationReason.UNSPECIFIED, NOW)


async def test_a_serial_is_used_once(ledger: Ledger) -> None:
    await ledger.begin_issuance(an_issuance())
    with pytest.raises(Conflict):
        await ledger.begin_issuance(an_issuance(key=2))
    assert await ledger.issuance("a1") == an_issuance()


async def test_a_key_belongs_to_its_first_subject_for_ever(ledger: Ledger) -> None:
    await ledger.begin_issuance(an_issuance("a1", subject="agent:s/a"))
    await ledger.fail_issuance("a1", "self_check")
    verdict = await ledger.begin_issuance(an_issuance("a2", subject="agent:s/b"))
    assert verdict is KeyVerdict.OWNED_BY_ANOTHER
    assert await ledger.issuance("a2") is None


async def test_a_certified_key_gets_no_second_certificate(ledger: Ledger) -> None:
    await issued(ledger, "a1", key=1)
    await ledger.revoke("a1", RevocationReason.SUPERSEDED, NOW)
    assert await ledger.begin_issuance(an_issuance("a2")) is KeyVerdict.ALREADY_CERTIFIED
    assert await ledger.issuance("a2") is None


async def test_a_failed_issuance_lets_the_same_key_try_again(ledger: Ledger) -> None:
    await ledger.begin_issuance(an_issuance("a1"))
    await ledger.fail_issuance("a1", "self_check")
    failed = await ledger.issuance("a1")
    assert failed is not None
    assert (failed.state, failed.failure) == (IssuanceState.FAILED, "self_check")
    assert await ledger.begin_issuance(an_issuance("a2")) is KeyVerdict.ACCEPTED
    assert await ledger.complete_issuance("a2", b"der")


async def test_of_two_pending_issuances_of_a_key_one_is_completed(ledger: Ledger) -> None:
    for serial in ("a1", "a2"):
        assert await ledger.begin_issuance(an_issuance(serial)) is KeyVerdict.ACCEPTED
    won = await asyncio.gather(
        ledger.complete_issuance("a1", b"one"), ledger.complete_issuance("a2", b"two")
    )
    assert sorted(won) == [False, True]
    loser = await ledger.issuance("a2" if won[0] else "a1")
    assert loser is not None
    assert (loser.state, loser.failure) == (IssuanceState.FAILED, "key_already_certified")
    assert loser.certificate_der is None


async def test_a_closed_issuance_is_not_completed_and_not_failed(ledger: Ledger) -> None:
    await issued(ledger, "a1", key=1)
    with pytest.raises(Conflict):
        await ledger.complete_issuance("a1", b"other")
    await ledger.fail_issuance("a1", "late")
    row = await ledger.issuance("a1")
    assert row is not None
    assert (row.state, row.certificate_der, row.failure) == (IssuanceState.ISSUED, b"der", None)
    await ledger.begin_issuance(an_issuance("a2", key=2))
    await ledger.fail_issuance("a2", "self_check")
    with pytest.raises(Conflict):
        await ledger.complete_issuance("a2", b"der")


# --- revocations


async def test_a_revocation_happens_once_and_keeps_its_first_reason(ledger: Ledger) -> None:
    await issued(ledger, "a1", key=1)
    assert await ledger.revoke("a1", RevocationReason.KEY_COMPROMISE, NOW)
    assert not await ledger.revoke("a1", RevocationReason.SUPERSEDED, NOW + HOUR)
    row = await ledger.issuance("a1")
    assert row is not None
    assert (row.revoked_at, row.revocation_reason) == (NOW, RevocationReason.KEY_COMPROMISE)
    (line,) = await ledger.revocations(expiring_after=NOW)
    assert line.serial == "a1"
    assert line.issuer_id == "ca-1"
    assert line.reason is RevocationReason.KEY_COMPROMISE
    assert line.revoked_at == NOW
    assert line.not_after == NOW + timedelta(days=7)


async def test_only_an_issued_certificate_can_be_revoked(ledger: Ledger) -> None:
    await ledger.begin_issuance(an_issuance("a1"))
    with pytest.raises(NotFound):
        await ledger.revoke("a1", RevocationReason.UNSPECIFIED, NOW)
    await ledger.fail_issuance("a1", "self_check")
    with pytest.raises(NotFound):
        await ledger.revoke("a1", RevocationReason.UNSPECIFIED, NOW)
    assert await ledger.revocations(expiring_after=NOW) == ()


async def test_revocations_are_narrowed_by_expiry_and_issuer_and_sorted(ledger: Ledger) -> None:
    await issued(ledger, "a3", key=3, issuer_id="ca-2")
    await issued(ledger, "a2", key=2)
    await issued(ledger, "a1", key=1)
    await issued(ledger, "a0", key=4, not_after=NOW + HOUR)
    await issued(ledger, "af", key=5)
    await ledger.revoke("a1", RevocationReason.UNSPECIFIED, NOW + HOUR)
    for serial in ("a3", "a2", "a0"):
        await ledger.revoke(serial, RevocationReason.UNSPECIFIED, NOW)

    async def serials(**narrow: str) -> list[str]:
        lines = await ledger.revocations(expiring_after=NOW + HOUR, **narrow)
        return [line.serial for line in lines]

    assert await serials() == ["a2", "a3", "a1"]
    assert await serials(issuer_id="ca-1") == ["a2", "a1"]
    assert await serials(issuer_id="ca-9") == []


async def test_list_numbers_rise_from_one_for_each_signer(ledger: Ledger) -> None:
    numbers = await asyncio.gather(*(ledger.next_crl_number("ca-1") for _ in range(10)))
    assert sorted(numbers) == list(range(1, 11))
    assert await ledger.next_crl_number("ca-2") == 1
    assert await ledger.next_crl_number("ca-1") == 11


# --- join tokens


async def redeem(
    ledger: Ledger, *, token: int = 1, key: int = 1, agent_id: str = "agent-1", at: datetime = NOW
) -> tuple[RedeemOutcome, TokenRecord | None]:
    answer = await ledger.redeem_token(sha(token), spki_sha256=sha(key), agent_id=agent_id, now=at)
    return answer.outcome, answer.record


async def test_a_fresh_token_is_granted_and_remembers_its_key(ledger: Ledger) -> None:
    await ledger.add_token(a_token())
    outcome, record = await redeem(ledger)
    assert outcome is RedeemOutcome.GRANTED
    assert record == replace(a_token(), redeemed_at=NOW, spki_sha256=sha(1), agent_id="agent-1")


async def test_the_same_key_repeats_and_keeps_the_first_agent_id(ledger: Ledger) -> None:
    await ledger.add_token(a_token())
    _, first = await redeem(ledger)
    outcome, record = await redeem(ledger, agent_id="agent-2", at=NOW + timedelta(minutes=1))
    assert outcome is RedeemOutcome.REPEATED
    assert record == first


async def test_another_key_is_told_apart_and_changes_nothing(ledger: Ledger) -> None:
    await ledger.add_token(a_token())
    _, first = await redeem(ledger)
    outcome, record = await redeem(ledger, key=2, agent_id="agent-2")
    assert outcome is RedeemOutcome.KEY_MISMATCH
    assert record == first
    assert (await redeem(ledger))[0] is RedeemOutcome.REPEATED


async def test_an_unknown_token_has_no_record(ledger: Ledger) -> None:
    assert await redeem(ledger) == (RedeemOutcome.UNKNOWN, None)


async def test_a_token_expires_at_its_time_used_or_not(ledger: Ledger) -> None:
    await ledger.add_token(a_token(1))
    await ledger.add_token(a_token(2))
    await redeem(ledger, token=2)
    assert (await redeem(ledger, token=1, at=NOW + HOUR)) == (RedeemOutcome.EXPIRED, a_token(1))
    assert (await redeem(ledger, token=2, at=NOW + HOUR))[0] is RedeemOutcome.EXPIRED
    just_before = NOW + HOUR - timedelta(seconds=1)
    assert (await redeem(ledger, token=1, at=just_before))[0] is RedeemOutcome.GRANTED


async def test_voiding_reaches_every_token_of_the_site_and_no_other(ledger: Ledger) -> None:
    for number, site in ((1, "site-1"), (2, "site-1"), (3, "site-2")):
        await ledger.add_token(a_token(number, site))
    await redeem(ledger, token=2)
    assert await ledger.void_tokens("site-1", NOW) == 2
    assert await ledger.void_tokens("site-1", NOW + HOUR) == 0
    assert (await redeem(ledger, token=1))[0] is RedeemOutcome.VOIDED
    outcome, record = await redeem(ledger, token=2)
    assert outcome is RedeemOutcome.VOIDED
    assert record is not None
    assert record.voided_at == NOW
    assert (await redeem(ledger, token=3))[0] is RedeemOutcome.GRANTED


async def test_a_token_is_stored_once(ledger: Ledger) -> None:
    await ledger.add_token(a_token(1))
    with pytest.raises(Conflict):
        await ledger.add_token(replace(a_token(2), token_id="token-1"))
    with pytest.raises(Conflict):
        await ledger.add_token(replace(a_token(2), token_sha256=sha(1)))


async def test_of_fifty_redeems_at_once_exactly_one_wins(ledger: Ledger) -> None:
    await ledger.add_token(a_token())
    answers = await asyncio.gather(
        *(redeem(ledger, key=number, agent_id=f"agent-{number}") for number in range(1, 51))
    )
    outcomes = [outcome for outcome, _ in answers]
    assert outcomes.count(RedeemOutcome.GRANTED) == 1
    assert outcomes.count(RedeemOutcome.KEY_MISMATCH) == 49
    assert len({record.agent_id for _, record in answers if record is not None}) == 1
