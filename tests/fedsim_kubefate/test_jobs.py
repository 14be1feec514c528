from __future__ import annotations

from dataclasses import replace

from tests.contract.kubefate.client import exchange_spec

from fedsim.kubefate.helm_records import ReleaseStatus, _decode, _encode

ZERO = "0001-01-01T00:00:00Z"


def exchange(**changes):
    return exchange_spec("site", {9999: "10.0.0.9"}, **changes)


async def test_a_secret_that_is_missing_holds_an_install_until_the_limit_and_then_all_is_gone(
    bench,
):
    del bench.api.objects["secrets", "site", "traffic-server-cert"]
    job = await bench.client.finish("POST", exchange())
    assert job["status"] == "Failed"
    states = await bench.states_of(job["uuid"], "checkout Cluster status timeOut!")
    assert states[3].startswith("checkout Cluster status [3")
    assert job["sub_jobs"]["traffic-server"]["ModulesStatus"] == "Progressing"
    assert job["sub_jobs"]["nginx"]["ModulesStatus"] == "Available"
    assert job["end_time"] == ZERO
    await bench.until(lambda: bench.api.names("secrets", "site") == ["pulsar-cert"])
    assert bench.api.names("deployments", "site") == []
    assert await bench.client.clusters() == []


async def test_a_late_update_is_rolled_back(bench):
    await bench.client.finish("POST", exchange())
    bench.api.set_available("site", "nginx", is_available=False)
    job = await bench.client.finish("PUT", exchange(lcmRevision=2))
    assert job["status"] == "Rollback"
    assert job["states"] == [
        "Cluster update Success",
        "Checkout Cluster status timeOut!",
        "Cluster run rollback Success",
    ]


async def test_a_restart_leaves_jobs_running_and_clusters_creating_for_ever(start):
    bench = await start(job_limit_s=1e6)
    bench.api.stuck.add("nginx")
    uuid = (await bench.client.submit("POST", exchange())).data["uuid"]
    await bench.states_of(uuid, "checkout Cluster status [")
    old = bench.client.token
    bench.service.restart()
    refused = await bench.client.call("GET", "/v1/version/", token=old)
    assert (refused.status, refused.json["message"]) == (401, "signature is invalid")
    await bench.login()
    bench.api.set_available("site", "nginx", is_available=True)
    before = await bench.client.job(uuid)
    bench.clock.move(minutes=20)
    assert await bench.client.job(uuid) == before
    assert before["status"] == "Running"
    assert (await bench.client.clusters())[0]["status"] == "Creating"
    job = await bench.client.finish("PUT", exchange(lcmRevision=2))
    assert job["status"] == "Success"
    assert (await bench.client.clusters())[0]["status"] == "Running"


async def test_a_lost_database_leaves_a_release_that_the_next_install_destroys(bench):
    await bench.client.finish("POST", exchange())
    bench.service.lose_database()
    assert await bench.client.clusters(deleted=True) == []
    assert bench.api.get("deployments", "site", "nginx")
    job = await bench.client.finish("POST", exchange())
    states = await bench.states_of(job["uuid"], "helm install error, ")
    assert states[-1] == "helm install error, cannot re-use a name that is still in use"
    assert bench.api.names("deployments", "site") == []


async def test_cover_frees_the_name_of_an_orphan(bench):
    await bench.client.finish("POST", exchange())
    bench.service.lose_database()
    job = await bench.client.finish("POST", exchange(), cover=True)
    assert job["status"] == "Success"
    assert "overwrite current installation" in job["states"]


async def test_the_status_is_recomputed_by_a_single_get_alone(bench):
    await bench.client.finish("POST", exchange())
    uuid = (await bench.client.clusters())[0]["uuid"]
    bench.api.set_available("site", "nginx", is_available=False)
    assert (await bench.client.clusters())[0]["status"] == "Running"
    record = (await bench.client.call("GET", f"/v1/cluster/{uuid}")).data
    assert record["status"] == "Unavailable"
    assert record["Info"]["status"]["deployments"]["nginx"] == "Progressing"
    assert (await bench.client.clusters())[0]["status"] == "Unavailable"
    bench.api.set_available("site", "nginx", is_available=True)
    record = (await bench.client.call("GET", f"/v1/cluster/{uuid}")).data
    assert record["status"] == "Running"


