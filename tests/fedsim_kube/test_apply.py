from __future__ import annotations

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


async def test_an_apply_makes_the_object_and_owns_its_fields(client) -> None:
    answer = await client.apply(f"{MAPS}/a", {"apiVersion": "v1", "data": {"x": "1"}})
    assert answer.status == 201
    (entry,) = answer.body["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("tester", "Apply")
    assert entry["fieldsV1"] == {"f:data": {"f:x": {}}}


async def test_an_apply_that_changes_nothing_makes_no_version(client, deployment) -> None:
    first = await client.apply(f"{DEPLOYMENTS}/web", deployment(replicas=0))
    second = await client.apply(f"{DEPLOYMENTS}/web", deployment(replicas=0))
    assert second.status == 200
    for field in ("generation", "managedFields"):
        assert second.body["metadata"][field] == first.body["metadata"][field]
    third = await client.apply(f"{DEPLOYMENTS}/web", deployment(replicas=0))
    versions = {each.body["metadata"]["resourceVersion"] for each in (second, third)}
    assert len(versions) <= 2  # controllers may have written in between


async def test_what_a_manager_no_longer_names_goes(client) -> None:
    await client.apply(f"{MAPS}/a", {"data": {"x": "1", "y": "2"}})
    await client.apply(f"{MAPS}/a", {"data": {"z": "3"}}, manager="other")
    answer = await client.apply(f"{MAPS}/a", {"data": {"x": "1"}})
    assert answer.body["data"] == {"x": "1", "z": "3"}


async def test_two_managers_of_one_value_conflict_unless_forced(client) -> None:
    await client.apply(f"{MAPS}/a", {"data": {"x": "1"}})
    refused = await client.apply(f"{MAPS}/a", {"data": {"x": "2"}}, manager="other")
    assert (refused.status, refused.body["reason"]) == (409, "Conflict")
    cause = refused.body["details"]["causes"][0]
    assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".data.x")
    assert 'conflict with "tester"' in refused.body["message"]
    forced = await client.apply(f"{MAPS}/a", {"data": {"x": "2"}}, manager="other", force="true")
    assert forced.body["data"] == {"x": "2"}
    managers = {entry["manager"] for entry in forced.body["metadata"]["managedFields"]}
    assert managers == {"other"}


async def test_a_hand_edit_takes_a_field_over(client) -> None:
    await client.apply(f"{MAPS}/a", {"data": {"x": "1"}})
    await client.send(
        "PATCH",
        f"{MAPS}/a",
        {"data": {"x": "9"}},
        "application/merge-patch+json",
        fieldManager="kubectl-edit",
    )
    refused = await client.apply(f"{MAPS}/a", {"data": {"x": "1"}})
    assert refused.status == 409
    assert '"kubectl-edit"' in refused.body["message"]


async def test_the_same_value_is_shared(client) -> None:
    await client.apply(f"{MAPS}/a", {"data": {"x": "1"}})
    shared = await client.apply(f"{MAPS}/a", {"data": {"x": "1"}}, manager="other")
    assert shared.status == 200
    left = await client.apply(f"{MAPS}/a", {"data": {}})
    assert left.body["data"] == {"x": "1"}


async def test_items_of_keyed_lists_are_applied_one_by_one(client, deployment) -> None:
    base = deployment(replicas=0, container={"ports": [{"containerPort": 80}]})
    await client.apply(f"{DEPLOYMENTS}/web", base)
    labels = {"fateMoudle": "web"}
    side = {
        "apiVersion": "apps/v1",
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"spec": {"containers": [{"name": "side", "image": "s:1"}]}},
        },
    }
    both = await client.apply(f"{DEPLOYMENTS}/web", side, manager="injector")
    names = [each["name"] for each in both.body["spec"]["template"]["spec"]["containers"]]
    assert names == ["web", "side"]
    side["spec"]["template"]["spec"]["containers"] = []
    without = await client.apply(f"{DEPLOYMENTS}/web", side, manager="injector")
    assert without.status == 200, without
    (container,) = without.body["spec"]["template"]["spec"]["containers"]
    assert container["name"] == "web"
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]


async def test_an_apply_needs_a_manager(client) -> None:
    kind = "application/apply-patch+yaml"
    body = {"kind": "ConfigMap", "apiVersion": "v1"}
    answer = await client.send("PATCH", f"{MAPS}/a", body, kind)
    assert answer.status == 422


async def test_an_apply_takes_yaml(client) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: '1'\n"
    kind = "application/apply-patch+yaml"
    answer = await client.send("PATCH", f"{MAPS}/a", text, kind, fieldManager="me")
    assert answer.body["data"] == {"x": "1"}


async def test_an_apply_may_be_tried_dry(client) -> None:
    dry = await client.apply(f"{MAPS}/a", {"data": {"x": "1"}}, dryRun="All")
    assert dry.status == 201
    assert (await client.call("GET", f"{MAPS}/a")).status == 404
