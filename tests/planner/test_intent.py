from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.strategies import RELEASE

from fedcore.errors import Invalid
from fedhub.planner.intent import check_change, check_intent, parse_intent

GOOD = {
    "kind": "Federation",
    "name": "credit-risk",
    "domain": "credit-risk.example.com",
    "release": "1.8.0",
    "engine": "spark-pulsar",
    "exchange": {"site": "hq", "expose": "NodePort"},
    "parties": [
        {"id": 9999, "site": "alpha", "expose": "NodePort"},
        {
            "id": 10000,
            "site": "beta",
            "namespace": "fate-10000",
            "advertise": {"pulsar": "203.0.113.7:30109", "nginx": "203.0.113.7:30103"},
            "values": {"python": {"resources": {"requests": {"cpu": "2"}}}},
        },
    ],
}
SITES = {"hq", "alpha", "beta"}
REMOVE = object()


def changed(path: str, value: object) -> dict[str, object]:
    payload = copy.deepcopy(GOOD)
    owner: object = payload
    *steps, last = path.split(".")
    for step in steps:
        owner = owner[int(step)] if isinstance(owner, list) else owner.setdefault(step, {})
    key = int(last) if isinstance(owner, list) else last
    if value is REMOVE:
        del owner[key]
    else:
        owner[key] = value
    return payload


def faults_of(payload: object) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        parse_intent(payload)
    assert caught.value.errors
    assert caught.value.message
    return {each.path: each.message for each in caught.value.errors}


def checked(payload: object) -> dict[str, str]:
    found = check_intent(parse_intent(payload), release=RELEASE, known_sites=SITES)
    return {each.path: each.message for each in found}


def test_the_example_of_the_documentation_is_good():
    intent = parse_intent(GOOD)
    assert intent.parties[0].effective_namespace == "fate-9999"
    assert check_intent(intent, release=RELEASE, known_sites=SITES) == ()


def test_a_participant_may_share_the_one_namespace_that_kubefate_has():
    intent = parse_intent(changed("exchange.namespace", "kube-fate"))
    assert check_intent(intent, release=RELEASE, known_sites=SITES) == ()


@pytest.mark.parametrize(
    ("path", "value", "at", "says"),
    [
        ("partys", [], "partys", "did you mean parties?"),
        ("exchange.sites", "hq", "exchange.sites", "did you mean site?"),
        ("parties.0.idd", 1, "parties.0.idd", "did you mean id?"),
        ("parties.1.advertise.pulser", "x", "parties.1.advertise.pulser", "did you mean pulsar?"),
        ("name", REMOVE, "name", "is required"),
        ("name", 5, "name", "quote it"),
        ("name", "Credit", "name", "DNS-1123"),
        ("name", "a" * 64, "name", "DNS-1123"),
        ("name", "credit\n", "name", "control character"),
        ("kind", "Fed", "kind", "Federation"),
        ("domain", "example", "domain", "two labels"),
        ("domain", "Example.com", "domain", "lower-case"),
        ("domain", "a..b", "domain", "two labels"),
        ("domain", f"{'a' * 46}.example.com", "domain", "longer than 57"),
        ("domain", "10.0.0.1", "domain", "two labels"),
        ("engine", "eggroll", "engine", "spark-pulsar"),
        ("repair", "maybe", "repair", "auto"),
        ("exchange", [{"site": "hq"}, {"site": "hq"}], "exchange", "one mapping"),
        ("exchange.expose", "Ingress", "exchange.expose", "NodePort"),
        ("exchange.namespace", "kube-system", "exchange.namespace", "belongs to Kubernetes"),
        ("parties", {"id": 1}, "parties", "must be a list"),
        ("parties.0", 9999, "parties.0", "mapping"),
        ("parties.0.id", 0, "parties.0.id", "between 1 and 999999"),
        ("parties.0.id", 1_000_000, "parties.0.id", "float"),
        ("parties.0.id", "9999", "parties.0.id", "without quotes"),
        ("parties.0.id", True, "parties.0.id", "whole number"),
        ("parties.0.id", 9999.0, "parties.0.id", "whole number"),
        ("parties.0.id", 10000, "parties.1.id", "written twice"),
        ("parties.0.site", REMOVE, "parties.0.site", "is required"),
        ("parties.0.namespace", "Fate_1", "parties.0.namespace", "DNS-1123"),
        ("parties.0.namespace", "default", "parties.0.namespace", "belongs to Kubernetes"),
        ("parties.0.values", [1], "parties.0.values", "mapping"),
        ("parties.0.values", {1: 2}, "parties.0.values", "quote it"),
        ("parties.0.values", {"a": float("nan")}, "parties.0.values.a", "no number"),
        ("parties.0.values", {"a": 2**60}, "parties.0.values.a", "no number"),
        ("parties.0.values", {"a": "\x00"}, "parties.0.values.a", "control character"),
        ("parties.0.values", {"a": "\ud800"}, "parties.0.values.a", "surrogate"),
        ("parties.0.values", {"registry": "x\npartyId: 7"}, "parties.0.values.registry", "\\n"),
        ("parties.0.values", {"a": {1, 2}}, "parties.0.values.a", "JSON"),
    ],
)
def test_a_fault_is_named_by_its_path_with_the_cure(path, value, at, says):
    found = faults_of(changed(path, value))
    assert at in found
    assert says in found[at]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("203.0.113.7", "host:port"),
        ("203.0.113.7:", "host:port"),
        ("203.0.113.7:0", "65535"),
        ("203.0.113.7:70000", "65535"),
        (":30109", "neither an IP address nor"),
        ("Bank.example:30109", "lower-case"),
        ("0.0.0.0:30109", "any address"),
        ("239.1.2.3:30109", "multicast"),
        ("255.255.255.255:30109", "broadcast"),
        ("[2001:db8::1]:30109", "IPv6"),
        ("2001:db8::1:30109", "brackets"),
        ("203.0.113.7:8443", "443, 6650-6700 or 30000-33000"),
        ("203.0.113.7:33001", "443, 6650-6700 or 30000-33000"),
        ("999.1.1.1:30109", "neither an IP address nor"),
    ],
)
def test_an_address_that_the_proxies_cannot_use_is_refused(address, says):
    found = faults_of(changed("parties.0.advertise.pulsar", address))
    assert says in found["parties.0.advertise.pulsar"]


