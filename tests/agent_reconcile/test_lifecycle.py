"""The reconciler on a simulated site: from a document to a running participant and back."""

from __future__ import annotations

from typing import Any

from fedagent.kube import objects
from fedagent.kube.kinds import NAMESPACES
from fedproto.agent.v1 import status_pb2


async def test_an_exchange_is_deployed_and_removed_to_nothing(site: Any, docs: Any) -> None:
    await site.put(docs.endpoint(), docs.exchange())
    site.start()
    status = await site.until("exchange-1", "READY")
    assert [step.name for step in status.steps] == [
        "namespace",
        "certificates",
        "chart",
        "install",
        "components",
        "addresses",
        "routes",
        "proxies",
    ]
    assert {step.state for step in status.steps} == {status_pb2.STEP_STATE_DONE}
    assert {address.role for address in status.addresses} == {"ats", "nginx"}
    assert all(table.matches for table in status.tables)
    assert site.service.requests["POST /v1/cluster"] == 1
    assert site.service.requests["POST /v1/user/login"] == 1
    assert sum(site.service.requests.values()) <= 10
    await site.put(docs.exchange(2, absent=True))
    await site.until("exchange-1", "GONE", generation=2)
    assert await objects.find(site.kube, NAMESPACES, "fate-exchange") is None


async def test_a_party_joins_and_its_route_is_proven(site: Any, docs: Any) -> None:
    await site.put(docs.endpoint(), docs.exchange())
    site.start()
    before = await site.until("exchange-1", "READY")
    at = {item.role: item for item in before.addresses}
    ats, nginx = ("127.0.0.1", at["ats"].port), ("127.0.0.1", at["nginx"].port)
    await site.put(docs.party(9999, ats=ats, nginx=nginx))
    joined = await site.until("party-9999", "READY")
    own = {item.role: item for item in joined.addresses}
    route = (9999, "127.0.0.1", own["pulsar"].port, "127.0.0.1", own["nginx"].port)
    site.hub.names["exchange-1/traffic-server-cert"] = ("proxy.credit.example.com",)
    await site.put(docs.exchange(2, [route]))
    status = await site.until("exchange-1", "READY", generation=2)
    assert [(probe.key, probe.state) for probe in status.probes] == [
        ("9999.credit.example.com", status_pb2.PROBE_STATE_REACHABLE)
    ]
