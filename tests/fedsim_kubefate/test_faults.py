from __future__ import annotations

import aiohttp
import pytest
from tests.contract.kubefate.client import archive_of, exchange_spec


def exchange(**changes):
    return exchange_spec("site", {9999: "10.0.0.9"}, **changes)


async def test_a_job_ordered_to_hang_stays_running_until_its_limit(bench):
    bench.service.faults.set("job-hang", "site")
    job = await bench.client.finish("POST", exchange())
    assert job["status"] == "Failed"
    assert all(sub["Status"] == "Success" for sub in job["sub_jobs"].values())


async def test_an_install_ordered_to_fail_fails_and_is_cleaned_up(bench):
    bench.service.faults.set("job-fails", "site")
    job = await bench.client.finish("POST", exchange())
    assert job["status"] == "Failed"
    await bench.states_of(job["uuid"], "helm install error, install was ordered to fail")
    assert bench.api.names("secrets", "site") == ["pulsar-cert", "traffic-server-cert"]
    bench.service.faults.clear("job-fails")
    assert (await bench.client.finish("POST", exchange()))["status"] == "Success"


async def test_a_restart_is_ordered_for_the_next_job_and_kills_tokens(bench):
    bench.service.faults.set("restart", "1")
    uuid = (await bench.client.submit("POST", exchange())).data["uuid"]
    await bench.until(lambda: not bench.service.faults.is_on("restart"))
    assert (await bench.client.call("GET", f"/v1/job/{uuid}")).status == 401
    await bench.login()
    job = await bench.client.job(uuid)
    assert (job["status"], job["states"][-1]) == ("Running", "helm install Success")


@pytest.mark.parametrize("is_wrong", [True, False])
async def test_a_failed_update_goes_back_one_revision_too_far_unless_that_is_switched_off(
    bench, is_wrong
):
    await bench.client.finish("POST", exchange_spec("site", {1001: "10.0.0.1"}))
    two = exchange_spec("site", {1001: "10.0.0.1", 1002: "10.0.0.2"})
    assert (await bench.client.finish("PUT", two))["status"] == "Success"
    if not is_wrong:
        bench.service.faults.clear("wrong-rollback")
    bench.service.faults.set("upgrade-fails", "site")
    job = await bench.client.finish("PUT", exchange_spec("site", {}))
    assert job["status"] == "Rollback"
    sni = bench.api.get("configmaps", "site", "traffic-server-sni")["data"]["sni.yaml"]
    assert ("1002" in sni) is not is_wrong
    record = (await bench.client.clusters())[0]
    assert "1002" in record["values"]


async def test_a_token_is_refused_as_often_as_ordered(bench):
    bench.service.faults.set("refuse-token", "2")
    statuses = [(await bench.client.call("GET", "/v1/version/")).status for _ in range(3)]
    assert statuses == [401, 401, 200]


async def test_a_login_fails_as_often_as_ordered(bench):
    bench.service.faults.set("login-fails", "1")
    assert (await bench.client.login("admin", "admin")).status == 401
    assert (await bench.client.login("admin", "admin")).status == 200


async def test_waits_are_ordered_in_seconds(bench):
    before = bench.clock.now()
    bench.service.faults.set("slow-login", "1.25")
    bench.service.faults.set("http-latency", "2")
    await bench.login()
    assert (bench.clock.now() - before).total_seconds() == pytest.approx(3.25)


async def test_a_lost_stop_is_answered_and_has_no_effect(start):
    bench = await start(job_limit_s=1e6)
    bench.api.stuck.add("nginx")
    bench.service.faults.set("stop-lost", "site")
    uuid = (await bench.client.submit("POST", exchange())).data["uuid"]
    await bench.until_status(uuid, "Running")
    await bench.states_of(uuid, "checkout")
    path = f"/v1/job/{uuid}?jobStatus=stop"
    assert (await bench.client.call("PUT", path)).status == 200
    assert (await bench.client.job(uuid))["status"] == "Running"
    bench.service.faults.clear("stop-lost")
    await bench.client.call("PUT", path)
    await bench.states_of(uuid, "job stopped")


async def test_the_put_of_an_exchange_panics_as_in_the_builds_of_19(bench):
    await bench.client.finish("POST", exchange())
    bench.service.faults.set("panic-on-exchange-put")
    answer = await bench.client.submit("PUT", exchange(lcmRevision=2))
    assert (answer.status, answer.text) == (500, "")


async def test_another_operation_is_in_progress_once(bench):
    await bench.client.finish("POST", exchange())
    bench.service.faults.set("another-operation", "1")
    job = await bench.client.finish("PUT", exchange(lcmRevision=2))
    assert job["states"][0].endswith("another operation (install/upgrade/rollback) is in progress")
    job = await bench.client.finish("PUT", exchange(lcmRevision=2))
    assert job["status"] == "Success"


async def test_an_orphan_release_is_ordered_and_cover_frees_it(bench):
    bench.service.faults.set("orphan-release", "site")
    job = await bench.client.finish("POST", exchange())
    await bench.states_of(job["uuid"], "helm install error, cannot re-use a name")
    job = await bench.client.finish("POST", exchange(), cover=True)
    assert job["status"] == "Success"


async def test_uploaded_charts_are_lost_by_name(bench):
    await bench.client.upload(archive_of("fate", "v1.8.0"))
    bench.service.faults.set("chart-lost", "fate")
    assert (await bench.client.call("GET", "/v1/chart/")).data == []


async def test_the_database_is_lost_once_when_ordered(bench):
    await bench.client.finish("POST", exchange())
    bench.service.faults.set("database-lost")
    assert await bench.client.clusters() == []
    await bench.client.finish("POST", exchange(), cover=True)
    bench.service.faults.set("refuse-token", "1")
    await bench.client.call("GET", "/v1/version/")
    assert len(await bench.client.clusters()) == 1


async def test_errors_and_the_ingress_page_strike_before_anything_happens(bench):
    bench.service.faults.set("http-errors", "1")
    assert (await bench.client.submit("POST", exchange())).status == 500
    bench.service.faults.set("ingress-html", "1")
    answer = await bench.client.call("GET", "/v1/cluster/")
    assert answer.status == 503
    assert answer.text.startswith("<html>")
    assert await bench.client.clusters() == []


async def test_a_lost_reply_hides_a_job_that_runs(bench):
    bench.service.faults.set("reply-lost", "1")
    with pytest.raises(aiohttp.ClientError):
        await bench.client.submit("POST", exchange())
    jobs = (await bench.client.call("GET", "/v1/job/")).data
    assert [job["method"] for job in jobs] == ["ClusterInstall"]


async def test_the_admin_endpoint_orders(start):
    bench = await start(admin_port=0)
    url = bench.service.admin_url
    async with aiohttp.ClientSession() as session:
        async with session.put(f"{url}/faults/job-hang", data="fate-*") as answer:
            assert answer.status == 200
        async with session.put(f"{url}/faults/slow-image") as answer:
            assert answer.status == 400
        assert bench.service.faults.hits("job-hang", "fate-9999")
        async with session.delete(f"{url}/faults/job-hang") as answer:
            assert answer.status == 200
        assert not bench.service.faults.is_on("job-hang")


async def test_requests_are_counted_by_route(bench):
    await bench.client.call("GET", "/v1/job/one")
    await bench.client.call("GET", "/v1/job/two")
    await bench.client.call("GET", "/v1/jobs")
    counts = bench.service.requests
    assert counts["GET /v1/job/{uuid}"] == 2
    assert counts["other"] == 1
