from __future__ import annotations

import pytest
from pydantic import ValidationError

from fedcore.network import is_ip
from fedhub.domain.federation import FederationIntent, split_host_port
from fedhub.domain.phases import SITE_TRANSITIONS, SiteState


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("203.0.113.7:30109", ("203.0.113.7", 30109)),
        ("fate.bank.example:443", ("fate.bank.example", 443)),
        ("gateway:1", ("gateway", 1)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
    ],
)
def test_an_address_is_split_into_host_and_port(text, pair):
    assert split_host_port(text) == pair


@pytest.mark.parametrize(
    "text", ["", ":", "a", "a:", ":1", "a:0", "a:65536", "a:1x", "a:-1", "::1:5"]
)
def test_what_is_no_host_and_port_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        split_host_port(text)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "017700000001",
        "0x7f000001",
        "gateway.0x7f",
        "127.1",
        "010.0.0.1",
        "localhost",
        "x.localhost",
        "169.254.169.254",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "[2001:db8::7%eth0]",
    ],
)
def test_a_host_that_reads_as_something_else_or_never_leaves_the_machine_is_refused(host):
    with pytest.raises(ValueError, match=r".+"):
        split_host_port(f"{host}:30109")


@pytest.mark.parametrize("host", ["0x7f.bank.example", "1a", "7.bank.example", "127.0.0.1"])
def test_a_name_that_only_begins_like_a_number_is_good(host):
    assert split_host_port(f"{host}:443") == (host, 443)


def test_an_ip_literal_is_told_from_a_name():
    assert is_ip("10.0.0.1")
    assert is_ip("::1")
    assert not is_ip("ten.example")


def test_an_intent_names_all_its_sites_and_fills_its_defaults():
    intent = FederationIntent.model_validate(
        {
            "name": "f",
            "domain": "f.example.com",
            "exchange": {"site": "hq"},
            "parties": [{"id": 1, "site": "a"}, {"id": 2, "site": "a"}],
        }
    )
    assert intent.sites() == {"hq", "a"}
    assert intent.exchange is not None
    assert intent.exchange.namespace == "fate-exchange"
    assert [each.effective_namespace for each in intent.parties] == ["fate-1", "fate-2"]
    assert (intent.release, intent.engine, intent.repair) == ("1.8.0", "spark-pulsar", "auto")


def test_an_intent_is_not_changed_after_it_was_read():
    intent = FederationIntent.model_validate({"name": "f", "domain": "f.example.com"})
    with pytest.raises(ValidationError):
        intent.name = "other"  # type: ignore[misc]


def test_a_site_passes_through_its_states_by_the_table():
    assert set(SITE_TRANSITIONS) == set(SiteState)
    assert SITE_TRANSITIONS[SiteState.INVITED] == {SiteState.ONLINE, SiteState.REVOKED}
    assert SITE_TRANSITIONS[SiteState.REVOKED] == {SiteState.INVITED}
    for old, following in SITE_TRANSITIONS.items():
        assert old not in following
        assert SiteState.REVOKED in following or old is SiteState.REVOKED
