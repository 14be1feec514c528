from __future__ import annotations

import base64

import pytest

MAPS = "/api/v1/namespaces/default/configmaps"
SECRETS = "/api/v1/namespaces/default/secrets"


def config(name: str, **data: str) -> dict[str, object]:
    return {"metadata": {"name": name, "labels": {"app": name[:1]}}, "data": data}


async def test_a_created_object_carries_what_the_server_adds(client) -> None:
    made = await client.create(MAPS, config("a", x="1"))
    metadata = made["metadata"]
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert int(metadata["resourceVersion"]) > 0
    assert metadata["namespace"] == "default"
    assert await client.get(f"{MAPS}/a") == made


async def test_errors_are_status_objects(client) -> None:
    await client.create(MAPS, config("a"))
    again = await client.call("POST", MAPS, {"kind": "ConfigMap", **config("a")})
    assert (again.status, again.body["reason"]) == (409, "AlreadyExists")
    assert again.body["message"] == 'configmaps "a" already exists'
    missing = await client.call("GET", f"{MAPS}/b")
    assert (missing.status, missing.body["reason"]) == (404, "NotFound")
    assert missing.body["details"] == {"name": "b", "kind": "configmaps"}
    grouped = await client.call("GET", "/apis/apps/v1/namespaces/default/deployments/b")
    assert grouped.body["message"] == 'deployments.apps "b" not found'
    bad = await client.call("POST", MAPS, {"kind": "ConfigMap", **config("Bad_Name")})
    assert (bad.status, bad.body["reason"]) == (422, "Invalid")
    assert bad.body["details"]["causes"][0]["field"] == "metadata.name"


async def test_a_missing_namespace_refuses_new_objects(client) -> None:
    answer = await client.call(
        "POST", "/api/v1/namespaces/nowhere/configmaps", {"kind": "ConfigMap", **config("a")}
    )
    assert answer.status == 404
    assert answer.body["message"] == 'namespaces "nowhere" not found'


async def test_no_one_comes_in_without_the_token(client) -> None:
    for header in ("Bearer wrong", "Basic abc", ""):
        async with client.session.get(
            client.kube.url + MAPS, headers={"Authorization": header}
        ) as answer:
            assert answer.status == 401
            assert (await answer.json())["reason"] == "Unauthorized"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/version"])
async def test_health_needs_no_token(client, path) -> None:
    async with client.session.get(client.kube.url + path, headers={"Authorization": ""}) as answer:
        assert answer.status == 200


async def test_the_cluster_says_that_it_is_simulated(client) -> None:
    assert (await client.get("/version"))["gitVersion"] == "v1.34.4+simulated"
    (node,) = (await client.get("/api/v1/nodes"))["items"]
    assert node["metadata"]["labels"]["fate-lifecycle-manager.io/simulated"] == "true"
    assert {"type": "InternalIP", "address": "127.0.0.1"} in node["status"]["addresses"]


async def test_discovery_lists_each_resource_with_its_verbs(client) -> None:
    core = await client.get("/api/v1")
    names = {each["name"] for each in core["resources"]}
    assert {"pods", "secrets", "namespaces"} <= names
    groups = {group["name"] for group in (await client.get("/apis"))["groups"]}
    assert {"apps", "batch", "rbac.authorization.k8s.io"} <= groups
    apps = await client.get("/apis/apps/v1")
    assert apps["groupVersion"] == "apps/v1"


async def test_a_stale_update_is_a_conflict(client) -> None:
    made = await client.create(MAPS, config("a", x="1"))
    fresh = await client.call("PUT", f"{MAPS}/a", {**made, "data": {"x": "2"}})
    assert fresh.status == 200
    stale = await client.call("PUT", f"{MAPS}/a", {**made, "data": {"x": "3"}})
    assert (stale.status, stale.body["reason"]) == (409, "Conflict")
    assert "the object has been modified" in stale.body["message"]