def test_without_an_exchange_a_party_may_advertise_any_port():
    payload = changed("parties.0.advertise.pulsar", "203.0.113.8:8443")
    payload["exchange"] = None
    assert parse_intent(payload).exchange is None


def test_an_address_that_is_advertised_twice_is_refused():
    found = faults_of(changed("parties.0.advertise.pulsar", "203.0.113.7:30109"))
    assert "already advertised for party 9999" in found["parties.1.advertise.pulsar"]


def test_two_participants_in_one_namespace_are_refused():
    payload = changed("parties.0", {"id": 1, "site": "beta", "namespace": "fate-10000"})
    assert "share namespace" in faults_of(payload)["parties.1.namespace"]


@pytest.mark.parametrize("payload", [None, [], "text", 5, b"bytes"])
def test_something_else_than_a_mapping_is_refused(payload):
    assert "" in faults_of(payload)


def test_a_deep_payload_is_refused_by_its_depth():
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"a": deep}
    (message,) = faults_of(changed("parties.0.values", deep)).values()
    assert "deeper than 32" in message


def test_an_alias_bomb_is_refused_by_what_it_would_unfold_to():
    bomb: list[object] = ["x"] * 10
    for _ in range(9):
        bomb = [bomb] * 10
    (message,) = faults_of(changed("parties.0.values", {"a": bomb})).values()
    assert "more than 100000" in message


def test_more_than_a_thousand_parties_are_refused():
    parties = [{"id": each + 1, "site": f"s{each}"} for each in range(1001)]
    assert "second federation" in faults_of(changed("parties", parties))["parties"]


def test_every_fault_is_told_at_once():
    payload = changed("parties.0.id", 0)
    payload["domain"] = "nodots"
    payload["typo"] = 1
    assert set(faults_of(payload)) == {"parties.0.id", "domain", "typo"}


@pytest.mark.parametrize(
    ("values", "at", "says"),
    [
        ({"pyhton": {}}, "pyhton", "did you mean python?"),
        ({"python": {"resource": {}}}, "python.resource", "did you mean resources?"),
        ({"python": 3}, "python", "must be a mapping"),
        ({"python": None}, "python", "must be a mapping"),
        ({"hdfs": {"namenode": None}}, "hdfs.namenode", "must be a mapping"),
        ({"partyId": 5}, "partyId", "computed"),
        ({"name": "x"}, "name", "computed"),
        ({"modules": ["python"]}, "modules", "computed"),
        ({"nginx": {"exchange": {"ip": "1.2.3.4"}}}, "nginx.exchange", "computed"),
        ({"nginx": {"exchange": None}}, "nginx.exchange", "computed"),
        ({"pulsar": {"route_table": {}}}, "pulsar.route_table", "computed"),
        ({"lcmOwner": "x"}, "lcmOwner", "set by the product"),
        ({"persistence": True}, "python.storageClass", "must be given with `persistence`"),
        (
            {"registry": "x" * 16_000, "imageTag": "y" * 16_000, "pullPolicy": "z" * 900},
            "",
            "bytes",
        ),
    ],
)
def test_an_overlay_that_the_chart_does_not_take_is_refused(values, at, says):
    found = checked(changed("parties.0.values", values))
    path = f"parties.0.values.{at}" if at else "parties.0.values"
    assert says in found[path]


