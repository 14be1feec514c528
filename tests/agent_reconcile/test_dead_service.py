"""A KubeFATE that dies shows at its endpoint at once, and that it is back as well."""

from __future__ import annotations

from typing import Any

from tests.support.patience import until

from fedagent.domain.timing import PlanTiming
from fedagent.kube import objects
from fedagent.kube.kinds import DEPLOYMENTS
from fedagent.kubefate.timing import KubeFateTiming
from fedagent.reconcile.timing import ReconcileTiming
from fedproto.agent.v1 import status_pb2

ROUTE = (9999, "127.0.0.1", 30109, "127.0.0.1", 30103)


async def ready(site: Any, docs: Any) -> None:
    await site.put(docs.endpoint(), docs.exchange())
    site.start()
    await site.until("exchange-1", "READY")
    await site.until("endpoint-1", "READY")


async def scale(site: Any, replicas: int) -> None:
    change = {"spec": {"replicas": replicas}}
    await objects.patch(site.kube, DEPLOYMENTS, "kubefate", change, namespace="kube-fate")


def test_a_ready_service_is_looked_at_often_enough() -> None:
    timing = KubeFateTiming()
    assert PlanTiming().recheck_service_s + timing.evidence_s + timing.ask_limit_s < 15.0


async def test_a_service_without_a_pod_is_degraded_and_ready_again(site: Any, docs: Any) -> None:
    site.plan_timing = PlanTiming(recheck_service_s=0.5)
    await ready(site, docs)
    await scale(site, 0)
    status = await site.until("endpoint-1", "DEGRADED")
    assert status.reason == "KubeFateUnavailable"
    assert "no ready pod" in status.message
    await scale(site, 1)
    await site.until("endpoint-1", "READY")


async def test_a_silent_service_is_degraded_with_the_cause_and_ready_again(
    site: Any, docs: Any
) -> None:
    site.plan_timing = PlanTiming(recheck_service_s=0.5)
    site.access.timing = KubeFateTiming(evidence_s=0.0, ask_limit_s=0.3)
    await ready(site, docs)
    site.service.faults.set("http-latency", "60")
    status = await site.until("endpoint-1", "DEGRADED")
    assert "no answer within 0.3 s" in status.message
    site.service.faults.clear("http-latency")
    await site.until("endpoint-1", "READY")


async def test_a_participant_that_gets_no_answer_has_the_endpoint_looked_at_now(
    site: Any, docs: Any
) -> None:
    site.plan_timing = PlanTiming(recheck_service_s=3600.0)
    site.access.timing = KubeFateTiming(ask_limit_s=0.3)
    site.timing = ReconcileTiming(record_limit_s=0.3)
    await ready(site, docs)
    site.service.faults.set("http-latency", "60")
    await site.put(docs.exchange(2, [ROUTE]))
    await site.until("endpoint-1", "DEGRADED")
    site.service.faults.clear("http-latency")
    await site.until("endpoint-1", "READY")
    await site.until("exchange-1", "READY", generation=2)


async def test_a_service_in_use_is_not_asked_for_its_health_beside(site: Any, docs: Any) -> None:
    site.plan_timing = PlanTiming(recheck_service_s=0.05)
    site.access.timing = KubeFateTiming(evidence_s=60.0)
    await ready(site, docs)
    asked = site.service.requests["GET /v1/version/"]
    await site.put(docs.exchange(2, [ROUTE]))
    await site.until("exchange-1", "READY", generation=2)
    assert site.service.requests["GET /v1/version/"] == asked


async def test_an_idle_service_is_asked(site: Any, docs: Any) -> None:
    site.plan_timing = PlanTiming(recheck_service_s=0.1)
    site.access.timing = KubeFateTiming(evidence_s=0.05)
    await ready(site, docs)
    asked = site.service.requests["GET /v1/version/"]
    await until(lambda: site.service.requests["GET /v1/version/"] >= asked + 2)
    status = await site.journal.statuses.get("endpoint-1")
    assert status.phase == status_pb2.PHASE_READY