async def test_an_update_that_changes_nothing_makes_no_version(client) -> None:
    made = await client.create(MAPS, config("a", x="1"))
    answer = await client.call("PUT", f"{MAPS}/a", made)
    assert answer.body["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_generation_follows_the_spec_alone(client, deployment) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    made = await client.create(path, deployment(replicas=0))
    assert made["metadata"]["generation"] == 1
    labelled = await client.send(
        "PATCH",
        f"{path}/web",
        {"metadata": {"labels": {"a": "b"}}},
        "application/merge-patch+json",
    )
    assert labelled.body["metadata"]["generation"] == 1
    changed = await client.send(
        "PATCH", f"{path}/web", {"spec": {"replicas": 2}}, "application/merge-patch+json"
    )
    assert changed.body["metadata"]["generation"] == 2


async def test_secrets_keep_plain_texts_encoded(client) -> None:
    body = {"metadata": {"name": "s"}, "stringData": {"k": "hello"}}
    made = await client.create(SECRETS, body)
    assert made["type"] == "Opaque"
    assert "stringData" not in made
    assert base64.b64decode(made["data"]["k"]) == b"hello"
    bad = {"kind": "Secret", "metadata": {"name": "t"}, "data": {"k": "&&&"}}
    assert (await client.call("POST", SECRETS, bad)).status == 400


async def test_lists_are_chosen_by_labels_and_fields(client) -> None:
    for name in ("a1", "a2", "b1"):
        await client.create(MAPS, config(name))

    async def names(**query: str) -> list[str]:
        found = await client.get(MAPS, **query)
        return [
            item["metadata"]["name"]
            for item in found["items"]
            if "." not in item["metadata"]["name"]
        ]

    assert await names(labelSelector="app=a") == ["a1", "a2"]
    assert await names(labelSelector="app==a,app=b") == ["b1"]
    for text in ("app in (a,b)", "app!=a", "!app", "app", "=a"):
        assert (await client.call("GET", MAPS, labelSelector=text)).status == 400
    assert await names(fieldSelector="metadata.name=a2") == ["a2"]
    refused = await client.call("GET", MAPS, fieldSelector="data.x=1")
    assert refused.status == 400


async def test_pages_show_one_moment(client) -> None:
    for number in range(5):
        await client.create(MAPS, {"metadata": {"name": f"p{number}", "labels": {"page": "y"}}})
    first = await client.get(MAPS, limit="2", labelSelector="page=y")
    await client.call("DELETE", f"{MAPS}/p4")
    names = [item["metadata"]["name"] for item in first["items"]]
    token = first["metadata"]["continue"]
    while token:
        page = await client.get(MAPS, limit="2", labelSelector="page=y", **{"continue": token})
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue")
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert names == [f"p{number}" for number in range(5)]
    spent = await client.call("GET", MAPS, **{"continue": "e30="})
    assert (spent.status, spent.body["reason"]) == (410, "Expired")


async def test_bodies_of_unknown_form_are_refused(client) -> None:
    kind = "application/vnd.kubernetes.protobuf"
    assert (await client.send("POST", MAPS, b"k8s\0", kind)).status == 415
    assert (await client.send("POST", MAPS, b"{", "application/json")).status == 400
    huge = b'{"kind": "ConfigMap", "data": {"x": "' + b"x" * (3 * 1024 * 1024) + b'"}}'
    assert (await client.send("POST", MAPS, huge, "application/json")).status == 413


async def test_deletion_waits_for_finalizers(client) -> None:
    await client.create(MAPS, {"metadata": {"name": "a", "finalizers": ["x.io/f"]}})
    kept = await client.call("DELETE", f"{MAPS}/a")
    assert kept.body["metadata"]["deletionTimestamp"]
    await client.send(
        "PATCH", f"{MAPS}/a", {"metadata": {"finalizers": None}}, "application/merge-patch+json"
    )
    assert (await client.call("GET", f"{MAPS}/a")).status == 404


async def test_deletion_may_have_preconditions(client) -> None:
    made = await client.create(MAPS, config("a"))
    other = {"preconditions": {"uid": "other"}}
    assert (await client.call("DELETE", f"{MAPS}/a", other)).status == 409
    right = {"preconditions": {"uid": made["metadata"]["uid"]}}
    done = await client.call("DELETE", f"{MAPS}/a", right)
    assert done.body["status"] == "Success"


async def test_a_namespace_goes_with_all_that_is_in_it(client) -> None:
    space = await client.namespace()
    path = f"/api/v1/namespaces/{space}/configmaps"
    await client.create(path, {"metadata": {"name": "held", "finalizers": ["x.io/f"]}})
    gone = await client.call("DELETE", f"/api/v1/namespaces/{space}")
    assert gone.body["status"]["phase"] == "Terminating"
    refused = await client.call("POST", path, {"kind": "ConfigMap", **config("new")})
    assert refused.status == 403
    assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    await client.until(f"{path}/held", lambda held: held["metadata"].get("deletionTimestamp"))
    await client.send(
        "PATCH", f"{path}/held", {"metadata": {"finalizers": []}}, "application/merge-patch+json"
    )
    await client.until(f"/api/v1/namespaces/{space}", lambda body: body.get("code") == 404)
    assert (await client.get(path))["items"] == []
    kept = await client.call("DELETE", "/api/v1/namespaces/kube-system")
    assert kept.status == 403


async def test_dependents_go_with_their_owner(client) -> None:
    owner = await client.create(MAPS, config("owner"))
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }
    for name in ("d1", "d2"):
        metadata = {"name": name, "ownerReferences": [reference]}
        await client.create(MAPS, {"metadata": metadata})
    await client.call("DELETE", f"{MAPS}/owner", propagationPolicy="Foreground")
    for name in ("d1", "d2", "owner"):
        await client.until(f"{MAPS}/{name}", lambda body: body.get("code") == 404)


async def test_an_object_whose_owner_never_was_is_collected(client) -> None:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "no", "uid": "no-such-uid"}
    await client.create(MAPS, {"metadata": {"name": "d", "ownerReferences": [reference]}})
    await client.until(f"{MAPS}/d", lambda body: body.get("code") == 404)


async def test_an_access_review_answers_what_the_fault_says(client) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    attributes = {"verb": "create", "resource": "secrets", "namespace": "fate-9999"}
    review = {"spec": {"resourceAttributes": attributes}}
    assert (await client.create(path, review))["status"]["allowed"] is True
    client.kube.faults.set("forbidden", "create/secrets@fate-*")
    assert (await client.create(path, review))["status"]["allowed"] is False
