"""What real Kubernetes does to a deployment: no address yet, bad images, crashes, a dead API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from tests.support.federation import Federation
from tests.support.kubetier import RealPlace
from tests.support.kwok import Behaviour
from tests.support.lifecycle import Json
from tests.support.patience import until

pytestmark = [
    pytest.mark.kube,
    pytest.mark.asyncio(loop_scope="session"),
]

NAME = "trouble"
SITE = "alpha"
PARTY = 500
SPACE = f"fate-{PARTY}"


def lonely(name: str, **party: object) -> Json:
    """A federation of one party and no exchange."""
    row = {"id": PARTY, "site": SITE} | party
    return {"name": name, "domain": f"{name}.example.com", "parties": [row]}


def place(sites: Federation, site: str = SITE) -> RealPlace:
    found = sites.places[site]
    assert isinstance(found, RealPlace)
    return found


@pytest_asyncio.fixture(loop_scope="session")
async def federation(sites: Federation) -> AsyncIterator[str]:
    """The name of a federation that is gone again after the test."""
    yield NAME
    await sites.remove(NAME)
    await sites.wait_gone(name=NAME)


async def wait_until(
    sites: Federation, name: str, key: object, accept: Callable[[Json], bool]
) -> Json:
    """Wait until what the hub tells of a participant is accepted; return it."""

    async def is_there() -> Json | None:
        found = await sites.api.get(f"participants/{name}/{key}")
        return found if accept(found) else None

    found: Json = await until(is_there, f"{key} as wanted", describe=lambda: sites.tell(name))
    return found


BAD_PODS = {
    "python": (Behaviour.IMAGE_PULL, "ImagePullFailed"),
    "client": (Behaviour.CRASH, "CrashLoop"),
    "pulsar": (Behaviour.FAILED_MOUNT, "MissingSecret"),
}


async def test_bad_pods_are_named_while_kubefate_still_waits_and_mended_they_go_on(
    sites: Federation, federation: str
):
    there = place(sites)
    codes = {code for _, code in BAD_PODS.values()}
    async with AsyncExitStack() as stack:
        for module, (behaviour, _) in BAD_PODS.items():
            labels = {"fateMoudle": module}
            bad = there.plane.kwok.misbehaving(behaviour, namespace=SPACE, labels=labels)
            await stack.enter_async_context(bad)
        await sites.apply(lonely(federation))
        told = await wait_until(
            sites,
            federation,
            PARTY,
            lambda found: codes <= {item["code"] for item in found["findings"]},
        )
        assert told["participant"]["phase"] == "Deploying"
        for module, (_, code) in BAD_PODS.items():
            finding = next(item for item in told["findings"] if item["code"] == code)
            assert finding["object"].startswith(f"Pod/{module}-")
            assert finding["hint"]

    await sites.wait_ready(federation)
    assert not (await sites.api.get(f"participants/{federation}/{PARTY}"))["findings"]


async def test_a_load_balancer_is_waited_for_and_its_address_goes_into_the_tables(
    sites: Federation, federation: str
):
    hq, alpha = place(sites, "hq"), place(sites)
    exposed = {"site": "hq", "namespace": "balanced", "expose": "LoadBalancer"}
    intent = lonely(federation, expose="LoadBalancer") | {"exchange": exposed}
    await sites.apply(intent)
    found = await wait_until(
        sites,
        federation,
        "exchange",
        lambda told: told["participant"]["reason"] == "AddressPending",
    )
    assert "has no outside address yet" in found["participant"]["message"]
    rows = await sites.participants(federation)
    assert rows[str(PARTY)]["phase"] == "Waiting"

    await balance(hq, "balanced", "traffic-server", "127.0.90.10")
    await balance(hq, "balanced", "nginx", "127.0.90.11")
    await wait_until(
        sites, federation, PARTY, lambda told: told["participant"]["reason"] == "AddressPending"
    )
    await balance(alpha, SPACE, "pulsar-public-tls", "127.0.91.20")
    await balance(alpha, SPACE, "nginx", "127.0.91.21")

    await sites.wait_ready(federation)
    tunnels = await hq.text("balanced", "traffic-server-sni", "sni.yaml")
    assert "tunnel_route: 127.0.91.20:6651" in tunnels
    assert "127.0.90.10:443" in await alpha.text(
        SPACE, "pulsar-route-table", "pulsar_route_table.yaml"
    )
    assert "127.0.90.11" in await alpha.text(SPACE, "nginx-config", "route_table.yaml")

    await balance(alpha, SPACE, "pulsar-public-tls", "127.0.91.30")

    async def has_followed() -> bool:
        text = await hq.text("balanced", "traffic-server-sni", "sni.yaml")
        return "127.0.91.30:6651" in text and "127.0.91.20" not in text

    await until(has_followed, "the exchange follows the new address")
    await sites.wait_ready(federation)


async def balance(there: RealPlace, namespace: str, service: str, ip: str) -> None:
    """Give a Service the address that a load balancer would give it."""
    path = f"/api/v1/namespaces/{namespace}/services/{service}/status"
    status = {"loadBalancer": {"ingress": [{"ip": ip}]}}
    await there.plane.api.patch(path, {"status": status})


async def test_an_api_server_that_dies_in_a_deployment_holds_it_up_and_no_more(
    sites: Federation, federation: str
):
    there = place(sites)
    before = there.service.value.requests.get("POST /v1/cluster", 0)
    # Until the API server is back: what waits would otherwise be over on a slow machine.
    async with there.plane.kwok.slow(600, namespace=SPACE, labels={"fateMoudle": "python"}):
        await sites.apply(lonely(federation))
        await wait_until(
            sites, federation, PARTY, lambda told: "8 of 9" in told["participant"]["message"]
        )
        there.plane.kill("kube-apiserver")
        await wait_until(
            sites,
            federation,
            PARTY,
            lambda told: "cannot be looked at" in told["participant"]["message"],
        )
        await there.plane.restart("kube-apiserver")

    await sites.wait_ready(federation)
    assert there.service.value.requests["POST /v1/cluster"] == before + 1


async def test_an_agent_that_was_killed_takes_up_what_happened_meanwhile(story: Federation):
    there = place(story)
    await story.agents[SITE].kill()
    deployments = "/apis/apps/v1/namespaces/fate-9999/deployments"
    await there.plane.api.delete(f"{deployments}/client")

    await story.start_agent(SITE)

    await there.plane.api.wait(f"{deployments}/client")
    await story.wait_ready()