async def test_a_deleted_job_of_an_install_ends_it_and_leaves_the_cluster_creating(start):
    bench = await start(job_limit_s=1e6)
    bench.api.stuck.add("nginx")
    uuid = (await bench.client.submit("POST", exchange())).data["uuid"]
    await bench.states_of(uuid, "checkout Cluster status [")
    await bench.client.call("DELETE", f"/v1/job/{uuid}")
    bench.api.set_available("site", "nginx", is_available=True)
    bench.clock.move(minutes=20)
    assert (await bench.client.clusters())[0]["status"] == "Creating"
    assert bench.api.names("deployments", "site") == ["nginx", "traffic-server"]


async def test_a_cluster_deleted_under_its_install_fails_the_job(start):
    bench = await start(job_limit_s=1e6)
    bench.api.stuck.add("nginx")
    uuid = (await bench.client.submit("POST", exchange())).data["uuid"]
    await bench.states_of(uuid, "checkout Cluster status [")
    cluster = (await bench.client.clusters())[0]["uuid"]
    await bench.client.call("DELETE", f"/v1/cluster/{cluster}")
    await bench.states_of(uuid, "Cluster delete")
    assert (await bench.client.job(uuid))["status"] == "Failed"


async def test_a_failed_uninstall_drops_the_record_and_leaves_the_release(start):
    bench = await start(faults=("uninstall-fails=site",))
    await bench.client.finish("POST", exchange())
    uuid = (await bench.client.clusters())[0]["uuid"]
    answer = await bench.client.call("DELETE", f"/v1/cluster/{uuid}")
    job = (await bench.client.follow(answer.data["uuid"]))[-1]
    assert job["status"] == "Failed"
    assert await bench.client.clusters() == []
    assert "sh.helm.release.v1.site.v1" in bench.api.names("secrets", "site")


async def test_an_update_under_a_pending_release_is_refused_by_helm_and_rolled_back(bench):
    await bench.client.finish("POST", exchange())
    secret = bench.api.get("secrets", "site", "sh.helm.release.v1.site.v1")
    pending = await _pending_copy(bench, secret)
    assert pending
    job = await bench.client.finish("PUT", exchange(lcmRevision=2))
    busy = "another operation (install/upgrade/rollback) is in progress"
    assert job["states"][0] == f"UPGRADE FAILED: {busy}"


async def _pending_copy(bench, secret):
    """Leave a revision behind as a process does that dies inside Helm."""
    revision = replace(_decode(secret), version=2, status=ReleaseStatus.PENDING_UPGRADE)
    body = _encode(revision)
    metadata = body.pop("metadata")
    return bench.api.add("secrets", "site", metadata.pop("name"), metadata=metadata, **body)


async def test_a_process_killed_inside_helm_leaves_what_a_deletion_alone_mends(start):
    bench = await start(helm_delay_s=1)
    bench.clock.hold()
    uuid = (await bench.client.submit("POST", exchange())).data["uuid"]
    release = "sh.helm.release.v1.site.v1"
    await bench.until(lambda: release in bench.api.names("secrets", "site"))
    assert (await bench.client.job(uuid))["status"] == "Pending"
    bench.service.restart()
    await bench.login()
    bench.clock.release()
    labels = bench.api.get("secrets", "site", release)["metadata"]["labels"]
    assert labels["status"] == "pending-install"
    job = await bench.client.finish("PUT", exchange(lcmRevision=2))
    assert job["states"] == [
        "UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress",
        "UPGRADE FAILED: release: not found",
    ]
    cluster = (await bench.client.clusters())[0]["uuid"]
    answer = await bench.client.call("DELETE", f"/v1/cluster/{cluster}")
    assert (await bench.client.follow(answer.data["uuid"]))[-1]["status"] == "Success"
    assert (await bench.client.finish("POST", exchange()))["status"] == "Success"


