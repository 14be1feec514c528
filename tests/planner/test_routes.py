from __future__ import annotations

import pytest

from fedhub.planner.routes import (
    Address,
    ExchangeTargets,
    Peer,
    Reason,
    Target,
    Unresolved,
    exchange_targets,
    ip_obstacle,
    is_tunnel_port,
    locate,
    route_tables,
)

DOMAIN = "fed.example.com"


def party(
    party_id: int,
    ip: str = "10.0.0.9",
    port: int = 30109,
    *,
    advertised: dict[str, str] | None = None,
    created: int = 0,
) -> Peer:
    return Peer(
        f"{created:04d}-{party_id}",
        str(party_id),
        f"site-{party_id}",
        advertised or {},
        {"pulsar": Address(ip, ip, port), "nginx": Address(ip, ip, 30103)} if ip else {},
    )


def test_an_exchange_without_parties_has_the_sentinel_alone():
    tables = route_tables(DOMAIN, [], {}, tunnelled=True)
    assert tables.sni() == [("sentinel.fed.example.com", "192.0.2.1", 443)]
    assert tables.nginx() == []


def test_a_party_with_addresses_is_in_both_tables():
    tables = route_tables(DOMAIN, [party(9999)], {}, tunnelled=True)
    assert tables.sni()[1:] == [("9999.fed.example.com", "10.0.0.9", 30109)]
    assert tables.nginx() == [("9999", "10.0.0.9", 30103)]


def test_routes_come_in_the_order_of_party_ids_as_numbers():
    tables = route_tables(
        DOMAIN, [party(10000, "10.0.0.2"), party(9999, "10.0.0.1")], {}, tunnelled=True
    )
    assert [each.key for each in tables.routes] == ["9999", "10000"]


def test_a_party_without_addresses_is_left_out_and_named():
    tables = route_tables(DOMAIN, [party(9999, "")], {}, tunnelled=True)
    assert tables.routes == ()
    assert [(each.key, each.reason) for each in tables.unrouted] == [("9999", Reason.NO_ADDRESS)]
    assert "site-9999" in tables.unrouted[0].message


def test_a_party_that_reported_half_its_addresses_is_left_out_of_both_tables():
    half = Peer("1", "9999", "alpha", {}, {"pulsar": Address("10.0.0.9", "10.0.0.9", 30109)})
    tables = route_tables(DOMAIN, [half], {}, tunnelled=True)
    assert tables.nginx() == []
    assert tables.unrouted[0].reason is Reason.NO_ADDRESS


def test_what_is_advertised_wins():
    peer = party(9999, advertised={"pulsar": "203.0.113.7:30500"})
    assert locate(peer, "pulsar", {}) == Target(
        "203.0.113.7", "203.0.113.7", 30500, advertised=True
    )
    assert locate(peer, "nginx", {}) == Target("10.0.0.9", "10.0.0.9", 30103, advertised=False)


def test_an_advertised_name_is_written_as_the_address_that_the_viewer_resolved():
    peer = party(9999, advertised={"pulsar": "fate.bank.example:30109"})
    tables = route_tables(DOMAIN, [peer], {"fate.bank.example": "198.51.100.4"}, tunnelled=True)
    assert tables.sni()[1:] == [("9999.fed.example.com", "198.51.100.4", 30109)]
    assert tables.routes[0].pulsar.host == "fate.bank.example"


def test_a_name_that_did_not_resolve_is_never_written():
    peer = party(9999, advertised={"nginx": "fate.bank.example:30103"})
    tables = route_tables(DOMAIN, [peer], {}, tunnelled=True)
    assert tables.routes == ()
    assert tables.unrouted[0].reason is Reason.NAME_NOT_RESOLVED
    assert "fate.bank.example" in tables.unrouted[0].message


@pytest.mark.parametrize("port", [443, 6650, 6651, 6700, 30000, 33000])
def test_the_exchange_tunnels_to_the_ports_of_its_chart(port):
    assert is_tunnel_port(port)


