"""The check of a signed leaf: each deviation from the profile is found and named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from tests.fedca.bench import Bench, usual_subject

from fedca.keys import make_private_key
from fedca.leaf import LeafPlan, check_leaf, plan_leaf, sign_leaf
from fedca.names import CertificateNames, ProfileName, names_of
from fedca.profiles import PROFILES
from fedca.records import CaPurpose
from fedcore.errors import Internal

KEY = make_private_key()
SITE = "alpha.agents.federation.internal"


async def an_agents(bench: Bench):
    row = await bench.ledger.active_authority(CaPurpose.AGENTS, "")
    assert row is not None
    issuer = await bench.authority._issuers.by_name(row.name)
    profile = PROFILES[ProfileName.AGENT]
    names = names_of(ProfileName.AGENT, usual_subject(), bench.settings)
    plan = plan_leaf(
        profile, names, KEY.public_key(), issuer=issuer.certificate, now=bench.clock.now()
    )
    return plan, issuer


def with_names(plan: LeafPlan, *dns_names: str, uris: tuple[str, ...] = ()) -> LeafPlan:
    names = CertificateNames(plan.names.common_name, dns_names, uris or plan.names.uris)
    return replace(plan, names=names)


DEVIATIONS = {
    "serial": lambda plan: replace(plan, serial=plan.serial ^ 1),
    "subject": lambda plan: replace(plan, names=replace(plan.names, common_name="other")),
    "validity": lambda plan: replace(plan, not_after=plan.not_after + timedelta(minutes=6)),
    "public_key": lambda plan: replace(plan, public_key=make_private_key().public_key()),
    "extended_key_usage": lambda plan: replace(
        plan, profile=replace(plan.profile, usages=PROFILES[ProfileName.PULSAR].usages)
    ),
    "names": lambda plan: with_names(plan, SITE, "beta.agents.federation.internal"),
}


@pytest.mark.parametrize("what", list(DEVIATIONS))
async def test_a_deviation_is_found_and_named(bench: Bench, what: str) -> None:
    plan, issuer = await an_agents(bench)
    leaf = sign_leaf(DEVIATIONS[what](plan), issuer=issuer.certificate, key=issuer.key)
    with pytest.raises(Internal) as caught:
        check_leaf(leaf, plan, issuer=issuer.certificate, root=bench.root)
    assert caught.value.facts == {"differs": what}


async def test_another_uri_is_a_deviation(bench: Bench) -> None:
    plan, issuer = await an_agents(bench)
    bent = with_names(plan, SITE, uris=("spiffe://federation.internal/site/site-2/agent/a",))
    leaf = sign_leaf(bent, issuer=issuer.certificate, key=issuer.key)
    with pytest.raises(Internal) as caught:
        check_leaf(leaf, plan, issuer=issuer.certificate, root=bench.root)
    assert caught.value.facts == {"differs": "names"}


async def test_a_leaf_without_its_extensions_is_found(bench: Bench) -> None:
    plan, issuer = await an_agents(bench)
    bare = (
        x509.CertificateBuilder(
            issuer.certificate.subject, x509.Name([]), plan.public_key, plan.serial
        )
        .not_valid_before(plan.not_before)
        .not_valid_after(plan.not_after)
        .sign(issuer.key, hashes.SHA256())
    )
    with pytest.raises(Internal, match="lacks or doubles"):
        check_leaf(bare, plan, issuer=issuer.certificate, root=bench.root)


async def test_a_leaf_of_another_key_does_not_verify(bench: Bench) -> None:
    plan, issuer = await an_agents(bench)
    leaf = sign_leaf(plan, issuer=issuer.certificate, key=make_private_key())
    with pytest.raises(Internal, match="chain does not verify"):
        check_leaf(leaf, plan, issuer=issuer.certificate, root=bench.root)


async def test_names_beyond_the_issuers_constraints_do_not_verify(bench: Bench) -> None:
    plan, issuer = await an_agents(bench)
    beyond = with_names(plan, "proxy.fed-a.example.com")
    leaf = sign_leaf(beyond, issuer=issuer.certificate, key=issuer.key)
    with pytest.raises(Internal, match="chain does not verify"):
        check_leaf(leaf, beyond, issuer=issuer.certificate, root=bench.root)
