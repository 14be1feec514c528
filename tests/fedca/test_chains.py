"""Chains as strangers judge them: ``cryptography`` and the openssl program, strictly."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509 import verification
from tests.fedca.bench import Bench, OpenSsl, leaf_of, usual_subject

from fedca.hierarchy import pem_of
from fedca.issuers import Issuer
from fedca.keys import KeyKind, make_private_key
from fedca.leaf import plan_leaf, sign_leaf, verify_chain
from fedca.names import CertificateNames, ProfileName, names_of
from fedca.profiles import PROFILES, Profile, Usage
from fedca.records import CaPurpose

PURPOSES = {Usage.SERVER: "sslserver", Usage.CLIENT: "sslclient"}
EVERY = [(profile, kind) for profile in ProfileName for kind in sorted(PROFILES[profile].keys)]


@pytest.mark.parametrize(("profile", "kind"), EVERY)
async def test_every_chain_verifies_for_its_usages_and_for_no_other(
    bench: Bench, openssl: OpenSsl, profile: ProfileName, kind: KeyKind
) -> None:
    issued = await bench.issue(profile, kind=kind)
    leaf, issuer = x509.load_pem_x509_certificates(issued.chain_pem)
    row = PROFILES[profile]
    names = names_of(profile, usual_subject(), bench.settings)
    verify_chain(leaf, row, names, issuers=[issuer], roots=[bench.root])
    roots = bench.authority.trust_bundle().roots_pem
    for usage, purpose in PURPOSES.items():
        options = ["-purpose", purpose]
        if usage is Usage.SERVER:
            options += ["-verify_hostname", issued.dns_names[-1]]
        judged = openssl(pem_of(leaf), pem_of(issuer), roots, *options)
        assert (judged.returncode == 0) is (usage in row.usages), judged.stderr
    judged = openssl(pem_of(leaf), pem_of(issuer), roots, "-verify_hostname", "evil.example.com")
    assert judged.returncode != 0


async def test_the_console_verifies_under_each_of_its_names_and_addresses(
    bench: Bench, openssl: OpenSsl
) -> None:
    leaf, issuer = x509.load_pem_x509_certificates((await bench.issue("console")).chain_pem)
    roots = bench.authority.trust_bundle().roots_pem
    for option in (
        ("-verify_hostname", "console.hub.federation.internal"),
        ("-verify_hostname", "localhost"),
        ("-verify_hostname", "fed.example.org"),
        ("-verify_ip", "127.0.0.1"),
        ("-verify_ip", "::1"),
    ):
        judged = openssl(pem_of(leaf), pem_of(issuer), roots, "-purpose", "sslserver", *option)
        assert judged.returncode == 0, judged.stderr
    judged = openssl(pem_of(leaf), pem_of(issuer), roots, "-verify_ip", "10.0.0.1")
    assert judged.returncode != 0


async def test_an_empty_subject_verifies_too(bench: Bench, openssl: OpenSsl) -> None:
    issued = await bench.issue("agent", site_name="a" * 63)
    leaf, issuer = x509.load_pem_x509_certificates(issued.chain_pem)
    roots = bench.authority.trust_bundle().roots_pem
    judged = openssl(pem_of(leaf), pem_of(issuer), roots, "-purpose", "sslclient")
    assert judged.returncode == 0, judged.stderr


async def test_an_agent_verifies_under_the_agents_anchor_alone(
    bench: Bench, openssl: OpenSsl
) -> None:
    anchor = bench.authority.agents_anchor_pem()
    options = ("-partial_chain", "-purpose", "sslclient")
    for profile in ProfileName:
        leaf, issuer = x509.load_pem_x509_certificates((await bench.issue(profile)).chain_pem)
        judged = openssl(pem_of(leaf), pem_of(issuer), anchor, *options)
        assert (judged.returncode == 0) is (profile is ProfileName.AGENT)


async def test_a_chain_is_judged_by_the_time(bench: Bench, openssl: OpenSsl) -> None:
    issued = await bench.issue("agent")
    leaf, issuer = x509.load_pem_x509_certificates(issued.chain_pem)
    roots = bench.authority.trust_bundle().roots_pem
    for at, is_good in (
        (issued.not_before - timedelta(seconds=1), False),
        (issued.not_before, True),
        (issued.not_after - timedelta(seconds=1), True),
        (issued.not_after + timedelta(seconds=1), False),
    ):
        judged = openssl(pem_of(leaf), pem_of(issuer), roots, at=at)
        assert (judged.returncode == 0) is is_good


# --- what a stolen issuing key could and could not do


@dataclass
class Forger:
    """Somebody with the key of one issuing authority."""

    bench: Bench
    openssl: OpenSsl
    issuer: Issuer

    def is_believed(self, profile: Profile, names: CertificateNames) -> tuple[bool, bool]:
        """Sign ``names``; tell whether cryptography and openssl believe it."""
        plan = plan_leaf(
            profile,
            names,
            make_private_key().public_key(),
            issuer=self.issuer.certificate,
            now=self.bench.clock.now(),
        )
        leaf = sign_leaf(plan, issuer=self.issuer.certificate, key=self.issuer.key)
        return self._by_cryptography(leaf, profile, names), self._by_openssl(leaf, profile)

    def _by_cryptography(
        self, leaf: x509.Certificate, profile: Profile, names: CertificateNames
    ) -> bool:
        try:
            verify_chain(
                leaf, profile, names, issuers=[self.issuer.certificate], roots=[self.bench.root]
            )
        except verification.VerificationError:
            return False
        return True

    def _by_openssl(self, leaf: x509.Certificate, profile: Profile) -> bool:
        roots = self.bench.authority.trust_bundle().roots_pem
        chain = pem_of(leaf), pem_of(self.issuer.certificate), roots
        purpose = ("-purpose", PURPOSES[profile.usages[0]])
        return self.openssl(*chain, *purpose).returncode == 0


async def forger(bench: Bench, openssl: OpenSsl, purpose: CaPurpose, scope: str = "") -> Forger:
    await bench.issue("ats")
    await bench.issue("ats", federation_id="fed-b", domain="fed-b.example.com")
    row = await bench.ledger.active_authority(purpose, scope)
    assert row is not None
    return Forger(bench, openssl, await bench.authority._issuers.by_name(row.name))


def as_server(*dns_names: str) -> tuple[Profile, CertificateNames]:
    return PROFILES[ProfileName.ATS], CertificateNames(dns_names[0], dns_names)


def as_itself(bench: Bench, profile: ProfileName, **subject: str | int) -> tuple:
    return PROFILES[profile], names_of(profile, usual_subject(**subject), bench.settings)


async def test_the_forger_is_believed_within_its_authority(bench: Bench, openssl: OpenSsl) -> None:
    thief = await forger(bench, openssl, CaPurpose.SERVICES, "fed-a")
    for forged in (as_itself(bench, ProfileName.PULSAR), as_server("any.fed-a.example.com")):
        assert thief.is_believed(*forged) == (True, True)


@pytest.mark.parametrize("profile", [ProfileName.AGENT, ProfileName.HUB])
async def test_a_services_key_cannot_make_an_agent_or_a_hub(
    bench: Bench, openssl: OpenSsl, profile: ProfileName
) -> None:
    thief = await forger(bench, openssl, CaPurpose.SERVICES, "fed-a")
    assert thief.is_believed(*as_itself(bench, profile)) == (False, False)


async def test_a_services_key_of_the_trust_domain_itself_cannot_either(
    bench: Bench, openssl: OpenSsl
) -> None:
    await bench.issue("ats", federation_id="fed-c", domain="federation.internal")
    thief = await forger(bench, openssl, CaPurpose.SERVICES, "fed-c")
    assert thief.is_believed(*as_server("proxy.federation.internal")) == (True, True)
    for name in ("hub.federation.internal", "alpha.agents.federation.internal"):
        assert thief.is_believed(*as_server(name)) == (False, False)


async def test_two_federations_cannot_name_each_others_hosts(
    bench: Bench, openssl: OpenSsl
) -> None:
    domains = {"fed-a": "fed-a.example.com", "fed-b": "fed-b.example.com"}
    for mine, theirs in (("fed-a", "fed-b"), ("fed-b", "fed-a")):
        thief = await forger(bench, openssl, CaPurpose.SERVICES, mine)
        for name in (f"proxy.{domains[theirs]}", f"evil{domains[mine]}", "example.com"):
            assert thief.is_believed(*as_server(name)) == (False, False)
        both = as_server(f"proxy.{domains[mine]}", f"proxy.{domains[theirs]}")
        assert thief.is_believed(*both) == (False, False)


async def test_an_agents_key_cannot_make_a_server(bench: Bench, openssl: OpenSsl) -> None:
    thief = await forger(bench, openssl, CaPurpose.AGENTS)
    assert thief.is_believed(*as_itself(bench, ProfileName.AGENT)) == (True, True)
    for forged in (
        as_itself(bench, ProfileName.HUB),
        as_server("alpha.agents.federation.internal"),
        as_itself(bench, ProfileName.PULSAR),
    ):
        assert thief.is_believed(*forged) == (False, False)


async def test_an_infra_key_cannot_make_an_agent_or_a_service(
    bench: Bench, openssl: OpenSsl
) -> None:
    thief = await forger(bench, openssl, CaPurpose.INFRA)
    for profile in (ProfileName.AGENT, ProfileName.PULSAR, ProfileName.ATS):
        assert thief.is_believed(*as_itself(bench, profile)) == (False, False)


async def test_addresses_are_for_the_hubs_own_alone(bench: Bench, openssl: OpenSsl) -> None:
    _, names = as_itself(bench, ProfileName.CONSOLE)
    services = await forger(bench, openssl, CaPurpose.SERVICES, "fed-a")
    with_address = CertificateNames(
        "x.fed-a.example.com", ("x.fed-a.example.com",), (), names.ip_addresses
    )
    assert services.is_believed(PROFILES[ProfileName.ATS], with_address) == (False, False)
    infra = await forger(bench, openssl, CaPurpose.INFRA)
    assert infra.is_believed(PROFILES[ProfileName.CONSOLE], names) == (True, True)
    other = CertificateNames(
        names.common_name, names.dns_names, (), (type(names.ip_addresses[0])("10.0.0.1"),)
    )
    assert infra.is_believed(PROFILES[ProfileName.CONSOLE], other) == (False, False)


async def test_a_leaf_cannot_sign(bench: Bench, openssl: OpenSsl) -> None:
    key = make_private_key()
    thief = await forger(bench, openssl, CaPurpose.SERVICES, "fed-a")
    profile, names = as_itself(bench, ProfileName.ATS)
    plan = plan_leaf(
        profile,
        names,
        key.public_key(),
        issuer=thief.issuer.certificate,
        now=bench.clock.now(),
    )
    leaf = sign_leaf(plan, issuer=thief.issuer.certificate, key=thief.issuer.key)
    plan = plan_leaf(
        profile, names, make_private_key().public_key(), issuer=leaf, now=bench.clock.now()
    )
    below = sign_leaf(plan, issuer=leaf, key=key)
    with pytest.raises(verification.VerificationError):
        verify_chain(
            below, profile, names, issuers=[leaf, thief.issuer.certificate], roots=[bench.root]
        )
    untrusted = pem_of(leaf, thief.issuer.certificate)
    roots = bench.authority.trust_bundle().roots_pem
    assert openssl(pem_of(below), untrusted, roots).returncode != 0


async def test_another_hubs_root_vouches_for_nothing_here(
    bench: Bench, openssl: OpenSsl, other_bench: Bench
) -> None:
    leaf, issuer = x509.load_pem_x509_certificates((await bench.issue("hub")).chain_pem)
    roots = other_bench.authority.trust_bundle().roots_pem
    assert openssl(pem_of(leaf), pem_of(issuer), roots).returncode != 0
    assert leaf_of(await other_bench.issue("hub")) != leaf
