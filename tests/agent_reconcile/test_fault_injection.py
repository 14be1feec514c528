"""When things go wrong: it ends where the document says, and nothing is done twice."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.patience import until

from fedagent.domain.policy import parse_policy
from fedagent.kube import objects
from fedagent.kube.kinds import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS, SECRETS
from fedagent.kubefate.releases import read_releases
from fedproto.agent.v1 import document_pb2, event_pb2, status_pb2

ROUTE = (9999, "127.0.0.1", 30109, "127.0.0.1", 30103)
PLACE = "fate-exchange"


def installs(site: Any) -> int:
    return site.service.requests.get("POST /v1/cluster", 0)


async def ready(site: Any, docs: Any) -> None:
    await site.put(docs.endpoint(), docs.exchange())
    site.start()
    await site.until("exchange-1", "READY")


@pytest.mark.parametrize("seed", range(6))
async def test_an_agent_killed_again_and_again_installs_once(
    site: Any, docs: Any, seed: int
) -> None:
    rng = random.Random(seed)
    await site.put(docs.endpoint(), docs.exchange())
    for _ in range(12):
        site.start()
        await asyncio.sleep(rng.uniform(0.0, 0.4))
        await site.kill()
    site.start()
    await site.until("exchange-1", "READY")
    assert installs(site) == 1
    assert len(await read_releases(site.kube, PLACE, "fate-exchange")) == 1
    steps = [event for event in await site.events() if event.kind == "participant.step_done"]
    assert len({event.facts["step"] for event in steps}) == len(steps) == 8


async def test_a_lost_reply_is_looked_up_and_not_sent_again(site: Any, docs: Any) -> None:
    site.service.faults.set("reply-lost")
    await ready(site, docs)
    assert installs(site) == 1


async def test_a_service_that_restarts_in_an_install_is_got_over(site: Any, docs: Any) -> None:
    site.simulated.faults.set("never-ready", "traffic-server")
    await site.put(docs.endpoint(), docs.exchange())
    site.start()
    await site.until("exchange-1", lambda status: status.reason == "JobRunning")
    site.service.restart()
    site.simulated.faults.clear("never-ready")
    await site.until("exchange-1", "READY")


async def test_a_lost_database_is_repaired_without_touching_a_pod(site: Any, docs: Any) -> None:
    await ready(site, docs)
    before = await objects.list_all(site.kube, PODS, namespace=PLACE)
    site.service.lose_database()
    await site.put(docs.exchange(2, [ROUTE]))
    await site.until("exchange-1", "READY", generation=2)
    after = await objects.list_all(site.kube, PODS, namespace=PLACE)
    assert {pod["metadata"]["uid"] for pod in before} == {pod["metadata"]["uid"] for pod in after}
    table = await objects.get(site.kube, CONFIGMAPS, "traffic-server-sni", namespace=PLACE)
    assert "9999.credit.example.com" in table["data"]["sni.yaml"]


async def test_a_rollback_to_the_wrong_revision_is_put_right(site: Any, docs: Any) -> None:
    await ready(site, docs)
    site.service.faults.set("upgrade-fails", "1")
    await site.put(docs.exchange(2, [ROUTE]))
    await site.until("exchange-1", "READY", generation=2)
    table = await objects.get(site.kube, CONFIGMAPS, "traffic-server-sni", namespace=PLACE)
    assert "9999.credit.example.com" in table["data"]["sni.yaml"]


async def test_a_busy_helm_is_waited_out(site: Any, docs: Any) -> None:
    await ready(site, docs)
    site.service.faults.set("another-operation", "1")
    await site.put(docs.exchange(2, [ROUTE]))
    await site.until("exchange-1", "READY", generation=2)


async def test_a_hand_edited_table_comes_back(site: Any, docs: Any) -> None:
    await ready(site, docs)
    change = {
        "data": {"sni.yaml": "sni:\n  - fqdn: evil.example.com\n    tunnel_route: 10.0.0.1:443\n"}
    }
    await objects.patch(site.kube, CONFIGMAPS, "traffic-server-sni", change, namespace=PLACE)
    await site.until("exchange-1", lambda status: status.phase == status_pb2.PHASE_DEGRADED)
    await site.until("exchange-1", "READY")
    assert "drift.found" in [event.kind for event in await site.events()]


async def test_drift_is_only_told_where_the_federation_says_so(site: Any, docs: Any) -> None:
    await site.put(docs.endpoint(), docs.exchange(repair=document_pb2.REPAIR_POLICY_REPORT))
    site.start()
    await site.until("exchange-1", "READY")
    await objects.delete(site.kube, SECRETS, "traffic-server-cert", namespace=PLACE)
    status = await site.until("exchange-1", lambda status: status.reason == "Drift")
    assert status.phase == status_pb2.PHASE_DEGRADED
    assert await objects.find(site.kube, SECRETS, "traffic-server-cert", namespace=PLACE) is None


async def test_a_deleted_secret_and_a_deleted_deployment_come_back(site: Any, docs: Any) -> None:
    await ready(site, docs)
    await objects.delete(site.kube, SECRETS, "traffic-server-cert", namespace=PLACE)
    await until(lambda: objects.exists(site.kube, SECRETS, "traffic-server-cert", namespace=PLACE))
    await site.until("exchange-1", "READY")
    assert len(site.hub.issued) == 2


async def test_a_removal_waits_for_the_service_and_ends_by_itself(site: Any, docs: Any) -> None:
    await ready(site, docs)
    scale = {"spec": {"replicas": 0}}
    await objects.patch(site.kube, DEPLOYMENTS, "kubefate", scale, namespace="kube-fate")
    await until(lambda: not site.service.is_up)
    await site.put(docs.exchange(2, absent=True))
    status = await site.until(
        "exchange-1", lambda status: status.reason == "KubeFateUnavailable", generation=2
    )
    assert status.phase == status_pb2.PHASE_REMOVING
    scale = {"spec": {"replicas": 1}}
    await objects.patch(site.kube, DEPLOYMENTS, "kubefate", scale, namespace="kube-fate")
    await site.until("exchange-1", "GONE", generation=2)
    assert await objects.find(site.kube, NAMESPACES, PLACE) is None


async def test_a_removal_after_a_lost_database_leaves_nothing(site: Any, docs: Any) -> None:
    await ready(site, docs)
    site.service.lose_database()
    await site.put(docs.exchange(2, absent=True))
    await site.until("exchange-1", "GONE", generation=2)
    assert await objects.find(site.kube, NAMESPACES, PLACE) is None


async def test_another_hubs_namespace_is_named_and_left_alone(site: Any, docs: Any) -> None:
    labels = {
        "fate-lifecycle-manager.io/hub": "hub-2",
        "fate-lifecycle-manager.io/participant": "p-7",
    }
    body = {"metadata": {"name": PLACE, "labels": labels}}
    made = await objects.create(site.kube, NAMESPACES, body)
    await site.put(docs.endpoint(), docs.exchange())
    site.start()
    status = await site.until("exchange-1", "REFUSED")
    assert status.reason == "OwnedByAnother"
    assert "hub-2/p-7" in status.message
    await site.put(docs.exchange(2, absent=True))
    await site.until("exchange-1", "GONE", generation=2)
    found = await objects.get(site.kube, NAMESPACES, PLACE)
    assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_hub_that_is_away_is_waited_for(site: Any, docs: Any) -> None:
    site.hub.is_away = True
    await site.put(docs.endpoint(), docs.exchange())
    site.start()
    await site.until("exchange-1", lambda status: status.reason == "HubUnavailable")
    site.hub.is_away = False
    await site.until("exchange-1", "READY")


async def test_an_image_that_cannot_be_pulled_is_named(site: Any, docs: Any) -> None:
    site.simulated.faults.set("image-error", "nginx")
    await site.put(docs.endpoint(), docs.exchange())
    site.start()
    status = await site.until(
        "exchange-1", lambda status: any(f.code == "ImagePullFailed" for f in status.findings)
    )
    assert status.findings[0].hint


async def test_a_proxy_that_takes_no_command_is_restarted(site: Any, docs: Any) -> None:
    await ready(site, docs)
    before = await objects.list_all(site.kube, PODS, namespace=PLACE)
    site.simulated.faults.set("exec-fails")
    await site.put(docs.exchange(2, [ROUTE]))
    await site.until("exchange-1", "READY", generation=2)
    after = await objects.list_all(site.kube, PODS, namespace=PLACE)
    changed = {pod["metadata"]["uid"] for pod in after} - {pod["metadata"]["uid"] for pod in before}
    assert len(changed) == 1


async def test_a_step_held_for_a_person_goes_on_when_approved(site: Any, docs: Any) -> None:
    site.policy = parse_policy({"approval": {"install": "manual"}, "telemetry": {}})
    await site.put(docs.endpoint(), docs.exchange())
    site.start()
    await site.until("exchange-1", "AWAITING_APPROVAL")
    assert await objects.find(site.kube, NAMESPACES, PLACE) is None
    await site.until("endpoint-1", "AWAITING_APPROVAL")
    for item in await site.journal.approvals.all():
        await site.journal.approvals.approve(item.approval_id, by="ada", at=datetime.now(UTC))
    site.journal.documents.changed.set()
    await site.kill()
    site.start()
    status = await site.until("exchange-1", "READY")
    assert not status.findings


async def test_a_full_spool_begins_nothing_new(site: Any, docs: Any) -> None:
    site.journal.spool._max_rows = 1
    await site.journal.spool.append([event_pb2.Event(kind="a.b")])
    await site.put(docs.endpoint(), docs.exchange())
    site.start()
    await asyncio.sleep(0.5)
    assert await objects.find(site.kube, NAMESPACES, PLACE) is None
    assert await objects.find(site.kube, NAMESPACES, "kube-fate") is None
    position = await site.journal.spool.position()
    site.journal.spool._max_rows = 1000
    await site.journal.spool.ack(position.spool_id, position.last_seq)
    await site.until("exchange-1", "READY")


async def test_a_document_that_cannot_be_read_is_refused_by_its_field(site: Any, docs: Any) -> None:
    bad = docs.exchange()
    bad.participant.cluster_json = "{}"
    await site.put(bad)
    site.start()
    status = await site.until("exchange-1", "REFUSED")
    assert "participant.cluster_json.name" in status.message


async def test_every_loop_tells_that_it_lives(site: Any, docs: Any) -> None:
    await ready(site, docs)
    names = set(site.loop_health.records)
    assert {"resolve", "reconcile.exchange-1", "reconcile.endpoint-1"} <= names
    assert any(name.startswith("watch.pods") for name in names)
    assert site.loop_health.stalled() == []
    await site.put(docs.exchange(2, absent=True))
    await site.until("exchange-1", "GONE", generation=2)
    await site.journal.documents.forget(["exchange-1"])
    await until(lambda: not any("exchange" in name for name in site.loop_health.records))
