"""The story of a federation: deployed, looked at, changed, taken away. One federation for all."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.verification import PolicyBuilder, Store
from tests.support.federation import Federation
from tests.support.leaks import Wiretap, secrets_of_sites

from fedagent.kube.kinds import NAMESPACES, SECRETS, SERVICES
from fedagent.kube.objects import create, find, get, list_all, patch

pytestmark = pytest.mark.asyncio(loop_scope="module")
BASIS = ((9999, "alpha"), (10000, "beta"))
Json = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Federation, Wiretap]]:
    with Wiretap() as wire:
        async with Federation(tmp_path_factory.mktemp("story")) as federation:
            yield federation, wire


@pytest_asyncio.fixture(loop_scope="module")
async def fed(standing: tuple[Federation, Wiretap]) -> Federation:
    """An exchange at hq and parties at alpha and beta, Ready, whatever the test before did."""
    federation, _ = standing
    await federation.apply(federation.intent(BASIS))
    await federation.wait_ready()
    await federation.wait_keys("exchange", 9999, 10000)
    return federation


async def sni_table(fed: Federation) -> dict[str, str]:
    """The exchange's Traffic Server table as its ConfigMap holds it."""
    data = await fed.config_map("hq", "fate-exchange", "traffic-server-sni")
    return {row["fqdn"]: row["tunnel_route"] for row in yaml.safe_load(data["sni.yaml"])["sni"]}


async def nginx_table(fed: Federation, site: str, namespace: str) -> Json:
    data = await fed.config_map(site, namespace, "nginx-config")
    table: Json = yaml.safe_load(data["route_table.yaml"])
    return table


async def addresses(fed: Federation, key: int | str) -> dict[str, tuple[str, int]]:
    found = (await fed.participant(key))["addresses"]
    return {row["role"]: (row["ip"], row["port"]) for row in found}


async def test_the_config_maps_hold_exactly_the_hubs_tables(fed: Federation) -> None:
    routes = (await fed.api.get("federations/credit/routes"))["routes"]
    wanted = {row["key"]: f"{row['host']}:{row['port']}" for row in routes if row["table"] == "sni"}
    assert await sni_table(fed) == wanted
    assert set(wanted) == {f"{key}.credit.example.com" for key in ("sentinel", 9999, 10000)}
    nginx = {
        row["key"]: {"fateflow": [{"host": row["host"], "http_port": row["port"]}]}
        for row in routes
        if row["table"] == "nginx" and row["participant"] == "credit/exchange"
    }
    found = await nginx_table(fed, "hq", "fate-exchange")
    assert {str(key): found[key] for key in found if key not in {"default", 0}} == nginx
    assert set(nginx) == {"9999", "10000"}


async def test_each_party_leads_to_the_exchange_and_the_exchange_to_it(fed: Federation) -> None:
    exchange = await addresses(fed, "exchange")
    table = await sni_table(fed)
    for party, site in BASIS:
        own = await addresses(fed, party)
        assert table[f"{party}.credit.example.com"] == "{}:{}".format(*own["pulsar"])
        nginx = await nginx_table(fed, site, f"fate-{party}")
        assert nginx["default"]["proxy"][0]["host"] == exchange["nginx"][0]
        assert nginx["default"]["proxy"][0]["http_port"] == exchange["nginx"][1]
        data = await fed.config_map(site, f"fate-{party}", "pulsar-route-table")
        pulsar = yaml.safe_load(data["pulsar_route_table.yaml"])
        assert pulsar["default"]["proxy"] == "{}:{}".format(*exchange["ats"])
    probes = (await fed.participant("exchange"))["probes"]
    assert {row["key"]: row["state"] for row in probes} == {
        "9999.credit.example.com": "Reachable",
        "10000.credit.example.com": "Reachable",
    }


async def pulsar_cert(fed: Federation, site: str, party: int) -> dict[str, bytes]:
    body = await fed.secret(site, f"fate-{party}", "pulsar-cert")
    assert body is not None
    return {name: base64.b64decode(value) for name, value in body["data"].items()}


async def test_pulsar_cert_has_its_three_keys_and_verifies_to_the_ca(fed: Federation) -> None:
    root = (fed.hub_settings.state / "ca.pem").read_bytes()
    for party, site in BASIS:
        data = await pulsar_cert(fed, site, party)
        assert set(data) == {"broker.cert.pem", "broker.key-pk8.pem", "ca.cert.pem"}
        assert data["broker.key-pk8.pem"].startswith(b"-----BEGIN PRIVATE KEY-----")
        key = serialization.load_pem_private_key(data["broker.key-pk8.pem"], password=None)
        leaf, *rest = x509.load_pem_x509_certificates(data["broker.cert.pem"])
        assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        assert key.public_key() == leaf.public_key()
        assert data["ca.cert.pem"].strip() in root
        store = Store(x509.load_pem_x509_certificates(data["ca.cert.pem"]))
        name = x509.DNSName(f"{party}.credit.example.com")
        verifier = PolicyBuilder().store(store).build_server_verifier(name)
        assert len(verifier.verify(leaf, rest)) == len(rest) + 2


