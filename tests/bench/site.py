"""A federation on the real control plane: what we add to KubeFATE's own time.

Three clusters of real etcd, API server, controllers and scheduler, KWOK for the kubelet, the real
hub and agents, and the simulated KubeFATE with the real one's timing (jobs looked at each second).
Routes and tunnels are measured on a simulated cluster, whose exchange takes 3-7 s for a reload as
Traffic Server does.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.bench.marks import Missing
from tests.support.controlplane import Planes
from tests.support.federation import DOMAIN, NAME, Federation
from tests.support.kubetier import RealPlace, Service, real_places
from tests.support.place import simulated_place

from fedagent.kubefate.records import Job
from fedsim.kube import Delays

__all__ = ["Missing", "measure"]
WAYS = {"hq": Service.BY_URL, "alpha": Service.BY_URL, "beta": Service.BY_URL}
TEN = tuple((100 + number, ("alpha", "beta")[number % 2]) for number in range(10))
POLL_S = 0.1
"""Each look is a request of 10 ms at the hub, which shares its core with all that is measured."""
LIMIT_S = 120.0


async def measure(folder: Path) -> dict[str, float]:
    """Measure on both kinds of cluster, one after the other."""
    return {**await on_real_clusters(folder / "real"), **await on_the_data_plane(folder / "sim")}


async def on_real_clusters(folder: Path) -> dict[str, float]:
    """Deploy, add, add ten, remove."""
    planes = Planes()
    folder.mkdir()
    try:
        opener = real_places(planes, WAYS, time_scale=1.0)
        async with Federation(folder, open_place=opener) as federation:
            await _let_kubefate_answer(federation)
            return await _story(federation)
    except pytest.skip.Exception as skipped:
        raise Missing(str(skipped)) from skipped
    finally:
        planes.stop()


async def _let_kubefate_answer(federation: Federation) -> None:
    """Have the endpoints Ready before the clock runs: they are there once, for all parties."""
    warm = federation.intent(
        ((1, "alpha"), (2, "beta")), name="warm", domain="warm.example.org", exchange=None
    )
    warm["exchange"] = {"site": "hq", "namespace": "warm"}
    for site, namespace in (("hq", "warm"), ("alpha", "fate-1"), ("beta", "fate-2")):
        await _place(federation, site).allow_exec(namespace)
    await federation.apply(warm)
    await federation.wait_ready("warm")
    await federation.remove("warm")
    await _until(lambda: _is_without(federation, "warm"))


async def _story(federation: Federation) -> dict[str, float]:
    figures: dict[str, float] = {}
    spaces = {"hq": ["fate-exchange"], "alpha": ["fate-9999"], "beta": []}
    for party, site in TEN:
        spaces[site].append(f"fate-{party}")
    for site, namespaces in spaces.items():
        await _place(federation, site).allow_exec(*namespaces)

    took = await _timed(federation, (), lambda: _are_ready(federation, {"exchange"}))
    figures["exchange_s"] = took
    figures["exchange_overhead_s"] = took - await _job_s(federation, "hq", "fate-exchange")

    before = _requests(federation, "alpha")
    jobs_before = len(await _jobs(federation, "hq", "fate-exchange"))
    first = ((9999, "alpha"),)
    took = await _timed(federation, first, lambda: _are_ready(federation, {"exchange", "9999"}))
    figures["party_s"] = took
    updates = (await _jobs(federation, "hq", "fate-exchange"))[jobs_before:]
    own = await _job_s(federation, "alpha", "fate-9999") + sum(_seconds(job) for job in updates)
    figures["party_overhead_s"] = took - own
    figures["kubefate_requests_per_party"] = float(_requests(federation, "alpha") - before)

    everybody = (*first, *TEN)
    keys = {"exchange", *(str(party) for party, _ in everybody)}
    figures["ten_parties_s"] = await _timed(
        federation, everybody, lambda: _are_ready(federation, keys)
    )
    table = await _place(federation, "hq").text("fate-exchange", "traffic-server-sni", "sni.yaml")
    figures["ten_parties_routed"] = float(sum(f"{party}.{DOMAIN}" in table for party, _ in TEN))

    figures["party_removed_s"] = await _removal_s(federation, TEN)
    figures["party_and_namespace_removed_s"] = await _timed(
        federation, TEN[1:], lambda: _is_without(federation, NAME, str(TEN[0][0]))
    )
    return figures


async def _removal_s(federation: Federation, others: tuple[tuple[int, str], ...]) -> float:
    """Remove a party from a namespace that its site made and keeps.

    Kubernetes' own controller takes 5 s for any namespace, also an empty one: measured apart.
    """
    alpha = _place(federation, "alpha")
    await alpha.plane.api.create_namespace("kept")
    await alpha.allow_exec("kept")
    intent = federation.intent(others)
    intent["parties"].append({"id": 9998, "site": "alpha", "namespace": "kept"})
    await federation.apply(intent)
    await _until(lambda: _are_ready(federation, {"exchange", "9998"}))
    return await _timed(federation, others, lambda: _is_without(federation, NAME, "9998"))


def _place(federation: Federation, site: str) -> RealPlace:
    place = federation.places[site]
    if not isinstance(place, RealPlace):
        raise TypeError(f"{site} is no real cluster")
    return place


def _requests(federation: Federation, site: str) -> int:
    return sum(_place(federation, site).service.value.requests.values())


async def _jobs(federation: Federation, site: str, namespace: str) -> list[Job]:
    return [job for job in await _place(federation, site).jobs() if job.namespace == namespace]


async def _job_s(federation: Federation, site: str, namespace: str) -> float:
    """Seconds that KubeFATE itself took for the namespace's first job."""
    return _seconds((await _jobs(federation, site, namespace))[0])


