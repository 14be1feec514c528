"""What the hub counts, and that the page for operators lists it all."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from tests.support.hub import federation, party
from tests.support.patience import until

import fedhub
from fedca.keys import make_private_key

DOCS = Path(fedhub.__file__).parents[2] / "docs" / "operations.md"
ROW = re.compile(r"^\| `(fedhub_\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)


def documented():
    return {
        name: (kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(DOCS.read_text())
    }


def registered(hub):
    found = {}
    for metric in hub.instruments.registry.collect():
        name = metric.name + "_total" if metric.type == "counter" else metric.name
        labels = {label for sample in metric.samples for label in sample.labels} - {"le"}
        found[name] = (metric.type, frozenset(labels))
    return found


async def scrape(lab):
    async with lab.rest.session.get(f"{lab.place.url}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }


async def test_the_page_for_operators_lists_every_metric_and_no_other(lab):
    agent = await lab.connect("alpha")
    await agent.live.beat()
    await lab.rest.get("/api/v1/sites")
    lab.hub.instruments.renewals.labels("hub")
    assert documented() == registered(lab.hub)


async def test_an_apply_shows_in_requests_frames_plans_and_propagation(lab):
    hq = await lab.connect("hq")
    alpha = await lab.connect("alpha")
    await hq.live.beat()
    await alpha.live.beat()
    await lab.rest.apply(federation([party(9999, "alpha")]))
    await hq.live.holds(lambda held: len(held) == 2)
    await lab.rest.call("GET", "/no/such/page")
    figures = await until(lambda: scrape(lab))
    route = "/api/v1/federations/{name}"
    request = (("method", "PUT"), ("route", route), ("status", "2xx"))
    assert figures["fedhub_rest_request_seconds_count", request] == 1
    unmatched = (("method", "unmatched"), ("route", "unmatched"), ("status", "4xx"))
    assert figures["fedhub_rest_request_seconds_count", unmatched] == 1
    assert figures["fedhub_replan_seconds_count", ()] >= 1
    assert figures["fedhub_document_propagation_seconds_count", ()] >= 2
    assert figures["fedhub_frames_total", (("direction", "in"), ("kind", "heartbeat"))] == 2
    assert figures["fedhub_frames_total", (("direction", "out"), ("kind", "documents"))] >= 2
    for mode in ("read", "write"):
        assert figures["fedhub_database_wait_seconds_count", (("mode", mode),)] > 0


async def test_a_renewed_certificate_is_counted(lab):
    agent = await lab.connect("alpha")
    await agent.renew(make_private_key())
    figures = await scrape(lab)
    assert figures["fedhub_certificate_renewals_total", (("owner", "agent"),)] == 1
