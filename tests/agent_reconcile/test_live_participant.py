"""Records are mended without harm to what people work with, on a service that uninstalls freely."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.patience import until

from fedagent.domain.timing import PlanTiming
from fedagent.kube import objects
from fedagent.kube.kinds import CONFIGMAPS, DEPLOYMENTS, PODS, SERVICES

ROUTE = (9999, "127.0.0.1", 30109, "127.0.0.1", 30103)
OTHER = (10000, "127.0.0.1", 30209, "127.0.0.1", 30203)
PLACE = "fate-exchange"
TAKEN = 30555


@pytest.fixture(autouse=True)
def _short_waits(site: Any) -> None:
    site.plan_timing = PlanTiming(backoff_s=(0.1, 0.2, 0.3), detach_for_newer_s=1.0)


async def ready(site: Any, docs: Any) -> None:
    await site.put(docs.endpoint(), docs.exchange())
    site.start()
    await site.until("exchange-1", "READY")
    await site.put(docs.exchange(2, [ROUTE]))
    await site.until("exchange-1", "READY", generation=2)


async def squat(site: Any) -> None:
    """Have another Service hold a node port, so that Helm fails half-way."""
    port = {"name": "a", "port": 80, "nodePort": TAKEN}
    spec = {"type": "NodePort", "ports": [port]}
    await objects.create(
        site.kube, SERVICES, {"metadata": {"name": "squatter"}, "spec": spec}, namespace="default"
    )


def bad(docs: Any, generation: int) -> Any:
    sound = docs.exchange(generation, [ROUTE, OTHER])
    text = sound.participant.cluster_json
    changed = text.replace('"nginx":{', f'"nginx":{{"httpNodePort":{TAKEN},', 1)
    assert changed != text
    sound.participant.cluster_json = changed
    return sound


async def pods(site: Any) -> set[str]:
    found = await objects.list_all(site.kube, PODS, namespace=PLACE)
    return {pod["metadata"]["uid"] for pod in found}


async def table(site: Any) -> str:
    body = await objects.get(site.kube, CONFIGMAPS, "traffic-server-sni", namespace=PLACE)
    return str(body["data"]["sni.yaml"])


async def test_a_change_that_is_given_up_leaves_the_last_good_tables_in_force(
    site: Any, docs: Any
) -> None:
    await ready(site, docs)
    before = await table(site)
    await squat(site)

    await site.put(bad(docs, 3))
    status = await site.until("exchange-1", "FAILED", generation=3)

    assert status.reason == "NodePortTaken"
    assert "Generation 2" in status.message
    assert await table(site) == before


async def test_a_lost_database_and_a_change_that_fails_do_not_uninstall_what_runs(
    site: Any, docs: Any
) -> None:
    await ready(site, docs)
    before, running = await table(site), await pods(site)
    await squat(site)
    site.service.lose_database()

    await site.put(bad(docs, 3))
    await site.until("exchange-1", "FAILED", generation=3)

    assert await table(site) == before
    assert await pods(site) == running


async def test_an_install_over_what_runs_is_let_go_when_a_pod_is_down(site: Any, docs: Any) -> None:
    await ready(site, docs)
    deployments = {
        body["metadata"]["uid"]
        for body in await objects.list_all(site.kube, DEPLOYMENTS, namespace=PLACE)
    }
    site.simulated.faults.set("crash", "nginx")
    await site.until("exchange-1", "DEGRADED")
    site.service.lose_database()
    await site.put(docs.exchange(3, [ROUTE, OTHER]))

    async def is_routed() -> bool:
        return "10000.credit.example.com" in await table(site)

    await until(is_routed)

    after = await objects.list_all(site.kube, DEPLOYMENTS, namespace=PLACE)
    assert {body["metadata"]["uid"] for body in after} == deployments
    assert site.service.requests.get("PUT /v1/job/{uuid}", 0) == 0