@pytest.mark.parametrize("port", [0, 80, 442, 444, 6649, 6701, 8443, 29999, 33001])
def test_a_party_at_another_port_is_left_out_with_the_cure(port):
    tables = route_tables(DOMAIN, [party(9999, port=port)], {}, tunnelled=True)
    assert tables.unrouted[0].reason is Reason.PORT_NOT_ALLOWED
    assert "advertise.pulsar" in tables.unrouted[0].message
    assert "30000-33000" in tables.unrouted[0].message


def test_without_an_exchange_any_port_will_do():
    assert route_tables(DOMAIN, [party(9999, port=8443)], {}, tunnelled=False).routes


@pytest.mark.parametrize(
    "ip", ["10.0.0.1", "127.0.0.1", "127.8.9.10", "1.2.3.4", "223.255.255.255"]
)
def test_ordinary_and_loopback_addresses_may_be_used(ip):
    assert ip_obstacle(ip) == ""


@pytest.mark.parametrize(
    "ip",
    [
        "",
        "0.0.0.0",  # noqa: S104 - refused here, bound nowhere
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "2001:db8::1",
        "bank.example",
        "10.0.0",
        "10.0.0.256",
        "010.0.0.1",
        "10.0.0.1\n",
        "10.0.0.1 ",
        "1.2.3.4.",
        "1.2.3.4.5",
        "١٠.0.0.1",  # noqa: RUF001 - digits that are not ASCII
    ],
)
def test_an_address_that_the_proxies_cannot_use_keeps_its_party_out(ip):
    assert ip_obstacle(ip)
    peer = Peer(
        "1", "9", "alpha", {}, {r: Address("x", ip or "?", 30001) for r in ("pulsar", "nginx")}
    )
    tables = route_tables(DOMAIN, [peer], {}, tunnelled=True)
    assert tables.unrouted[0].reason is Reason.UNUSABLE_ADDRESS
    assert "advertise.pulsar" in tables.unrouted[0].message


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_parties_at_one_address_the_later_one_is_left_out(turned):
    peers = [party(10000, created=1), party(9999, created=2)]
    tables = route_tables(DOMAIN, peers[::-1] if turned else peers, {}, tunnelled=True)
    assert [each.key for each in tables.routes] == ["10000"]
    (out,) = tables.unrouted
    assert (out.key, out.reason) == ("9999", Reason.ADDRESS_TAKEN)
    assert "party 10000" in out.message


def test_two_parties_on_one_node_with_other_ports_are_both_routed():
    second = party(10000, "", advertised={"pulsar": "10.0.0.9:30209", "nginx": "10.0.0.9:30203"})
    assert len(route_tables(DOMAIN, [party(9999), second], {}, tunnelled=True).routes) == 2


def test_a_party_cannot_claim_the_address_of_the_exchange():
    tables = route_tables(DOMAIN, [party(9999)], {}, tunnelled=True, occupied=[("10.0.0.9", 30103)])
    assert tables.unrouted[0].reason is Reason.ADDRESS_TAKEN
    assert "the exchange" in tables.unrouted[0].message


def test_an_exchange_with_half_its_addresses_has_none():
    exchange = Peer("0", "exchange", "hq", {}, {"ats": Address("10.0.0.1", "10.0.0.1", 443)})
    found = exchange_targets(exchange, {})
    assert isinstance(found, Unresolved)
    assert found.reason is Reason.EXCHANGE_HAS_NO_ADDRESS
    assert "nginx" in found.message


def test_parties_reach_an_exchange_at_any_port():
    exchange = Peer("0", "exchange", "hq", {"ats": "1.2.3.4:8443", "nginx": "1.2.3.4:80"}, {})
    found = exchange_targets(exchange, {})
    assert isinstance(found, ExchangeTargets)
    assert (found.ats.port, found.nginx.port) == (8443, 80)