async def test_a_deletion_during_an_update_is_undone_by_the_update(start):
    bench = await start(helm_delay_s=1)
    await bench.client.finish("POST", exchange())
    cluster = (await bench.client.clusters())[0]["uuid"]
    bench.clock.hold()
    update = (await bench.client.submit("PUT", exchange(lcmRevision=2))).data["uuid"]
    await bench.until(lambda: bench.clock.sleeper_count == 1)
    answer = await bench.client.call("DELETE", f"/v1/cluster/{cluster}")
    await bench.until(lambda: bench.clock.sleeper_count == 2)
    bench.clock.wake_last()
    assert (await bench.client.follow(answer.data["uuid"]))[-1]["status"] == "Success"
    assert bench.api.names("deployments", "site") == []
    bench.clock.release()
    await bench.states_of(update, "Cluster update Success")
    assert bench.api.names("deployments", "site") == ["nginx", "traffic-server"]
    assert (await bench.client.job(update))["status"] == "Running"


async def test_of_two_updates_at_once_the_loser_is_rolled_back(start):
    bench = await start(helm_delay_s=1)
    await bench.client.finish("POST", exchange())
    bench.clock.hold()
    first = (await bench.client.submit("PUT", exchange(lcmRevision=2))).data["uuid"]
    release = "sh.helm.release.v1.site.v2"
    await bench.until(lambda: release in bench.api.names("secrets", "site"))
    second = (await bench.client.submit("PUT", exchange(lcmRevision=3))).data["uuid"]
    states = await bench.states_of(second, "UPGRADE FAILED: ")
    assert states[0].endswith("another operation (install/upgrade/rollback) is in progress")
    bench.clock.release()
    assert (await bench.client.follow(first))[-1]["status"] == "Success"
    assert (await bench.client.follow(second))[-1]["status"] in ("Rollback", "Failed")


async def test_an_object_of_somebody_else_blocks_an_install(bench):
    bench.api.add("configmaps", "site", "nginx-config")
    job = await bench.client.finish("POST", exchange())
    states = await bench.states_of(job["uuid"], "helm install error, ")
    assert 'ConfigMap "nginx-config" in namespace "site" exists and cannot' in states[-1]
    assert bench.api.get("configmaps", "site", "nginx-config")


async def test_an_update_drops_what_the_new_manifest_lacks(bench):
    await bench.client.finish("POST", exchange())
    await bench.client.finish("PUT", exchange(modules=["trafficServer"]))
    assert bench.api.names("deployments", "site") == ["traffic-server"]
    assert bench.api.names("services", "site") == ["traffic-server"]


async def test_an_update_of_a_table_writes_that_table_and_nothing_else(bench):
    await bench.client.finish("POST", exchange())
    bench.api.writes.clear()
    spec = exchange_spec("site", {9999: "10.0.0.9", 10000: "10.0.0.10"})
    await bench.client.finish("PUT", spec)
    written = [write for write in bench.api.writes if write[1] != "secrets"]
    assert sorted(written) == [
        ("PUT", "configmaps", "nginx-config"),
        ("PUT", "configmaps", "traffic-server-sni"),
    ]


async def test_records_outlive_the_process(start, tmp_path):
    path = tmp_path / "state.db"
    first = await start(state=path)
    await first.client.upload(b"")
    job = await first.client.finish("POST", exchange())
    record = (await first.client.clusters())[0]
    second = await start(state=path)
    assert (await second.client.clusters())[0] == record
    assert await second.client.job(job["uuid"]) == job
    after = await second.client.finish("PUT", exchange(lcmRevision=2))
    assert after["ID"] == job["ID"] + 1


async def test_a_lost_database_stays_lost(start, tmp_path):
    path = tmp_path / "state.db"
    first = await start(state=path)
    await first.client.finish("POST", exchange())
    first.service.lose_database()
    second = await start(state=path)
    assert await second.client.clusters(deleted=True) == []
