"""A removal that is taken back: whatever was gone by then comes up again, and what stayed stays."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from typing import Any

import pytest
from tests.support.patience import until

from fedagent.domain.policy import parse_policy
from fedagent.kube import objects
from fedagent.kube.kinds import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS, SECRETS
from fedagent.kubefate.releases import read_releases

PLACE = "fate-exchange"
SECRET = "traffic-server-cert"
ROUTE = (9999, "127.0.0.1", 30109, "127.0.0.1", 30103)
WRITES = ("POST /v1/cluster", "PUT /v1/cluster", "DELETE /v1/cluster/{uuid}")


async def ready(site: Any, docs: Any) -> None:
    await site.put(docs.endpoint(), docs.exchange())
    site.start()
    await site.until("exchange-1", "READY")


def writes(site: Any) -> Counter[str]:
    return Counter({route: site.service.requests.get(route, 0) for route in WRITES})


async def pods(site: Any) -> set[str]:
    found = await objects.list_all(site.kube, PODS, namespace=PLACE)
    return {pod["metadata"]["uid"] for pod in found}


async def is_back(site: Any, generation: int) -> None:
    status = await site.until("exchange-1", "READY", generation=generation)
    assert all(table.matches for table in status.tables)
    assert all(item.ready == item.desired == 1 for item in status.components)
    namespace = await objects.get(site.kube, NAMESPACES, PLACE)
    assert "deletionTimestamp" not in namespace["metadata"]
    assert await objects.exists(site.kube, SECRETS, SECRET, namespace=PLACE)
    assert await read_releases(site.kube, PLACE, "fate-exchange")
    assert writes(site)["POST /v1/cluster"] <= generation


@pytest.mark.parametrize("seed", range(20 if os.environ.get("FED_TEST_FULL") else 2))
async def test_a_removal_is_taken_back_at_any_moment(site: Any, docs: Any, seed: int) -> None:
    rng = random.Random(seed)
    await ready(site, docs)
    for generation in (2, 4):
        await site.put(docs.exchange(generation, absent=True))
        await asyncio.sleep(rng.uniform(0.0, 0.5))
        await site.put(docs.exchange(generation + 1, [ROUTE]))
        await asyncio.sleep(rng.uniform(0.0, 0.3))
    await is_back(site, 5)


async def test_a_removal_is_taken_back_when_the_uninstall_was_sent(site: Any, docs: Any) -> None:
    await ready(site, docs)
    site.service.faults.set("job-hang")

    async def is_sent() -> bool:
        return writes(site)["DELETE /v1/cluster/{uuid}"] == 1

    await site.put(docs.exchange(2, absent=True))
    await until(is_sent)
    await site.put(docs.exchange(3))
    site.service.faults.clear("job-hang")
    await is_back(site, 3)


async def test_a_removal_is_taken_back_while_the_namespace_is_going(site: Any, docs: Any) -> None:
    await ready(site, docs)
    held = {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    await objects.create(site.kube, CONFIGMAPS, held, namespace=PLACE)
    await site.put(docs.exchange(2, absent=True))
    await site.until("exchange-1", lambda status: status.reason == "NamespaceGoing", generation=2)

    async def is_going() -> bool:
        body = await objects.get(site.kube, NAMESPACES, PLACE)
        return "deletionTimestamp" in body["metadata"]

    await until(is_going)
    await site.put(docs.exchange(3))
    status = await site.until(
        "exchange-1", lambda status: status.reason == "NamespaceTerminating", generation=3
    )
    assert "follows" in status.message
    release = {"metadata": {"finalizers": None}}
    await objects.patch(site.kube, CONFIGMAPS, "held", release, namespace=PLACE)
    await is_back(site, 3)


async def test_a_removal_is_taken_back_when_our_secrets_are_deleted(site: Any, docs: Any) -> None:
    await objects.create(site.kube, NAMESPACES, {"metadata": {"name": PLACE}})
    await ready(site, docs)

    async def is_deleted() -> bool:
        return not await objects.exists(site.kube, SECRETS, SECRET, namespace=PLACE)

    await site.put(docs.exchange(2, absent=True))
    await until(is_deleted)
    await site.put(docs.exchange(3))
    await is_back(site, 3)


async def test_a_denied_removal_leaves_all_as_it_is_and_is_taken_back_at_no_cost(
    site: Any, docs: Any
) -> None:
    site.policy = parse_policy({"actions": {"remove": "deny"}})
    await ready(site, docs)
    before, running = writes(site), await pods(site)
    await site.put(docs.exchange(2, absent=True))
    status = await site.until("exchange-1", "REFUSED", generation=2)
    assert status.reason == "actions.remove"
    assert "2 of 2 components are ready" in status.message
    await site.put(docs.exchange(3))
    await is_back(site, 3)
    assert (writes(site), await pods(site)) == (before, running)


async def test_a_denied_removal_of_the_service_leaves_it_to_its_participants(
    site: Any, docs: Any
) -> None:
    site.policy = parse_policy({"actions": {"remove": "deny"}})
    await ready(site, docs)
    await site.put(docs.endpoint(2, absent=True))
    status = await site.until("endpoint-1", "REFUSED", generation=2)
    assert status.reason == "actions.remove"
    await site.put(docs.exchange(2, [ROUTE]))
    await site.until("exchange-1", "READY", generation=2)
    await site.put(docs.endpoint(3))
    await site.until("endpoint-1", "READY", generation=3)


@pytest.mark.parametrize("seed", range(10 if os.environ.get("FED_TEST_FULL") else 2))
async def test_a_removal_of_the_service_is_taken_back_at_any_moment(
    site: Any, docs: Any, seed: int
) -> None:
    rng = random.Random(seed)
    await site.put(docs.endpoint())
    site.start()
    await site.until("endpoint-1", "READY")
    await site.put(docs.endpoint(2, absent=True))
    await asyncio.sleep(rng.uniform(0.0, 0.3))
    await site.kill()
    await site.put(docs.endpoint(3))
    site.start()
    await site.until("endpoint-1", "READY", generation=3)
    for name in ("kubefate", "mariadb"):
        assert await objects.exists(site.kube, DEPLOYMENTS, name, namespace="kube-fate")
