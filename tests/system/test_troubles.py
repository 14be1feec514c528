"""Orders to misbehave for KubeFATE and Kubernetes: got over, or named and then got over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.federation import Federation
from tests.support.lifecycle import impatient_timing

from fedagent.kube.kinds import NAMESPACES, PODS
from fedagent.kube.objects import find, list_all
from fedagent.kubefate.records import Job
from fedagent.kubefate.releases import read_releases
from fedsim.faults import CATALOGUE, FaultName, Service

pytestmark = pytest.mark.asyncio(loop_scope="module")
Json = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    folder = tmp_path_factory.mktemp("troubles")
    timing = impatient_timing(unready_limit_s=1.0)
    async with Federation(folder, sites=("hq",), timing=timing) as fed:
        yield fed


@pytest_asyncio.fixture(loop_scope="module")
async def fed(standing: Federation) -> AsyncIterator[Federation]:
    """A site with nothing on it but its KubeFATE."""
    yield standing
    order(standing, "")
    names = [row["name"] for row in await standing.api.items("federations")]
    for name in names:
        await standing.remove(name)
    for name in names:
        await standing.wait_gone(name=name)


def order(fed: Federation, *texts: str) -> None:
    """Give orders to misbehave, and take back all others; an empty text only takes back."""
    place = fed.place("hq")
    for faults in (place.simulated.faults, place.service.value.faults):
        faults.clear_all()
        if any(kind.name is FaultName.WRONG_ROLLBACK for kind in faults.kinds()):
            faults.set(FaultName.WRONG_ROLLBACK)
    for text in filter(None, texts):
        name, _, argument = text.partition("=")
        is_kube = CATALOGUE[FaultName(name)].service is Service.KUBE
        faults = place.simulated.faults if is_kube else place.service.value.faults
        faults.set(name, argument)


def intent(fed: Federation, *parties: int) -> Json:
    return fed.intent(tuple((party, "hq") for party in parties))


async def installs(fed: Federation) -> list[Job]:
    """Return the installs that this site's KubeFATE ever accepted, oldest first."""
    if not await fed.api.items("endpoints"):
        return []
    jobs = await fed.places["hq"].jobs()
    return [job for job in jobs if job.method.value == "ClusterInstall"]


FAILING_A_JOB = {"api-errors=8", "restart=1"}
"""They may end the job itself: then the next attempt follows under the next number."""
PASSING = (
    "reply-lost=1",
    "reply-lost=3",
    "refuse-token=3",
    "login-fails=2",
    "slow-login=0.6",
    "http-errors=0.2",
    "http-latency=0.15",
    "ingress-html=4",
    "another-operation=1",
    "restart=1",
    "api-errors=8",
    "api-throttled=2",
    "conflicts=4",
    "watch-gone=5",
    "watch-cut=0.3",
    "exec-fails",
    "slow-image=1",
)


@pytest.mark.parametrize("fault", PASSING)
async def test_a_fault_that_passes_is_got_over(fed: Federation, fault: str) -> None:
    before = len(await installs(fed))
    order(fed, fault)
    if "login" in fault:
        fed.place("hq").service.value.restart()  # its tokens die
    await fed.apply(intent(fed))
    await fed.wait_ready()
    releases = await read_releases(fed.places["hq"].kube, "fate-exchange", "fate-exchange")
    *taken_up, last = [one.status for one in releases]
    assert last == "deployed"
    assert set(taken_up) <= {"superseded"}, "a later attempt takes up what an earlier one made"
    await fed.remove()
    await fed.wait_gone()
    order(fed, "")
    sent = [job.lcm_revision for job in (await installs(fed))[before:]]
    assert sent == [f"1.{attempt}" for attempt in range(1, len(sent) + 1)], "each number once"
    once = fault not in FAILING_A_JOB
    assert len(sent) <= (1 if once else 2)
    assert len(taken_up) <= (0 if once else 1)
    assert await find(fed.places["hq"].kube, NAMESPACES, "fate-exchange") is None