@pytest.mark.parametrize(
    "control", ["\n", "\t", "\x1f", "\x7f", "\x85", "\x9f", "\u2028", "\u2029"]
)
def test_what_ends_a_line_in_yaml_is_refused_in_keys_and_values(control):
    """Even in annotations: agents refuse such a document as a whole."""
    annotations = {"ingress": {"spark": {"annotations": {"a": f"x{control}y"}}}}
    for values in ({"registry": f"x{control}y"}, {f"x{control}y": 1}, annotations):
        (message,) = faults_of(changed("parties.0.values", values)).values()
        assert "control character" in message


def test_an_overlay_with_persistence_and_its_storage_classes_is_good():
    values = {
        "persistence": True,
        "python": {"storageClass": "fast"},
        "client": {"storageClass": "fast"},
        "ingress": {"spark": {"annotations": {"nginx.org/snippet": "a b"}}},
    }
    assert checked(changed("parties.0.values", values)) == {}


def test_the_exchange_has_keys_of_its_own():
    found = checked(
        changed("exchange.values", {"python": {}, "trafficServer": {"type": "NodePort"}})
    )
    assert set(found) == {"exchange.values.python", "exchange.values.trafficServer.type"}


def test_an_unknown_site_is_named_with_the_known_ones():
    found = checked(changed("parties.0.site", "alhpa"))
    assert "did you mean alpha?" in found["parties.0.site"]
    assert "known sites: alpha, beta, hq" in found["parties.0.site"]
    (fault, *_) = check_intent(parse_intent(GOOD), release=RELEASE, known_sites=set())
    assert "fedctl site invite hq" in fault.message


def test_an_unknown_release_is_named_with_the_known_ones():
    intent = parse_intent(changed("release", "9.9.9"))
    (fault,) = check_intent(
        intent, release=None, known_sites=SITES, known_releases=("1.8.0 (spark-pulsar)",)
    )
    assert fault.path == "release"
    assert "1.8.0 (spark-pulsar)" in fault.message


def test_what_cannot_change_in_place_is_refused_with_the_way_to_do_it():
    before = parse_intent(GOOD)
    assert check_change(before, before) == ()
    moved = changed("parties.0.site", "beta")
    moved["domain"] = "other.example.com"
    found = {each.path: each.message for each in check_change(before, parse_intent(moved))}
    assert set(found) == {"domain", "parties.0.site"}
    assert "remove it in one apply" in found["parties.0.site"]
    named = check_change(before, parse_intent(changed("parties.0.namespace", "elsewhere")))
    assert [each.path for each in named] == ["parties.0.namespace"]


def test_an_exchange_cannot_be_removed_from_under_its_parties():
    before = parse_intent(GOOD)
    without = parse_intent(changed("exchange", None))
    (fault,) = check_change(before, without)
    assert fault.path == "exchange"
    assert "9999, 10000" in fault.message
    assert check_change(before, parse_intent(changed("parties", []) | {"exchange": None})) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
PATHS = st.sampled_from(
    [
        "name",
        "domain",
        "exchange",
        "exchange.site",
        "parties",
        "parties.0",
        "parties.0.id",
        "parties.0.values",
        "parties.1.advertise",
        "parties.1.advertise.nginx",
        "unknown",
    ]
)


@settings(max_examples=150, deadline=None)
@given(PATHS, JSON)
def test_no_input_does_anything_but_pass_or_name_its_faults(path, value):
    payload = changed(path, value)
    try:
        intent = parse_intent(payload)
    except Invalid as error:
        errors = error.errors
    else:
        check_intent(intent, release=RELEASE, known_sites=SITES)
        return
    assert errors
    assert all(each.message for each in errors)


@pytest.mark.parametrize("host", ["credit-risk.example.com", "10000.credit-risk.example.com"])
def test_a_name_in_the_federations_own_domain_is_not_advertised(host):
    """The product itself gives out names in it: such an address would lead back to the proxies."""
    path = "parties.1.advertise.pulsar"
    assert "own domain" in faults_of(changed(path, f"{host}:30109"))[path]
    parse_intent(changed(path, f"not-{host}:30109" if host[0] == "c" else "gw.example.com:30109"))
