"""Tables of a deployed federation on the real proxies: who reaches whom, and who does not."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from tests.dataplane.federation import Bureau, KeyRing, Party
from tests.dataplane.probes import check_every_route, posted, presented, reached, to
from tests.dataplane.stage import node_of, staged
from tests.support.proxy_host import Loopback, ProxyHost

pytestmark = pytest.mark.dataplane


def three(proxy_host: ProxyHost) -> list[Party]:
    ids = (9999, 10000, 10001)
    return [Party.at(each, node_of(proxy_host, n)) for n, each in enumerate(ids, start=1)]


async def test_every_party_reaches_every_other_by_name_with_its_certificate_checked(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, three(proxy_host)) as stage:
        await check_every_route(stage.deployed)


async def test_a_name_in_capitals_is_routed_and_arrives_as_it_was_sent(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, three(proxy_host)) as stage:
        way = stage.way_of(9999)
        name = way.name(10000).upper()
        assert await reached(way.ats, name, stage.deployed.roots_pem) == "party 10000"
        assert stage.backends.names == [name]


async def test_an_unknown_name_is_answered_with_the_proxys_own_certificate(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, three(proxy_host)) as stage:
        way = stage.way_of(9999)
        for name in (way.name(4711), f"deeper.{way.name(10000)}", "10000.elsewhere.example.org"):
            assert await presented(way.ats, name) == (f"proxy.{way.domain}",)
            with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
                await reached(way.ats, name, stage.deployed.roots_pem)
        assert stage.backends.names == []


async def test_another_hubs_roots_do_not_verify_a_party(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau, keys: KeyRing
) -> None:
    stranger = await Bureau.open(keys)
    async with staged(proxy_host, tmp_path, bureau, three(proxy_host)) as stage:
        way = stage.way_of(9999)
        with pytest.raises(ssl.SSLCertVerificationError):
            await reached(way.ats, way.name(10000), stranger.roots_pem)


async def test_a_removed_party_is_gone_from_both_proxies(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    parties = three(proxy_host)
    async with staged(proxy_host, tmp_path, bureau, parties) as stage:
        way = stage.way_of(9999)
        await stage.redeploy(parties, removed=[10000])
        await stage.proxies.stop()
        await stage.proxies.start()
        assert await presented(way.ats, way.name(10000)) == (f"proxy.{way.domain}",)
        status, answered = await posted(way.nginx, to(10000))
        assert (status, answered) != (200, 10000)
        assert status >= 400
        assert await reached(way.ats, way.name(10001), bureau.roots_pem) == "party 10001"
        assert await posted(way.nginx, to(10001)) == (200, 10001)


async def test_a_party_that_has_reported_no_address_is_left_out_and_the_others_work(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, three(proxy_host), unreported=[10001]) as stage:
        way = stage.way_of(9999)
        assert await presented(way.ats, way.name(10001)) == (f"proxy.{way.domain}",)
        assert await reached(way.ats, way.name(10000), bureau.roots_pem) == "party 10000"


async def test_an_exchange_without_parties_stays_alive_and_its_sentinel_leads_nowhere(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, []) as stage:
        domain = "credit-risk.example.com"
        assert await presented(stage.deployed.ats, f"9999.{domain}") == (f"proxy.{domain}",)
        with pytest.raises((OSError, TimeoutError)):
            await presented(stage.deployed.ats, f"sentinel.{domain}")
        stage.proxies.traffic_server.check()
        assert await presented(stage.deployed.ats, f"9999.{domain}") == (f"proxy.{domain}",)


async def test_the_first_party_of_an_empty_exchange_gets_its_route(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    party = Party.at(9999, node_of(proxy_host, 1))
    async with staged(proxy_host, tmp_path, bureau, []) as stage:
        deployed = await stage.redeploy([party])
        await stage.backends.open(deployed.party(9999))
        await stage.proxies.restart_traffic_server()
        way = stage.way_of(9999)
        assert await reached(way.ats, way.name(9999), bureau.roots_pem) == "party 9999"


async def test_an_advertised_address_wins_over_the_reported_one(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    outside = node_of(proxy_host, 4)
    advertise = {"pulsar": f"{outside}:6651", "nginx": f"{outside}:8000"}
    nat = Party.at(10002, node_of(proxy_host, 3), advertise=advertise)
    async with staged(proxy_host, tmp_path, bureau, [*three(proxy_host)[:2], nat]) as stage:
        assert stage.deployed.party(10002).pulsar == (outside, 6651)
        way = stage.way_of(9999)
        assert await reached(way.ats, way.name(10002), bureau.roots_pem) == "party 10002"
        assert await posted(way.nginx, to(10002)) == (200, 10002)


async def test_an_advertised_name_leads_where_the_exchanges_site_resolved_it_to(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    outside = node_of(proxy_host, 4)
    advertise = {"pulsar": "fate.bank.example:6651", "nginx": "fate.bank.example:8000"}
    named = Party.at(10002, node_of(proxy_host, 3), advertise=advertise)
    known = {"fate.bank.example": outside}
    parties = [*three(proxy_host)[:2], named]
    async with staged(proxy_host, tmp_path, bureau, parties, resolutions=known) as stage:
        way = stage.way_of(9999)
        assert await reached(way.ats, way.name(10002), bureau.roots_pem) == "party 10002"
        assert await posted(way.nginx, to(10002)) == (200, 10002)


async def test_a_broker_that_was_down_is_reached_as_soon_as_it_is_back(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, three(proxy_host)) as stage:
        way, party = stage.way_of(9999), stage.deployed.party(10000)
        await stage.backends.shut(party)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await reached(way.ats, way.name(10000), bureau.roots_pem)
        assert (await posted(way.nginx, to(10000)))[0] == 502
        await stage.backends.open(party)
        assert await reached(way.ats, way.name(10000), bureau.roots_pem) == "party 10000"
        assert await posted(way.nginx, to(10000)) == (200, 10000)


async def test_a_request_for_a_stranger_ends_in_an_error_and_hurts_nobody(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    """The chart sends strangers to the exchange itself, by a name that nginx cannot use."""
    async with staged(proxy_host, tmp_path, bureau, three(proxy_host)) as stage:
        door = stage.deployed.nginx
        for headers in (to(4711), to(9999, service="no-such"), {"service": "fateflow"}):
            status, _ = await posted(door, headers)
            assert status >= 400
        assert await posted(door, to(9999)) == (200, 9999)


async def test_the_environment_header_does_where_the_party_header_is_missing(
    proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    async with staged(proxy_host, tmp_path, bureau, three(proxy_host)) as stage:
        headers = {"dest-env": "10000", "service": "fateflow"}
        assert await posted(stage.deployed.nginx, headers) == (200, 10000)


async def test_the_same_files_route_without_namespaces(
    programs: None, tmp_path: Path, bureau: Bureau
) -> None:
    beside = Loopback.make()
    try:
        async with staged(beside, tmp_path, bureau, three(beside)) as stage:
            await check_every_route(stage.deployed)
    finally:
        beside.close()
