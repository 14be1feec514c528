from __future__ import annotations

from dataclasses import replace

import pytest

from fedsim.kube import Delays, SimulatedKube

BASE = "/api/v1/namespaces/demo"
DEPLOYMENTS = "/apis/apps/v1/namespaces/demo/deployments"


@pytest.fixture(autouse=True)
async def _space(client) -> None:
    await client.namespace("demo")


def condition(obj, name):
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((each for each in found if each["type"] == name), {"status": "?"})


def available(obj):
    return condition(obj, "Available")["status"] == "True"


async def events(client, reason, **query):
    def has(found):
        return [each for each in found["items"] if each["reason"] == reason]

    return has(await client.until(f"{BASE}/events", has, **query))


async def pod_of(client, name):
    found = await client.until(
        f"{BASE}/pods", lambda body: body["items"], labelSelector=f"fateMoudle={name}"
    )
    return found["items"][0]


async def test_a_deployment_becomes_available_through_its_pods(client, deployment) -> None:
    await client.create(DEPLOYMENTS, deployment(replicas=2))
    live = await client.until(f"{DEPLOYMENTS}/web", available)
    live = await client.until(
        f"{DEPLOYMENTS}/web", lambda obj: obj["status"].get("readyReplicas") == 2
    )
    status = live["status"]
    assert status["observedGeneration"] == live["metadata"]["generation"]
    assert status["updatedReplicas"] == status["availableReplicas"] == 2
    assert condition(live, "Progressing")["reason"] == "NewReplicaSetAvailable"
    pods = (await client.get(f"{BASE}/pods", fieldSelector="status.phase=Running"))["items"]
    assert len(pods) == 2
    assert all(condition(pod, "Ready")["status"] == "True" for pod in pods)
    assert pods[0]["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"
    named = f"involvedObject.name={pods[0]['metadata']['name']}"
    told = (await client.get(f"{BASE}/events", fieldSelector=named))["items"]
    reasons = {each["reason"] for each in told}
    assert {"Scheduled", "Pulling", "Pulled", "Created", "Started"} <= reasons


async def test_a_missing_secret_holds_the_pod_until_it_appears(client, deployment) -> None:
    mounted = deployment(
        "pulsar",
        container={"volumeMounts": [{"name": "certs", "mountPath": "/opt/pulsar/certs"}]},
        volumes=[{"name": "certs", "secret": {"secretName": "pulsar-cert"}}],
    )
    await client.create(DEPLOYMENTS, mounted)
    (event,) = await events(client, "FailedMount")
    assert event["message"] == (
        'MountVolume.SetUp failed for volume "certs" : secret "pulsar-cert" not found'
    )
    assert event["type"] == "Warning"
    pod = await pod_of(client, "pulsar")
    waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["reason"] == "ContainerCreating"
    assert not available(await client.get(f"{DEPLOYMENTS}/pulsar"))
    await client.create(f"{BASE}/secrets", {"metadata": {"name": "pulsar-cert"}})
    await client.until(f"{DEPLOYMENTS}/pulsar", available)


async def test_a_missing_key_of_the_environment_is_a_config_error(client, deployment) -> None:
    source = {"secretKeyRef": {"name": "db", "key": "password"}}
    env = [{"name": "PASSWORD", "valueFrom": source}]
    await client.create(DEPLOYMENTS, deployment(container={"env": env}))
    failed = await events(client, "Failed")
    assert failed[0]["message"] == 'Error: secret "db" not found'
    secret = {"metadata": {"name": "db"}, "stringData": {"password": "x"}}
    await client.create(f"{BASE}/secrets", secret)
    await client.until(f"{DEPLOYMENTS}/web", available)


async def test_a_deleted_pod_comes_again(client, deployment) -> None:
    await client.create(DEPLOYMENTS, deployment())
    await client.until(f"{DEPLOYMENTS}/web", available)
    first = await pod_of(client, "web")
    answer = await client.call("DELETE", f"{BASE}/pods/{first['metadata']['name']}")
    assert answer.body["kind"] == "Pod"

    def is_other(found):
        return [
            pod
            for pod in found["items"]
            if pod["metadata"]["uid"] != first["metadata"]["uid"]
            and condition(pod, "Ready")["status"] == "True"
        ]

    await client.until(f"{BASE}/pods", is_other)


async def test_a_changed_template_replaces_the_pods(client, deployment) -> None:
    await client.create(DEPLOYMENTS, deployment())
    await client.until(f"{DEPLOYMENTS}/web", available)
    patch = {"spec": {"template": {"metadata": {"annotations": {"restartedAt": "now"}}}}}
    await client.send("PATCH", f"{DEPLOYMENTS}/web", patch, "application/merge-patch+json")

    def is_rolled(obj):
        return (
            obj["status"].get("observedGeneration") == obj["metadata"]["generation"]
            and condition(obj, "Progressing")["reason"] == "NewReplicaSetAvailable"
            and obj["status"].get("replicas") == 1
        )

    await client.until(f"{DEPLOYMENTS}/web", is_rolled)
    pods = (await client.get(f"{BASE}/pods"))["items"]
    assert [pod["metadata"]["annotations"] for pod in pods] == [{"restartedAt": "now"}]


async def test_a_deleted_deployment_takes_its_pods_along(client, deployment) -> None:
    await client.create(DEPLOYMENTS, deployment())
    await client.until(f"{DEPLOYMENTS}/web", available)
    await client.call("DELETE", f"{DEPLOYMENTS}/web")
    await client.until(f"{BASE}/pods", lambda found: not found["items"])
    sets = await client.get("/apis/apps/v1/namespaces/demo/replicasets")
    assert not sets["items"]


async def test_a_crashing_workload_backs_off_and_recovers(client, deployment) -> None:
    client.kube.faults.set("crash", "demo/web")
    await client.create(DEPLOYMENTS, deployment())
    await events(client, "BackOff")

    def is_crashing(found):
        statuses = found["items"][0]["status"].get("containerStatuses") or [{"state": {}}]
        waiting = statuses[0]["state"].get("waiting") or {}
        return waiting.get("reason") == "CrashLoopBackOff" and statuses[0]["restartCount"]

    await client.until(f"{BASE}/pods", is_crashing)
    client.kube.faults.clear("crash")
    await client.until(f"{DEPLOYMENTS}/web", available)


async def test_an_image_that_is_not_there_backs_off(client, deployment) -> None:
    client.kube.faults.set("image-error", "web")
    await client.create(DEPLOYMENTS, deployment())
    failed = await events(client, "Failed")
    assert failed[0]["message"].startswith('Failed to pull image "federatedai/web:1.8.0"')
    client.kube.faults.clear("image-error")
    await client.until(f"{DEPLOYMENTS}/web", available)


async def test_an_unschedulable_pod_says_why(client, deployment) -> None:
    client.kube.faults.set("unschedulable", "web")
    await client.create(DEPLOYMENTS, deployment())
    (event,) = await events(client, "FailedScheduling")
    assert "Insufficient cpu" in event["message"]
    pod = await pod_of(client, "web")
    scheduled = condition(pod, "PodScheduled")
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    client.kube.faults.clear_all()
    await client.until(f"{DEPLOYMENTS}/web", available)


async def test_a_slow_image_keeps_the_pod_waiting_until_the_order_is_taken_back(
    client, deployment
) -> None:
    client.kube.faults.set("slow-image", "600:web")
    await client.create(DEPLOYMENTS, deployment())
    await client.create(DEPLOYMENTS, deployment("other"))
    await client.until(f"{DEPLOYMENTS}/other", available)
    assert not available(await client.get(f"{DEPLOYMENTS}/web"))
    client.kube.faults.clear("slow-image")
    await client.until(f"{DEPLOYMENTS}/web", available)


async def test_never_ready_pods_run_but_do_not_serve(client, deployment) -> None:
    client.kube.faults.set("never-ready", "web")
    await client.create(DEPLOYMENTS, deployment())
    await events(client, "Unhealthy")
    live = await client.get(f"{DEPLOYMENTS}/web")
    assert condition(live, "Available")["reason"] == "MinimumReplicasUnavailable"


async def test_a_quota_stops_pods_and_is_told(client, deployment) -> None:
    client.kube.faults.set("quota", "web")
    await client.create(DEPLOYMENTS, deployment())
    (event, *_) = await events(client, "FailedCreate")
    assert "exceeded quota" in event["message"]
    await client.until(
        f"{DEPLOYMENTS}/web", lambda obj: condition(obj, "ReplicaFailure")["status"] == "True"
    )


async def test_a_pod_needs_its_service_account(client, deployment) -> None:
    await client.create(DEPLOYMENTS, deployment(serviceAccountName="kubefate"))
    (event, *_) = await events(client, "FailedCreate")
    assert 'serviceaccount "kubefate" not found' in event["message"]
    await client.create(
        f"{BASE}/serviceaccounts", {"kind": "ServiceAccount", "metadata": {"name": "kubefate"}}
    )
    await client.until(f"{DEPLOYMENTS}/web", available)


async def test_a_claim_that_no_storage_serves_stays_pending(client) -> None:
    client.kube.faults.set("pvc-pending", "c")
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    path = f"{BASE}/persistentvolumeclaims"
    await client.create(path, {"metadata": {"name": "c"}, "spec": spec})
    await events(client, "ProvisioningFailed")
    client.kube.faults.clear("pvc-pending")
    await client.until(f"{path}/c", lambda claim: claim["status"]["phase"] == "Bound")


async def test_a_selector_is_immutable(client, deployment) -> None:
    await client.create(DEPLOYMENTS, deployment(replicas=0))
    other = deployment(replicas=0)
    other["spec"]["selector"]["matchLabels"] = {"other": "x"}
    answer = await client.call("PUT", f"{DEPLOYMENTS}/web", other)
    assert answer.status == 422
    fields = [cause["field"] for cause in answer.body["details"]["causes"]]
    assert fields == ["spec.selector"]


async def test_a_roll_that_recreates_goes_on_when_the_old_pods_have_ended(
    settings, connect, client_of, deployment
) -> None:
    slow = replace(settings, delays=replace(Delays.none(), stop_s=0.1))
    async with SimulatedKube(slow) as kube, connect(kube) as session:
        client = client_of(kube, session)
        await client.namespace("demo")
        body = deployment()
        await client.create(DEPLOYMENTS, body)
        await client.until(f"{DEPLOYMENTS}/web", available)
        body["spec"]["template"]["metadata"]["annotations"] = {"restartedAt": "now"}
        await client.call("PUT", f"{DEPLOYMENTS}/web", body)

        def is_rolled(obj):
            status = obj["status"]
            is_seen = status["observedGeneration"] == obj["metadata"]["generation"]
            return is_seen and status.get("updatedReplicas") == status.get("readyReplicas") == 1

        await client.until(f"{DEPLOYMENTS}/web", is_rolled)