async def test_openssl_verifies_pulsar_cert_to_the_ca(fed: Federation, tmp_path: Path) -> None:
    data = await pulsar_cert(fed, "alpha", 9999)
    for name, content in data.items():
        (tmp_path / name).write_bytes(content)
    verify = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
    names = ["-verify_hostname", "9999.credit.example.com", "-CAfile", "ca.cert.pem"]
    chain = ["-untrusted", "broker.cert.pem", "broker.cert.pem"]
    done = subprocess.run([*verify, *names, *chain], cwd=tmp_path, capture_output=True, text=True)  # noqa: ASYNC221, PLW1510, S603 - a tenth of a second; the text is looked at
    assert done.stdout.strip() == "broker.cert.pem: OK", done.stderr


async def test_no_secret_of_a_site_is_with_the_hub_in_logs_or_in_traffic(
    fed: Federation, standing: tuple[Federation, Wiretap], system_log: Path
) -> None:
    _, wire = standing
    sought = await secrets_of_sites(fed)
    kinds = {name.rpartition("/")[2] for name in sought}
    assert {"broker.key-pk8.pem", "proxy.key.pem", "kubefatePassword", "identity"} <= kinds
    places = {
        path.name: path.read_bytes()
        for path in fed.hub_settings.state.iterdir()
        if path.is_file() and path.name != "ca.key"
    }
    assert {"hub.sqlite", "hub.sqlite-wal"} <= places.keys()
    places |= {"log": system_log.read_bytes(), "traffic": wire.seen()}
    assert len(wire.seen()) > 10_000
    identity = (fed.folder / "alpha" / "agent" / "identity.json").read_bytes()
    assert any(form in identity for form in sought["alpha/identity"]), "the search itself finds"
    assert b"9999.credit.example.com" in wire.seen()
    assert b"9999.credit.example.com" in places["hub.sqlite"] + places["hub.sqlite-wal"]
    found = [
        (secret, place)
        for secret, forms in sought.items()
        for place, content in places.items()
        if any(form in content for form in forms)
    ]
    assert not found


async def test_a_deployment_without_trouble_tells_of_none(fed: Federation) -> None:
    told = await fed.events()
    assert {row["kind"] for row in told} >= {"participant.ready", "route.reachable"}
    assert [row["message"] for row in told if row["severity"] != "info"] == []


async def test_the_same_intent_again_changes_nothing(fed: Federation) -> None:
    before = await fed.generations()
    applied = await fed.apply(fed.intent(BASIS))
    assert (applied["operation"], applied["changes"]) == (None, [])
    assert await fed.generations() == before


async def test_a_third_party_changes_only_its_own_document_and_the_exchanges(
    fed: Federation,
) -> None:
    before = await fed.generations()
    foreseen = await fed.api.put(
        "federations/credit", fed.intent((*BASIS, (11111, "beta"))), dry_run="true"
    )
    assert [(row["resource"], row["change"]) for row in foreseen["changes"]] == [
        ("credit/11111", "created")
    ]
    await fed.apply(fed.intent((*BASIS, (11111, "beta"))))
    await fed.wait_keys("exchange", 9999, 10000, 11111)
    await fed.wait_ready()
    after = await fed.generations()
    assert {key for key in after if after[key] != before.get(key)} == {"exchange", "11111"}
    assert (after["exchange"], after["11111"]) == (before["exchange"] + 1, 1)
    assert "11111.credit.example.com" in await sni_table(fed)


async def test_a_removed_party_leaves_nothing_of_it_anywhere(fed: Federation) -> None:
    await fed.apply(fed.intent((*BASIS, (11111, "beta"))))
    await fed.wait_keys("exchange", 9999, 10000, 11111)
    await fed.wait_ready()
    before = await fed.generations()
    resource = (await fed.participant(11111))["id"]
    await fed.apply(fed.intent(BASIS))
    await fed.wait_gone(11111)
    await fed.wait_ready()
    kube = fed.places["beta"].kube
    assert await find(kube, NAMESPACES, "fate-11111") is None
    assert not [row for row in await list_all(kube, NAMESPACES) if resource in str(row)]
    assert "11111.credit.example.com" not in await sni_table(fed)
    assert 11111 not in await nginx_table(fed, "hq", "fate-exchange")
    async with fed.places["beta"].kubefate() as service:
        assert "fate-11111" not in {row.name for row in await service.clusters()}
    assert fed.rows_naming(resource) == {"events", "operation_targets", "site_certificates"}
    assert await fed.agent("beta").journal.documents.get(resource) is None
    after = await fed.generations()
    assert {key for key in before if after.get(key) != before[key]} == {"exchange", "11111"}


