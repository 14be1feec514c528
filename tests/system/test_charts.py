"""Charts from the hub: a site that reaches no repository gets the archives by their digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.charts import VERSION, OwnCharts
from tests.support.federation import Federation
from tests.support.lifecycle import impatient_timing
from tests.support.place import simulated_place

from fedhub.services import charts as chart_service

PARTIES = ((9999, "hq"), (10000, "hq"))


async def test_a_site_without_a_repository_gets_its_charts_from_the_hub_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    charts = OwnCharts.in_folder(tmp_path / "catalogue")
    fetched: Counter[str] = Counter()
    original = chart_service.chunks

    async def counted(*given: object) -> AsyncIterator[tuple[int, bytes, int]]:
        fetched[str(given[1])] += 1
        async for chunk in original(*given):  # type: ignore[arg-type] # passed on as it came
            yield chunk

    monkeypatch.setattr(chart_service, "chunks", counted)
    async with Federation(
        tmp_path,
        timing=impatient_timing(),
        sites=("hq",),
        open_place=lambda name, at: simulated_place(name, at, service_settings={"offline": True}),
        hub_settings={"catalogue_dirs": (charts.catalogue,)},
    ) as fed:
        await fed.apply(fed.intent(PARTIES))

        async def is_named() -> bool:
            told = await fed.events(participant="credit/exchange")
            row = await fed.participant("exchange")
            return "ChartMissing" in {row["reason"], *(one["facts"].get("reason") for one in told)}

        await fed.until(is_named, "the missing chart is named")
        await charts.upload(fed.api)
        await fed.wait_ready()
        assert fetched == dict.fromkeys(charts.archives, 1), "once for all that use it"
        async with fed.places["hq"].kubefate() as service:
            held = {(row.name, row.version) for row in await service.charts()}
        assert held == {("fate-exchange", VERSION), ("fate", VERSION)}
        await fed.check_events()
