"""What names a certificate bears; settings; renewal."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedca.names import (
    ProfileName,
    Subject,
    agent_names,
    ats_names,
    console_names,
    hub_names,
    names_of,
    owner_of,
    parse_agent_uri,
    pulsar_names,
)
from fedca.renewal import renew_at
from fedca.settings import AuthoritySettings
from fedcore.errors import Invalid

TD = "federation.internal"
AGENT = Subject(site_id="site-1", site_name="alpha", agent_id="agent-1")


def test_an_agent_is_named_by_its_site_and_its_ids() -> None:
    names = agent_names(AGENT, TD)
    assert names.common_name == "alpha.agents.federation.internal"
    assert names.dns_names == ("alpha.agents.federation.internal",)
    assert names.uris == ("spiffe://federation.internal/site/site-1/agent/agent-1",)
    assert names.ip_addresses == ()


def test_a_broker_is_named_by_its_party_and_its_domain() -> None:
    names = pulsar_names("fed.example.com", 9999)
    assert (names.common_name, names.dns_names) == (
        "9999.fed.example.com",
        ("9999.fed.example.com",),
    )
    assert names.uris == ()


def test_the_exchange_is_named_proxy() -> None:
    assert ats_names("fed.example.com").dns_names == ("proxy.fed.example.com",)


def test_the_console_bears_its_own_name_first_and_each_name_once() -> None:
    settings = AuthoritySettings(
        hub_dns_names=("localhost", "hub.federation.internal", "localhost"),
        hub_ip_addresses=("::1", "0:0:0:0:0:0:0:1", "127.0.0.1"),
    )
    names = console_names(settings)
    assert names.common_name == "console.hub.federation.internal"
    assert names.dns_names == (
        "console.hub.federation.internal",
        "localhost",
        "hub.federation.internal",
    )
    assert [str(address) for address in names.ip_addresses] == ["::1", "127.0.0.1"]


def test_the_hub_bears_its_name_alone_because_grpc_refuses_constrained_addresses() -> None:
    settings = AuthoritySettings(hub_dns_names=("localhost",), hub_ip_addresses=("127.0.0.1",))
    names = hub_names(settings)
    assert names.dns_names == ("hub.federation.internal",)
    assert names.ip_addresses == ()


def test_a_name_too_long_for_the_common_name_stands_as_dns_name_alone() -> None:
    names = agent_names(Subject("s", "a" * 63, "b"), TD)
    assert names.common_name is None
    assert names.dns_names == (f"{'a' * 63}.agents.{TD}",)


def test_a_service_whose_common_name_would_not_fit_is_refused() -> None:
    with pytest.raises(Invalid, match="common name") as caught:
        pulsar_names(f"{'a' * 40}.{'b' * 30}.example.com", 1)
    assert caught.value.errors[0].path == "subject.domain"


@pytest.mark.parametrize(
    ("profile", "subject", "field"),
    [
        ("agent", Subject(site_id="s", agent_id="a"), "site_name"),
        ("agent", Subject(site_id="s", site_name="a.b", agent_id="a"), "site_name"),
        ("agent", Subject(site_id="s", site_name="*", agent_id="a"), "site_name"),
        ("agent", Subject(site_id="s/agent/x", site_name="s", agent_id="a"), "site_id"),
        ("agent", Subject(site_id="s", site_name="s", agent_id="..\n"), "agent_id"),
        ("agent", Subject(site_id="s", site_name="s", agent_id="a\n"), "agent_id"),
        ("pulsar", Subject(domain="fed.example.com"), "party_id"),
        ("pulsar", Subject(domain="fed.example.com", party_id=0), "party_id"),
        ("pulsar", Subject(domain="fed.example.com", party_id=1_000_000), "party_id"),
        ("pulsar", Subject(domain="fed.example.com", party_id=True), "party_id"),
        ("pulsar", Subject(domain="*.example.com", party_id=1), "domain"),
        ("pulsar", Subject(domain="Fed.example.com", party_id=1), "domain"),
        ("ats", Subject(), "domain"),
    ],
)
def test_a_wrong_subject_is_refused_by_its_field(
    profile: str, subject: Subject, field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        names_of(ProfileName(profile), subject, AuthoritySettings())
    assert caught.value.errors[0].path == f"subject.{field}"


@pytest.mark.parametrize("tail", ["\n", "\0", " ", ".", "\u2028"])
def test_no_name_ends_in_anything_but_a_host_character(tail: str) -> None:
    with pytest.raises(Invalid):
        pulsar_names(f"fed.example.com{tail}", 1)
    with pytest.raises(Invalid):
        agent_names(Subject("s", f"alpha{tail}", "a"), TD)


def test_each_owner_has_its_own_text() -> None:
    subject = Subject("s", "alpha", "a", "fed", "fed.example.com", 7)
    owners = {owner_of(profile, subject) for profile in ProfileName}
    assert owners == {"hub", "console", "agent:s/a", "pulsar:fed/7", "ats:fed"}


IDS = st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z")


@given(IDS, IDS)
def test_an_agent_uri_is_read_back(site_id: str, agent_id: str) -> None:
    (uri,) = agent_names(Subject(site_id, "alpha", agent_id), TD).uris
    assert parse_agent_uri(uri, TD) == (site_id, agent_id)
    assert parse_agent_uri(uri, "other.internal") is None


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://federation.internal",
        "spiffe://federation.internal/hub",
        "spiffe://federation.internal/site/s/agent/",
        "spiffe://federation.internal/site/s/agent/a/",
        "spiffe://federation.internal/site/s/agent/a?x",
        "spiffe://federation.internal/site/s/agent/a\n",
        "spiffe://federation.internal/site/../agent/a",
        "spiffe://federation.internal/site/s%2f/agent/a",
        "spiffe://federation.internal.evil/site/s/agent/a",
        "SPIFFE://federation.internal/site/s/agent/a",
        "https://federation.internal/site/s/agent/a",
    ],
)
def test_any_other_uri_is_no_agents(uri: str) -> None:
    assert parse_agent_uri(uri, TD) is None


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"trust_domain": "internal"}, "trust_domain"),
        ({"trust_domain": "Federation.Internal"}, "trust_domain"),
        ({"trust_domain": f"{'a' * 60}.{'b' * 60}.{'c' * 60}"}, "trust_domain"),
        ({"hub_dns_names": ("ok.example.com", "*.example.com")}, "hub_dns_names.1"),
        ({"hub_dns_names": ("UPPER",)}, "hub_dns_names.0"),
        ({"hub_dns_names": ("alpha.agents.federation.internal",)}, "hub_dns_names.0"),
        ({"hub_dns_names": tuple(f"h{n}" for n in range(40))}, "hub_dns_names"),
        ({"hub_ip_addresses": ("10.0.0.0/8",)}, "hub_ip_addresses.0"),
        ({"hub_ip_addresses": ("fe80::1%eth0",)}, "hub_ip_addresses.0"),
    ],
)
def test_wrong_settings_are_refused_by_their_path(settings: dict[str, object], path: str) -> None:
    with pytest.raises(Invalid) as caught:
        AuthoritySettings(**settings)
    assert caught.value.errors[0].path == path


@given(st.floats(min_value=-1, max_value=1), st.integers(min_value=60, max_value=10**8))
def test_renewal_is_at_two_thirds_of_life_give_or_take_five_percent(
    spread: float, life_s: int
) -> None:
    start, life = datetime(2026, 1, 1, tzinfo=UTC), timedelta(seconds=life_s)
    share = (renew_at(start, start + life, spread=spread) - start) / life
    assert 2 / 3 - 0.0501 <= share <= 2 / 3 + 0.0501
    assert renew_at(start, start + life, spread=0) - start == pytest.approx(
        life * 2 / 3, abs=timedelta(milliseconds=1)
    )


@pytest.mark.parametrize("spread", [-1.1, 1.1, float("nan")])
def test_a_spread_outside_one_is_a_mistake(spread: float) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="spread"):
        renew_at(start, start + timedelta(days=7), spread=spread)


def test_names_and_renewal_load_no_cryptography() -> None:
    program = (
        "import sys, fedca.names, fedca.renewal; "
        "sys.exit(any(name.startswith('cryptography') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=20, check=False).returncode == 0  # noqa: S603 - our own program