LASTING = (
    ("image-error=nginx", "ImagePullFailed"),
    ("crash=nginx", "CrashLoop"),
    ("unschedulable=nginx", "Unschedulable"),
    ("quota", "QuotaExceeded"),
    ("forbidden=create/namespaces", "PermissionMissing"),
    ("job-fails", "HelmFailed"),
    ("job-hang", "JobRunning"),
    ("login-fails=100000", "KubeFateRefused"),
    ("node-not-ready", "KubeFateUnavailable"),
    ("http-errors=100000", "KubeFateUnavailable"),
    ("forward-fails=kubefate", "KubeFateUnavailable"),
    ("never-ready=nginx", "NotBecomingReady"),
)


@pytest.mark.parametrize(("fault", "cause"), LASTING)
async def test_a_fault_that_lasts_is_named_and_got_over_once_it_ends(
    fed: Federation, fault: str, cause: str
) -> None:
    order(fed, fault)
    if fault.startswith("login-fails"):
        fed.place("hq").service.value.restart()  # its tokens die
    if fault.startswith("forward-fails"):
        await hang_up(fed)
    await fed.apply(intent(fed))

    async def is_named() -> bool:
        row = await fed.participant("exchange")
        codes = {row["reason"], *(finding["code"] for finding in row["findings"])}
        told = await fed.events(participant="credit/exchange")
        return cause in codes | {event["facts"].get("reason") for event in told}

    await fed.until(is_named, f"{fault} is named {cause}")
    order(fed, "")
    await fed.wait_ready()


async def hang_up(fed: Federation) -> None:
    """End the connections that the agent holds to its KubeFATE, through their forwards."""
    service = fed.place("hq").service
    await service.stop()
    await service.start()


async def test_a_volume_that_is_not_bound_is_named_and_got_over_once_it_is(fed: Federation) -> None:
    order(fed, "pvc-pending=mysql*")
    stored = {"persistence": True, "mysql": {"storageClass": "standard"}}
    stored |= {name: {"storageClass": "standard"} for name in ("python", "client")}
    party = {"id": 9999, "site": "hq", "values": stored}
    await fed.apply(fed.intent(()) | {"parties": [party]})

    async def is_named() -> bool:
        row = await fed.participant(9999)
        return "VolumePending" in {row["reason"], *(one["code"] for one in row["findings"])}

    await fed.until(is_named, "the volume is named")
    order(fed, "")
    await fed.wait_ready()


async def test_a_stop_that_is_lost_is_asked_again_until_the_newer_document_is_installed(
    fed: Federation,
) -> None:
    order(fed, "unschedulable=fate-exchange/nginx", "stop-lost")
    await fed.apply(intent(fed))
    await fed.until(lambda: has_finding(fed, "Unschedulable"), "the install cannot succeed")
    first = (await installs(fed))[-1]
    assert first.status.value == "Running"
    await change(fed)
    await fed.wait_phase("exchange", "Deploying", reason="JobReplaced")
    asked = fed.place("hq").requests.get("PUT /v1/job/{uuid}", 0)

    async def is_asked_again() -> bool:
        return fed.place("hq").requests.get("PUT /v1/job/{uuid}", 0) > asked

    await fed.until(is_asked_again, "the stop is asked again")
    order(fed, "unschedulable=fate-exchange/nginx")

    async def is_stopped() -> bool:
        return any(job.uuid == first.uuid and job.is_over for job in await installs(fed))

    await fed.until(is_stopped, "the job is stopped")
    order(fed, "")
    await fed.wait_ready()
    await check_tables(fed)


async def has_finding(fed: Federation, code: str) -> bool:
    row = await fed.participant("exchange")
    return code in {row["reason"], *(finding["code"] for finding in row["findings"])}


async def change(fed: Federation) -> None:
    """Have the exchange's tables change: a third party comes."""
    await fed.apply(intent(fed, 9999, 10000))
    await fed.wait_keys("exchange", 9999, 10000)


async def check_tables(fed: Federation) -> None:
    data = await fed.config_map("hq", "fate-exchange", "traffic-server-sni")
    assert "9999.credit" in data["sni.yaml"]
    assert "10000.credit" in data["sni.yaml"]


