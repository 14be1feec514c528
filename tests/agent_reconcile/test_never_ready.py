"""A container that runs and never becomes ready is named, with what its probe said last."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.support.patience import until

from fedagent.kube import objects
from fedagent.kube.kinds import EVENTS, PODS

PLACE = "fate-exchange"


async def nginx_pod(site: Any) -> str:
    found = await objects.list_all(site.kube, PODS, namespace=PLACE)
    names = [pod["metadata"]["name"] for pod in found]
    return next(name for name in names if name.startswith("nginx"))


async def test_a_container_that_never_becomes_ready_is_the_reason(site: Any, docs: Any) -> None:
    await site.put(docs.endpoint(), docs.exchange())
    site.start()
    await site.until("exchange-1", "READY")
    pod = await nginx_pod(site)
    site.simulated.faults.set("never-ready", "nginx")
    status = await site.until("exchange-1", "DEGRADED")
    assert status.reason == "ComponentsDown"

    async def unhealthy() -> list[Any]:
        events = await objects.list_all(site.kube, EVENTS, namespace=PLACE)
        return [event for event in events if event["reason"] == "Unhealthy"]

    await until(unhealthy)

    site.clock.ahead = timedelta(minutes=4)
    status = await site.until("exchange-1", lambda status: status.reason == "NotBecomingReady")

    (finding,) = [item for item in status.findings if item.code == "NotBecomingReady"]
    assert finding.object == f"Pod/{pod}"
    assert "nginx" in finding.message
    assert "4 min" in finding.message
    assert "Readiness probe failed" in finding.message
    assert f"kubectl logs -n {PLACE} {pod} -c nginx" in finding.hint
    assert status.message == finding.message

    site.simulated.faults.clear("never-ready")
    status = await site.until("exchange-1", "READY")
    assert not status.findings
