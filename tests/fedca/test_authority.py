"""The authority: what it makes, issues, refuses, renews and revokes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fedca.bench import START, Bench, SetClock, hostile_csr, issuer_of, leaf_of, request

from fedca import issuing
from fedca.authority import Authority, AuthoritySettings
from fedca.csr import make_csr_pem, parse_csr
from fedca.hierarchy import ROOT_PATH_LENGTH
from fedca.identity import AgentIdentity, peer_identity
from fedca.keys import KeyKind, make_private_key, private_key_der
from fedca.ledger import MemoryLedger
from fedca.names import ProfileName
from fedca.records import AuthorityRecord, AuthorityState, CaPurpose, IssuanceState
from fedca.sealing import Sealer
from fedcore.errors import Internal, Invalid, Unauthenticated, Unavailable

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def alternative_names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


# --- opening


async def test_the_root_can_be_cross_signed_and_the_issuers_sign_leaves_alone(bench: Bench) -> None:
    root = bench.root
    basic = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert basic.value == x509.BasicConstraints(ca=True, path_length=ROOT_PATH_LENGTH)
    assert root.public_key().curve.name == "secp384r1"
    for row in bench.authority.authorities()[1:]:
        issuer = x509.load_der_x509_certificate(row.certificate_der)
        issuer.verify_directly_issued_by(root)
        limits = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert limits == x509.BasicConstraints(ca=True, path_length=0)
        assert issuer.extensions.get_extension_for_class(x509.NameConstraints).critical


async def test_opening_again_changes_nothing(bench: Bench) -> None:
    again = await bench.reopened()
    assert again.trust_bundle() == bench.authority.trust_bundle()
    assert again.agents_anchor_pem() == bench.authority.agents_anchor_pem()
    assert len(await bench.ledger.authorities()) == 3


class SlowLedger(MemoryLedger):
    """Lets others run before each step, as a database would."""

    async def active_authority(self, purpose, scope):
        await asyncio.sleep(0)
        return await super().active_authority(purpose, scope)

    async def install_authority(self, record, *, replaces):
        await asyncio.sleep(0)
        return await super().install_authority(record, replaces=replaces)


async def test_processes_that_open_at_once_end_with_one_root() -> None:
    ledger, sealer = SlowLedger(), Sealer(os.urandom(32))
    opened = await asyncio.gather(
        *(
            Authority.open(
                ledger=ledger, sealer=sealer, clock=SetClock(), settings=AuthoritySettings()
            )
            for _ in range(5)
        )
    )
    assert len({authority.root_fingerprint() for authority in opened}) == 1
    assert len({authority.agents_anchor_pem() for authority in opened}) == 1
    assert len(await ledger.authorities()) == 3


async def test_another_master_key_does_not_open_the_ledger(bench: Bench) -> None:
    bench.sealer = Sealer(os.urandom(32))
    with pytest.raises(Internal, match="does not open"):
        await bench.reopened()


async def test_no_authority_key_is_in_the_ledger_in_clear(bench: Bench) -> None:
    await bench.issue("pulsar")
    stored = b"".join(
        row.sealed_key + row.certificate_der for row in await bench.ledger.authorities()
    )
    for issuer in bench.authority._issuers._opened.values():
        der, secret = private_key_der(issuer.key), issuer.key.private_numbers().private_value
        size = issuer.key.key_size // 8
        assert der not in stored
        assert secret.to_bytes(size, "big") not in stored
        assert b"PRIVATE" not in stored
    assert len(bench.authority._issuers._opened) == 4


async def test_swapped_sealed_keys_do_not_open(bench: Bench) -> None:
    assert isinstance(bench.ledger, MemoryLedger)
    rows = bench.ledger._authorities
    infra, agents = (row for row in rows.values() if row.purpose is not CaPurpose.ROOT)
    rows[infra.authority_id] = replace(infra, sealed_key=agents.sealed_key)
    rows[agents.authority_id] = replace(agents, sealed_key=infra.sealed_key)
    with pytest.raises(Internal, match="does not open"):
        await bench.reopened()


async def test_a_foreign_certificate_beside_a_key_is_noticed(bench: Bench) -> None:
    assert isinstance(bench.ledger, MemoryLedger)
    rows = bench.ledger._authorities
    infra, agents = (row for row in rows.values() if row.purpose is not CaPurpose.ROOT)
    rows[infra.authority_id] = replace(infra, certificate_der=agents.certificate_der)
    with pytest.raises(Internal, match="differ"):
        await bench.reopened()


# --- what is issued


async def test_each_profile_gets_its_names_usages_and_life(bench: Bench) -> None:
    expected = {
        "hub": ("hub.federation.internal", {SERVER}, timedelta(days=30), 2),
        "console": ("console.hub.federation.internal", {SERVER}, timedelta(days=30), 5),
        "agent": ("alpha.agents.federation.internal", {CLIENT}, timedelta(days=7), 2),
        "pulsar": ("9999.fed-a.example.com", {SERVER, CLIENT}, timedelta(days=30), 1),
        "ats": ("proxy.fed-a.example.com", {SERVER}, timedelta(days=30), 1),
    }
    assert set(expected) == set(ProfileName)
    for profile, (name, usages, life, count) in expected.items():
        issued = await bench.issue(profile)
        leaf = leaf_of(issued)
        (common,) = leaf.subject
        assert (common.oid, common.value) == (NameOID.COMMON_NAME, name)
        assert alternative_names(leaf)[0] == x509.DNSName(name)
        assert len(alternative_names(leaf)) == count
        assert issued.dns_names[0] == name
        assert set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == usages
        assert leaf.not_valid_after_utc - START.replace(microsecond=0) == life
        assert START.replace(microsecond=0) - leaf.not_valid_before_utc == timedelta(minutes=5)
        assert (issued.not_before, issued.not_after) == (
            leaf.not_valid_before_utc,
            leaf.not_valid_after_utc,
        )
        assert int(issued.serial, 16) == leaf.serial_number
        assert issued.serial == issued.serial.lower()
        assert leaf.serial_number.bit_length() <= 159


async def test_a_chain_is_the_leaf_and_its_issuer_without_the_root(bench: Bench) -> None:
    chain = x509.load_pem_x509_certificates((await bench.issue("ats")).chain_pem)
    assert len(chain) == 2
    chain[0].verify_directly_issued_by(chain[1])
    chain[1].verify_directly_issued_by(bench.root)


async def test_an_rsa_key_is_for_services_alone(bench: Bench) -> None:
    leaf = leaf_of(await bench.issue("pulsar", kind=KeyKind.RSA))
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_encipherment
    for profile in ("agent", "hub"):
        with pytest.raises(Invalid, match="rsa is not accepted"):
            await bench.issue(profile, kind=KeyKind.RSA)


async def test_a_long_site_name_gives_an_empty_subject_and_critical_names(bench: Bench) -> None:
    leaf = leaf_of(await bench.issue("agent", site_name="a" * 63))
    assert list(leaf.subject) == []
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(profile=st.sampled_from(list(ProfileName)), case=st.integers(0, 2))
async def test_a_request_gives_its_key_and_no_wish_of_its_own(
    bench: Bench, profile: ProfileName, case: int
) -> None:
    key = make_private_key()
    csr_pem = hostile_csr(key, with_csr_extensions=case)
    leaf = leaf_of(await bench.authority.issue(request(csr_pem, profile)))
    plain = leaf_of(await bench.issue(profile))
    assert leaf.public_key() == key.public_key()
    assert leaf.subject == plain.subject
    for mine, usual in zip(leaf.extensions, plain.extensions, strict=True):
        if mine.oid != x509.SubjectKeyIdentifier.oid:
            assert (mine.oid, mine.critical, mine.value) == (usual.oid, usual.critical, usual.value)


@pytest.mark.parametrize(
    ("profile", "changes"),
    [
        ("root", {}),
        ("", {}),
        ("agent", {"site_name": "a.b"}),
        ("pulsar", {"domain": "agents.federation.internal"}),
        ("pulsar", {"domain": "x.hub.federation.internal"}),
        ("pulsar", {"party_id": 0}),
        ("ats", {"federation_id": "fed/../a"}),
    ],
)
async def test_a_wrong_request_leaves_nothing_behind(
    bench: Bench, profile: str, changes: dict[str, str | int]
) -> None:
    with pytest.raises(Invalid):
        await bench.issue(profile, **changes)
    assert bench.ledger._issuances == {}


async def test_a_signature_that_fails_its_check_is_never_handed_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = issuing.sign_leaf

    def broken(plan, **signer):
        names = replace(plan.names, dns_names=("hub.federation.internal",))
        return sign(replace(plan, names=names), **signer)

    monkeypatch.setattr(issuing, "sign_leaf", broken)
    csr_pem = make_csr_pem(make_private_key())
    with pytest.raises(Internal, match="could not be made"):
        await bench.authority.issue(request(csr_pem))
    (row,) = bench.ledger._issuances.values()
    assert (row.state, row.failure) == (IssuanceState.FAILED, "self_check")
    assert row.certificate_der is None
    monkeypatch.setattr(issuing, "sign_leaf", sign)
    assert (await bench.authority.issue(request(csr_pem))).profile == "agent"


# --- issuing authorities in time


async def test_issuing_authorities_are_replaced_at_half_of_their_life(bench: Bench) -> None:
    before = await bench.issue("agent")
    bench.clock.advance(timedelta(days=181))
    assert issuer_of(await bench.issue("agent")) == issuer_of(before)
    bench.clock.advance(timedelta(days=2))
    after = await bench.issue("agent")
    assert issuer_of(after) != issuer_of(before)
    anchors = x509.load_pem_x509_certificates(bench.authority.agents_anchor_pem())
    assert anchors == [issuer_of(before), issuer_of(after)]
    states = [row.state for row in bench.authority.authorities() if row.purpose is CaPurpose.AGENTS]
    assert states == [AuthorityState.RETIRED, AuthorityState.ACTIVE]
    bench.clock.advance(timedelta(days=183))
    await bench.authority.refresh()
    assert issuer_of(before) not in x509.load_pem_x509_certificates(
        bench.authority.agents_anchor_pem()
    )


async def test_a_leaf_never_outlives_its_issuer(bench: Bench) -> None:
    bench.clock.at = bench.root.not_valid_after_utc - timedelta(days=5)
    for profile in ProfileName:
        issued = await bench.issue(profile)
        assert issued.not_after <= issuer_of(issued).not_valid_after_utc
        assert issuer_of(issued).not_valid_after_utc <= bench.root.not_valid_after_utc


async def test_new_hub_names_make_a_new_infra_authority_and_retire_the_old(bench: Bench) -> None:
    wider = replace(bench.settings, hub_dns_names=("localhost", "other.example.org"))
    authority = await bench.reopened(wider)
    infra = [row for row in authority.authorities() if row.purpose is CaPurpose.INFRA]
    assert [row.state for row in infra] == [AuthorityState.RETIRED, AuthorityState.ACTIVE]
    issued = await authority.issue(request(make_csr_pem(make_private_key()), "console"))
    assert issued.dns_names == (
        "console.hub.federation.internal",
        "localhost",
        "other.example.org",
    )


async def test_fewer_hub_names_keep_the_infra_authority(bench: Bench) -> None:
    fewer = replace(bench.settings, hub_dns_names=("localhost",), hub_ip_addresses=("127.0.0.1",))
    assert len((await bench.reopened(fewer)).authorities()) == 3


async def test_a_hub_without_addresses_may_bear_none(bench: Bench) -> None:
    authority = await bench.reopened(replace(bench.settings, hub_ip_addresses=()))
    newest = authority.authorities()[-1]
    limits = x509.load_der_x509_certificate(
        newest.certificate_der
    ).extensions.get_extension_for_class(x509.NameConstraints)
    excluded = [str(name.value) for name in limits.value.excluded_subtrees or ()]
    assert newest.purpose is CaPurpose.INFRA
    assert {"0.0.0.0/0", "::/0"} <= set(excluded)


async def test_each_federation_has_its_own_services_authority(bench: Bench) -> None:
    first = await bench.issue("pulsar")
    second = await bench.issue("ats")
    other = await bench.issue("ats", federation_id="fed-b", domain="fed-b.example.com")
    assert issuer_of(first) == issuer_of(second)
    assert issuer_of(other) != issuer_of(first)


async def test_a_federation_that_changes_its_domain_gets_a_new_authority(bench: Bench) -> None:
    first = await bench.issue("ats")
    moved = await bench.issue("ats", domain="new.example.com")
    assert issuer_of(moved) != issuer_of(first)
    assert moved.dns_names == ("proxy.new.example.com",)


# --- identity


async def test_a_peer_is_who_its_agent_certificate_says(bench: Bench) -> None:
    issued = await bench.issue("agent")
    identity = peer_identity(issued.chain_pem, "federation.internal")
    assert identity == AgentIdentity("site-1", "agent-1", issued.serial)


async def test_no_other_certificate_is_an_agents(bench: Bench) -> None:
    agent = await bench.issue("agent")
    for profile in ("hub", "pulsar", "ats"):
        with pytest.raises(Unauthenticated):
            peer_identity((await bench.issue(profile)).chain_pem, "federation.internal")
    for pem, trust_domain in (
        (agent.chain_pem, "other.internal"),
        (bench.authority.trust_bundle().roots_pem, "federation.internal"),
        (b"", "federation.internal"),
        (b"\xff" * 20_000, "federation.internal"),
    ):
        with pytest.raises(Unauthenticated, match="no agent's"):
            peer_identity(pem, trust_domain)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # a bent one is negative
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
async def test_a_bent_certificate_is_an_identity_or_unauthenticated(
    bench: Bench, bends: list[tuple[int, int]]
) -> None:
    der = bytearray(leaf_of(await bench.issue("agent")).public_bytes(Encoding.DER))
    for position, value in bends:
        der[position % len(der)] = value
    pem = ssl.DER_cert_to_PEM_cert(bytes(der)).encode()
    with contextlib.suppress(Unauthenticated):
        peer_identity(pem, "federation.internal")


async def test_the_certificate_of_a_key_is_found_by_what_names_the_key(bench: Bench) -> None:
    csr_pem = make_csr_pem(make_private_key())
    issued = await bench.authority.issue(request(csr_pem))
    assert issued.spki_sha256 == parse_csr(csr_pem).spki_sha256


async def test_the_end_of_the_root_is_said(bench: Bench) -> None:
    bench.clock.at = bench.root.not_valid_after_utc - timedelta(hours=1)
    with pytest.raises(Unavailable, match="a new root is needed"):
        await bench.issue("agent")
    bench.clock.advance(timedelta(hours=2))
    with pytest.raises(Internal, match="expired"):
        bench.authority.root_fingerprint()


class StubbornLedger(MemoryLedger):
    """Another hub with other settings is always first."""

    rival: AuthorityRecord | None = None

    async def active_authority(self, purpose, scope):
        is_contested = self.rival is not None and purpose is CaPurpose.INFRA
        return self.rival if is_contested else await super().active_authority(purpose, scope)

    async def install_authority(self, record, *, replaces):
        is_contested = self.rival is not None and record.purpose is CaPurpose.INFRA
        if is_contested:
            return self.rival
        return await super().install_authority(record, replaces=replaces)


async def test_hubs_that_replace_each_others_authority_do_not_do_so_for_ever() -> None:
    ledger, sealer, clock = StubbornLedger(), Sealer(os.urandom(32)), SetClock()
    await Authority.open(ledger=ledger, sealer=sealer, clock=clock, settings=AuthoritySettings())
    ledger.rival = await ledger.active_authority(CaPurpose.INFRA, "")
    settings = AuthoritySettings(hub_dns_names=("hub.example.org",))
    with pytest.raises(Unavailable, match="another hub"):
        await Authority.open(ledger=ledger, sealer=sealer, clock=clock, settings=settings)