def _seconds(job: Job) -> float:
    if job.start_time is None or job.end_time is None:
        return 0.0
    return (job.end_time - job.start_time) / timedelta(seconds=1)


async def _timed(
    federation: Federation,
    parties: tuple[tuple[int, str], ...],
    done: Callable[[], Awaitable[bool]],
) -> float:
    started = time.monotonic()
    await federation.apply(federation.intent(parties))
    await _until(done)
    return time.monotonic() - started


async def _until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not await done():
            await asyncio.sleep(POLL_S)


async def _are_ready(federation: Federation, keys: set[str]) -> bool:
    rows = await federation.participants()
    return set(rows) >= keys and all(rows[key]["phase"] == "Ready" for key in keys)


async def _is_without(federation: Federation, name: str, key: str | None = None) -> bool:
    names = {row["name"] for row in await federation.api.items("federations")}
    if key is None or name not in names:
        return name not in names
    return key not in await federation.participants(name)


async def on_the_data_plane(folder: Path) -> dict[str, float]:
    """Hold a tunnel through the exchange while a route is added."""
    folder.mkdir()
    opener = partial(simulated_place, kube_settings={"delays": Delays()})
    async with Federation(folder, open_place=opener) as federation:
        await federation.apply(federation.intent(((9999, "alpha"),)))
        await federation.wait_ready()
        exchange = await _ats(federation)
        roots = federation.running_hub.hub.authority.trust_bundle().roots_pem
        context = ssl.create_default_context(cadata=roots.decode())
        reader, writer = await _tunnel(exchange, 9999, context)
        both = ((9999, "alpha"), (10000, "beta"))
        await federation.apply(federation.intent(both))
        await _until(lambda: _has_address(federation, 10000))
        started = time.monotonic()
        await _until(lambda: _is_served(exchange, 10000, context))
        served = time.monotonic() - started
        cut = 0 if await _echoes(reader, writer) else 1
        writer.close()
    return {"route_serving_s": served, "tunnels_cut": float(cut)}


async def _ats(federation: Federation) -> tuple[str, int]:
    found = await federation.participant("exchange")
    place = next(address for address in found["addresses"] if address["role"] == "ats")
    return place["ip"], place["port"]


async def _has_address(federation: Federation, party: int) -> bool:
    rows = await federation.participants()
    if str(party) not in rows:
        return False
    found: dict[str, Any] = await federation.participant(party)
    return any(address["role"] == "pulsar" for address in found["addresses"])


async def _tunnel(
    exchange: tuple[str, int], party: int, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(5):
        return await asyncio.open_connection(
            *exchange, ssl=context, server_hostname=f"{party}.{DOMAIN}"
        )


async def _is_served(exchange: tuple[str, int], party: int, context: ssl.SSLContext) -> bool:
    try:
        _, writer = await _tunnel(exchange, party, context)
    except OSError:
        return False
    writer.close()
    return True


async def _echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    try:
        async with asyncio.timeout(3):
            writer.write(b"still there?\n")
            await writer.drain()
            return bool(await reader.readline())
    except (OSError, TimeoutError):
        return False
