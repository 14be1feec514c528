"""The whole story on real Kubernetes: from an invitation to a running federation, and its changes.

The fixture `story` has applied one file; each test looks at what came of it, or changes it.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from tests.support.federation import DOMAIN, PARTIES, Federation
from tests.support.kubetier import HOME, RealPlace
from tests.support.lifecycle import Json

pytestmark = [
    pytest.mark.kube,
    pytest.mark.asyncio(loop_scope="session"),
]

TUNNELS = ("traffic-server-sni", "sni.yaml")
ROUTES = ("nginx-config", "route_table.yaml")
ITSELF = [{"host": "nginx", "http_port": 9300, "grpc_port": 9310}]
FLOW = [{"host": "fateflow", "http_port": 9380, "grpc_port": 9360}]
THIRD = (77, "beta")


def place(story: Federation, site: str) -> RealPlace:
    found = story.places[site]
    assert isinstance(found, RealPlace)
    return found


async def table(place: RealPlace, namespace: str, file: tuple[str, str]) -> Json:
    return yaml.safe_load(await place.text(namespace, *file))


async def tunnel(story: Federation, party: int, site: str) -> Json:
    there = place(story, site)
    port = await there.node_port(f"fate-{party}", "pulsar", "https-port")
    return {"fqdn": f"{party}.{DOMAIN}", "tunnel_route": f"{there.plane.node_ip}:{port}"}


async def way(story: Federation, party: int, site: str) -> Json:
    there = place(story, site)
    port = await there.node_port(f"fate-{party}", "nginx", "http")
    return {"fateflow": [{"host": there.plane.node_ip, "http_port": port}]}


async def expected_tunnels(story: Federation, parties: tuple[tuple[int, str], ...]) -> list[Json]:
    sentinel = {"fqdn": f"sentinel.{DOMAIN}", "tunnel_route": "192.0.2.1:443"}
    return [sentinel, *[await tunnel(story, *party) for party in sorted(parties)]]


async def expected_ways(story: Federation, parties: tuple[tuple[int, str], ...]) -> Json:
    by_chart = {"default": {"proxy": ITSELF}, 0: {"proxy": ITSELF, "fateflow": FLOW}}
    return by_chart | {party: await way(story, party, site) for party, site in parties}


async def check_tables(story: Federation, parties: tuple[tuple[int, str], ...]) -> None:
    """The exchange's tables name exactly these parties, at their own clusters' addresses."""
    hq = place(story, "hq")
    found = await table(hq, "fate-exchange", TUNNELS)
    assert found == {"sni": await expected_tunnels(story, parties)}
    assert await table(hq, "fate-exchange", ROUTES) == await expected_ways(story, parties)


@pytest.mark.parametrize(
    ("site", "is_adopted", "tail"),
    [
        ("hq", True, "(adopted, reached by url)"),
        ("alpha", False, "(installed, reached by port-forward)"),
        ("beta", True, "(adopted, reached by port-forward)"),
    ],
)
async def test_an_agent_comes_by_its_kubefate(
    story: Federation, site: str, *, is_adopted: bool, tail: str
):
    endpoint = await story.api.get(f"endpoints/{site}")

    assert endpoint["phase"] == "Ready"
    assert endpoint["adopted"] is is_adopted
    assert endpoint["message"].endswith(tail)


async def test_every_component_is_ready_by_the_api_servers_own_word(story: Federation):
    for key, namespace, site in (
        ("exchange", "fate-exchange", "hq"),
        (9999, "fate-9999", "alpha"),
        (10000, "fate-10000", "beta"),
    ):
        deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        found = (await place(story, site).plane.api.get(deployments))["items"]
        there = {body["metadata"]["name"]: body["status"]["readyReplicas"] for body in found}
        told = (await story.participant(key))["components"]
        assert there == {row["name"]: row["ready"] for row in told}


async def test_each_was_asked_for_once_and_with_one_login(
    story: Federation, asked: dict[str, Counter[str]]
):
    for site in ("hq", "alpha", "beta"):
        assert asked[site]["POST /v1/cluster"] == 1
        # None where an earlier test's login still holds.
        assert asked[site]["POST /v1/user/login"] <= 1
        assert place(story, site).service.value.requests["POST /v1/user/login"] >= 1


async def test_the_exchanges_tables_are_exactly_what_the_hub_computed(story: Federation):
    await check_tables(story, PARTIES)
    routes = (await story.api.get(f"federations/{story.intent()['name']}/routes"))["routes"]
    assert routes
    assert all(row["deployed"] for row in routes)


@pytest.mark.parametrize(("party", "site"), PARTIES)
async def test_a_partys_tables_lead_to_the_exchange(story: Federation, party: int, site: str):
    hq, there = place(story, "hq"), place(story, site)
    nginx = await hq.node_port("fate-exchange", "nginx", "http")
    ats = await hq.node_port("fate-exchange", "traffic-server", "443")

    ways = await table(there, f"fate-{party}", ROUTES)
    pulsar = await table(there, f"fate-{party}", ("pulsar-route-table", "pulsar_route_table.yaml"))

    assert ways.keys() == {"default", party}
    (proxy,) = ways["default"]["proxy"]
    assert (proxy["host"], proxy["http_port"]) == (hq.plane.node_ip, nginx)
    assert ways[party] == {"proxy": ITSELF, "fateflow": FLOW}
    assert pulsar["default"] == {"proxy": f"{hq.plane.node_ip}:{ats}", "domain": DOMAIN}
    assert pulsar.keys() == {"default", party}


@pytest.mark.parametrize(("party", "site"), PARTIES)
async def test_a_partys_secret_holds_a_key_and_a_chain_to_the_root(
    story: Federation, tmp_path: Path, party: int, site: str
):
    secret = await place(story, site).secret(f"fate-{party}", "pulsar-cert")

    assert secret.keys() == {"broker.cert.pem", "broker.key-pk8.pem", "ca.cert.pem"}
    assert secret["broker.key-pk8.pem"].startswith(b"-----BEGIN PRIVATE KEY-----")
    check_pair(secret["broker.cert.pem"], secret["broker.key-pk8.pem"], f"{party}.{DOMAIN}")
    assert secret["ca.cert.pem"] == story.running_hub.ca_file.read_bytes()
    verify(tmp_path, secret["broker.cert.pem"], story.running_hub.ca_file)


async def test_the_exchanges_secret_is_in_the_form_that_its_proxy_reads(
    story: Federation, tmp_path: Path
):
    secret = await place(story, "hq").secret("fate-exchange", "traffic-server-cert")

    assert secret.keys() == {"proxy.cert.pem", "proxy.key.pem", "ca.cert.pem"}
    assert secret["proxy.key.pem"].startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    check_pair(secret["proxy.cert.pem"], secret["proxy.key.pem"], f"proxy.{DOMAIN}")
    verify(tmp_path, secret["proxy.cert.pem"], story.running_hub.ca_file)


def check_pair(chain: bytes, key: bytes, name: str) -> None:
    leaf = x509.load_pem_x509_certificates(chain)[0]
    private = serialization.load_pem_private_key(key, password=None)
    assert leaf.public_key() == private.public_key()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert name in names.get_values_for_type(x509.DNSName)


def verify(folder: Path, chain: bytes, root: Path) -> None:
    """Have the openssl program verify a chain."""
    file = folder / "chain.pem"
    file.write_bytes(chain)
    command = ["openssl", "verify", "-CAfile", str(root), "-untrusted", str(file), str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)  # noqa: S603 - our own arguments
    assert done.returncode == 0, done.stderr


async def test_a_third_party_comes_and_goes_and_no_tunnel_is_cut(story: Federation):
    hq, beta = place(story, "hq"), place(story, "beta")
    namespaces = await beta.namespaces()
    before = await pods(hq)
    told = len(hq.commands("fate-exchange"))
    generations = await story.generations()

    await story.apply(story.intent((*PARTIES, THIRD)))
    await story.wait_ready()

    await check_tables(story, (*PARTIES, THIRD))
    # Twice where an answer was lost; nginx finds added keys by itself.
    assert set(hq.commands("fate-exchange")[told:]) == {"traffic_ctl config reload"}
    changed = {
        key for key, value in (await story.generations()).items() if value != generations.get(key)
    }
    assert changed == {"exchange", "77"}

    told = len(hq.commands("fate-exchange"))
    await story.apply(story.intent())
    await story.wait_gone(77)
    await story.wait_ready()

    await check_tables(story, PARTIES)
    assert await beta.namespaces() == namespaces
    # A removed key stays in nginx's cache until it reloads.
    assert "nginx -s reload" in hq.commands("fate-exchange")[told:]
    assert await pods(hq) == before


async def pods(place: RealPlace) -> set[str]:
    found = (await place.plane.api.get("/api/v1/namespaces/fate-exchange/pods"))["items"]
    return {pod["metadata"]["uid"] for pod in found}


async def test_a_deleted_secret_and_an_edited_table_come_back(story: Federation):
    alpha = place(story, "alpha")
    secret = "/api/v1/namespaces/fate-9999/secrets/pulsar-cert"
    before = (await alpha.plane.api.get(secret))["metadata"]["uid"]

    await alpha.plane.api.delete(secret)
    await alpha.plane.api.wait(secret, lambda body: body["metadata"]["uid"] != before)

    config = "/api/v1/namespaces/fate-9999/configmaps/pulsar-route-table"
    right = await alpha.text("fate-9999", "pulsar-route-table", "pulsar_route_table.yaml")
    await alpha.plane.api.patch(config, {"data": {"pulsar_route_table.yaml": "default: {}\n"}})
    await alpha.plane.api.wait(
        config, lambda body: body["data"]["pulsar_route_table.yaml"] == right
    )
    await story.wait_ready()


async def test_an_adopted_kubefate_is_left_as_it_was(story: Federation):
    found = await place(story, "beta").plane.api.get(
        f"/apis/apps/v1/namespaces/{HOME}/deployments/kubefate"
    )

    assert found["metadata"]["labels"] == {"fate": "kubefate"}
    assert found["metadata"]["generation"] == 1
