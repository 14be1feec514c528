"""KubeFATE's own traps, beside those of `test_troubles.py`: got over, or named until they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support.federation import Federation
from tests.support.lifecycle import impatient_timing
from tests.support.place import simulated_place

from fedagent.kube.kinds import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS, SECRETS, SERVICES
from fedagent.kube.objects import create, delete, find, get, list_all, patch

Json = dict[str, Any]
SITE = "hq"
PARTY = 9999
SPACE = f"fate-{PARTY}"


@pytest.fixture
async def fed(tmp_path: Path) -> AsyncIterator[Federation]:
    """One site with an exchange and a party that are Ready."""
    async with Federation(tmp_path, sites=(SITE,), timing=impatient_timing()) as federation:
        await federation.apply(intent(federation, PARTY))
        await federation.wait_ready()
        yield federation


def intent(fed: Federation, *parties: int, **party: object) -> Json:
    made = fed.intent(tuple((each, SITE) for each in parties))
    made["parties"] = [row | party for row in made["parties"]]
    return made


async def jobs(fed: Federation) -> list[Any]:
    async with fed.places[SITE].kubefate() as service:
        return list(await service.jobs())


async def wait_cause(fed: Federation, key: int | str, cause: str) -> Json:
    """Wait until a participant's reason or a finding is this; return what the hub tells of it."""

    async def is_named() -> Json | None:
        row = await fed.participant(key)
        codes = {row["reason"], *(item["code"] for item in row["findings"])}
        return row if cause in codes else None

    found: Json = await fed.until(is_named, f"{key} names {cause}")
    return found


async def test_a_partys_table_is_put_right_though_kubefate_refuses_what_did_not_change(
    fed: Federation,
) -> None:
    kube = fed.places[SITE].kube
    right = await fed.config_map(SITE, SPACE, "pulsar-route-table")
    change = {"data": dict.fromkeys(right, "default: {}\n")}
    await patch(kube, CONFIGMAPS, "pulsar-route-table", change, namespace=SPACE)

    async def is_right() -> bool:
        return await fed.config_map(SITE, SPACE, "pulsar-route-table") == right

    await fed.until(is_right, "the party's table is back")
    await fed.wait_ready()
    of_party = [job.lcm_revision for job in await jobs(fed) if job.namespace == SPACE]
    assert len(of_party) == len(set(of_party)) > 1


async def test_many_changes_never_make_two_jobs_of_one_cluster_at_a_time(fed: Federation) -> None:
    for number in range(1, 4):
        await fed.apply(intent(fed, PARTY, *range(1, number + 1)))
        await asyncio.sleep(0.2)
    await fed.wait_keys("exchange", PARTY, *range(1, 4))
    await fed.wait_ready()

    ended: dict[str, list[tuple[Any, Any]]] = {}
    for job in await jobs(fed):
        assert job.status.value == "Success", job
        ended.setdefault(job.namespace, []).append((job.start_time, job.end_time))
    assert len(ended["fate-exchange"]) > 2
    for spans in ended.values():
        assert all(one[1] <= other[0] for one, other in pairwise(sorted(spans)))


async def test_what_an_install_lacked_is_told_after_kubefate_has_removed_the_evidence(
    tmp_path: Path,
) -> None:
    def opener(name: str, folder: Path) -> Any:
        return simulated_place(name, folder, service_settings={"job_limit_s": 60.0})

    async with Federation(
        tmp_path, sites=(SITE,), open_place=opener, timing=impatient_timing()
    ) as fed:
        kube_faults = fed.place(SITE).simulated.faults
        kube_faults.set("image-error", "nginx")
        await fed.apply(intent(fed))

        async def is_over() -> bool:
            return any("timeOut" in text for job in await jobs(fed) for text in job.states)

        async def is_installed() -> bool:
            rows = await fed.api.items("endpoints")
            return bool(rows) and rows[0]["phase"] == "Ready"

        await fed.until(is_installed, "KubeFATE is there")
        await fed.until(is_over, "KubeFATE gave up")
        await wait_cause(fed, "exchange", "InstallTimedOut")
        kube_faults.clear("image-error")
        kinds = {(event["kind"], event["facts"].get("code")) for event in await fed.events()}
        assert ("participant.trouble", "ImagePullFailed") in kinds
        await fed.wait_ready()