async def test_an_update_that_is_rolled_back_to_the_wrong_revision_is_put_right(
    fed: Federation,
) -> None:
    await fed.apply(intent(fed, 9999))
    await fed.wait_ready()
    order(fed, "upgrade-fails=fate-exchange")
    await change(fed)

    async def is_rolled_back() -> bool:
        async with fed.places["hq"].kubefate() as service:
            return any(job.status.value == "Rollback" for job in await service.jobs())

    await fed.until(is_rolled_back, "an update of the exchange is rolled back")
    order(fed, "")
    await fed.wait_ready()
    await check_tables(fed)


async def test_an_exchange_whose_put_panics_is_told_and_got_over(fed: Federation) -> None:
    await fed.apply(intent(fed, 9999))
    await fed.wait_ready()
    order(fed, "panic-on-exchange-put")
    tried = fed.place("hq").requests.get("PUT /v1/cluster", 0)
    await change(fed)

    async def is_tried() -> bool:
        row = await fed.participant("exchange")
        told = row["phase"] in {"Reconfiguring", "Failed"} and row["generation"] > 1
        return told and fed.place("hq").requests.get("PUT /v1/cluster", 0) >= tried + 2

    await fed.until(is_tried, "the exchange's update is tried in vain")
    order(fed, "")
    await fed.wait_ready()
    await check_tables(fed)


async def test_a_lost_database_loses_no_pod_and_no_route(fed: Federation) -> None:
    await fed.apply(intent(fed, 9999))
    await fed.wait_ready()
    place = fed.place("hq")
    before = await list_all(place.kube, PODS, namespace="fate-9999")
    place.service.value.lose_database()
    await change(fed)
    await fed.wait_ready()
    after = await list_all(place.kube, PODS, namespace="fate-9999")
    assert {pod["metadata"]["uid"] for pod in before} <= {pod["metadata"]["uid"] for pod in after}
    await check_tables(fed)
    async with place.kubefate() as service:
        names = {row.name for row in await service.clusters()}
    assert {"fate-exchange", "fate-10000"} <= names


async def test_lost_charts_are_found_again(fed: Federation) -> None:
    await fed.apply(intent(fed, 9999))
    await fed.wait_ready()
    order(fed, "chart-lost")
    await change(fed)
    await fed.wait_ready()
    await check_tables(fed)


async def test_a_removal_waits_while_kubefate_is_down_says_so_and_ends_by_itself(
    fed: Federation,
) -> None:
    await fed.apply(intent(fed, 9999))
    await fed.wait_ready()
    place = fed.place("hq")
    await place.service.stop()
    await fed.remove()
    await fed.wait_phase(9999, "Removing", reason="KubeFateUnavailable")
    row = await fed.participant(9999)
    assert "goes on by itself" in row["message"]
    await place.service.start()
    await fed.wait_gone()
    for namespace in ("fate-exchange", "fate-9999"):
        assert await find(place.kube, NAMESPACES, namespace) is None


async def test_an_uninstall_that_fails_leaves_nothing_in_the_end(fed: Federation) -> None:
    await fed.apply(intent(fed, 9999))
    await fed.wait_ready()
    order(fed, "uninstall-fails")
    await fed.remove()
    await fed.wait_gone()
    place = fed.place("hq")
    for namespace in ("fate-exchange", "fate-9999"):
        assert await find(place.kube, NAMESPACES, namespace) is None


async def test_an_orphan_release_is_cleared_away(fed: Federation) -> None:
    order(fed, "orphan-release=fate-exchange")
    await fed.apply(intent(fed))

    async def has_failed() -> bool:
        async with fed.places["hq"].kubefate() as service:
            return any("re-use a name" in job.error for job in await service.jobs())

    async def has_endpoint() -> bool:
        rows = await fed.api.items("endpoints")
        return bool(rows) and rows[0]["phase"] == "Ready"

    await fed.until(has_endpoint, "KubeFATE is Ready")
    await fed.until(has_failed, "an install fails because the name is taken")
    order(fed, "")
    await fed.wait_ready()


async def test_a_proxy_that_ignores_its_reload_is_restarted(fed: Federation) -> None:
    await fed.apply(intent(fed, 9999))
    await fed.wait_ready()
    order(fed, "reload-lost")
    await change(fed)
    await fed.wait_ready()
    probes = (await fed.participant("exchange"))["probes"]
    assert {row["state"] for row in probes} == {"Reachable"}