async def test_a_moved_party_is_followed_by_the_exchanges_tables(fed: Federation) -> None:
    before = await fed.generations()
    advertised = {"pulsar": "203.0.113.7:30109", "nginx": "203.0.113.7:30103"}
    intent = fed.intent(BASIS)
    intent["parties"][1]["advertise"] = advertised
    await fed.apply(intent)
    await fed.wait_ready()
    assert (await sni_table(fed))["10000.credit.example.com"] == advertised["pulsar"]
    row = (await nginx_table(fed, "hq", "fate-exchange"))[10000]
    assert row == {"fateflow": [{"host": "203.0.113.7", "http_port": 30103}]}
    after = await fed.generations()
    assert {key for key in after if after[key] != before[key]} == {"exchange"}


async def test_a_new_address_at_the_site_is_followed_by_the_exchanges_tables(
    fed: Federation,
) -> None:
    kube = fed.places["alpha"].kube
    body = await get(kube, SERVICES, "pulsar", namespace="fate-9999")
    ports = body["spec"]["ports"]
    index = next(i for i, port in enumerate(ports) if port["name"] == "https-port")
    moved = 32700 if ports[index]["nodePort"] != 32700 else 32701
    ports[index]["nodePort"] = moved
    await patch(kube, SERVICES, "pulsar", {"spec": {"ports": ports}}, namespace="fate-9999")

    async def is_followed() -> bool:
        return (await sni_table(fed))["9999.credit.example.com"].endswith(f":{moved}")

    await fed.until(is_followed, "the exchange's table names the new port")
    await fed.wait_ready()


async def test_another_exposure_of_the_exchange_reaches_the_parties(fed: Federation) -> None:
    before = await addresses(fed, "exchange")
    intent = fed.intent(BASIS, exchange={"site": "hq", "expose": "LoadBalancer"})
    await fed.apply(intent)
    await fed.wait_ready()
    after = await addresses(fed, "exchange")
    assert after["ats"] != before["ats"]
    data = await fed.config_map("alpha", "fate-9999", "pulsar-route-table")
    table = yaml.safe_load(data["pulsar_route_table.yaml"])
    assert table["default"]["proxy"] == "{}:{}".format(*after["ats"])


async def test_a_removed_federation_leaves_nothing_at_any_site(fed: Federation) -> None:
    kube = fed.places["alpha"].kube
    resources = [row["id"] for row in (await fed.participants()).values()]
    asked = await fed.api.call("DELETE", "federations/credit")
    assert asked[0] == 409
    assert "party 9999 at alpha" in str(asked[1])
    applied = await fed.remove()
    await fed.wait_gone()
    assert (await fed.wait_operation(applied))["state"] == "Succeeded"
    for site in ("hq", "alpha", "beta"):
        kube = fed.places[site].kube
        names = {row["metadata"]["name"] for row in await list_all(kube, NAMESPACES)}
        assert not {name for name in names if name.startswith("fate-")}
        async with fed.places[site].kubefate() as service:
            assert not await service.clusters()
    for resource in resources:
        left = fed.rows_naming(resource)
        assert left <= {"events", "operation_targets", "site_certificates"}
    await fed.check_events()


async def test_an_empty_namespace_is_claimed_and_given_back(fed: Federation) -> None:
    kube = fed.places["beta"].kube
    await create(kube, NAMESPACES, {"metadata": {"name": "ours", "labels": {"team": "risk"}}})
    intent = fed.intent(BASIS)
    intent["parties"].append({"id": 22222, "site": "beta", "namespace": "ours"})
    await fed.apply(intent)
    await fed.wait_keys("exchange", 9999, 10000, 22222)
    await fed.wait_ready()
    await fed.apply(fed.intent(BASIS))
    await fed.wait_gone(22222)
    left = await find(kube, NAMESPACES, "ours")
    assert left is not None
    assert left["metadata"]["labels"] == {"team": "risk", "kubernetes.io/metadata.name": "ours"}
    assert not await list_all(kube, SECRETS, namespace="ours")