async def test_a_component_that_was_scaled_to_nothing_is_brought_back(fed: Federation) -> None:
    kube = fed.places[SITE].kube
    await patch(kube, DEPLOYMENTS, "client", {"spec": {"replicas": 0}}, namespace=SPACE)

    async def is_back() -> bool:
        found = await get(kube, DEPLOYMENTS, "client", namespace=SPACE)
        return found["spec"]["replicas"] == 1

    await fed.until(is_back, "the component is back")
    await fed.wait_ready()


async def test_a_namespace_that_was_deleted_is_made_again_with_all_that_was_in_it(
    fed: Federation,
) -> None:
    kube = fed.places[SITE].kube
    before = (await get(kube, NAMESPACES, SPACE))["metadata"]["uid"]
    await delete(kube, NAMESPACES, SPACE)

    async def is_new() -> bool:
        found = await find(kube, NAMESPACES, SPACE)
        return found is not None and found["metadata"]["uid"] != before

    async def is_back() -> bool:
        pods = await list_all(kube, PODS, namespace=SPACE)
        return {pod["metadata"]["labels"].get("fateMoudle") for pod in pods} >= {"python", "nginx"}

    await fed.until(is_new, "the namespace is there again")
    await fed.until(is_back, "its pods are there again")
    await fed.wait_ready()


async def test_helms_secrets_that_were_deleted_cost_no_pod_and_no_route(fed: Federation) -> None:
    kube = fed.places[SITE].kube
    before = await list_all(kube, PODS, namespace="fate-exchange")
    for secret in await list_all(
        kube, SECRETS, namespace="fate-exchange", labels={"owner": "helm"}
    ):
        await delete(kube, SECRETS, secret["metadata"]["name"], namespace="fate-exchange")

    await fed.apply(intent(fed, PARTY, 1))
    await fed.wait_keys("exchange", PARTY, 1)
    await fed.wait_ready()

    after = await list_all(kube, PODS, namespace="fate-exchange")
    assert {pod["metadata"]["uid"] for pod in after} == {pod["metadata"]["uid"] for pod in before}
    data = await fed.config_map(SITE, "fate-exchange", "traffic-server-sni")
    assert all(f"{party}.credit" in data["sni.yaml"] for party in (1, PARTY))


async def test_a_node_port_that_is_taken_is_named_and_got_over_by_another(
    tmp_path: Path,
) -> None:
    async with Federation(tmp_path, sites=(SITE,), timing=impatient_timing()) as fed:
        kube = fed.places[SITE].kube
        port = {"name": "http", "port": 80, "nodePort": 30333}
        taken = {"metadata": {"name": "taken"}, "spec": {"type": "NodePort", "ports": [port]}}
        await create(kube, SERVICES, taken, namespace="default")
        wanted = intent(fed)
        wanted["exchange"]["values"] = {"nginx": {"httpNodePort": 30333}}
        await fed.apply(wanted)

        row = await wait_cause(fed, "exchange", "NodePortTaken")
        assert "30333" in row["message"]
        await fed.apply(intent(fed))
        await fed.wait_ready()


async def test_a_stop_that_is_lost_does_not_keep_the_newer_document_waiting(
    tmp_path: Path,
) -> None:
    async with Federation(tmp_path, sites=(SITE,), timing=impatient_timing()) as fed:
        place = fed.place(SITE)
        place.service.value.faults.set("stop-lost", "*")
        place.simulated.faults.set("image-error", "nginx")
        await fed.apply(intent(fed))
        await wait_cause(fed, "exchange", "ImagePullFailed")

        newer = intent(fed)
        newer["exchange"]["values"] = {"pullPolicy": "Always"}
        await fed.apply(newer)
        place.simulated.faults.clear("image-error")
        await fed.wait_ready()


async def test_a_claim_that_is_not_bound_is_named_until_it_is(tmp_path: Path) -> None:
    async with Federation(tmp_path, sites=(SITE,), timing=impatient_timing()) as fed:
        faults = fed.place(SITE).simulated.faults
        storage = {"storageClass": "standard"}
        values = {"persistence": True} | dict.fromkeys(
            ("python", "mysql", "client", "pulsar"), storage
        )
        faults.set("pvc-pending", "mysql*")
        await fed.apply(intent(fed, PARTY, values=values))

        await wait_cause(fed, PARTY, "VolumePending")
        faults.clear("pvc-pending")
        await fed.wait_ready()
