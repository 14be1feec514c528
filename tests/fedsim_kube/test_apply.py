from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fedsim.kube.apply import apply, merge_patch

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"

words = st.text("abc", min_size=1, max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(words, json_values, max_size=4)


def test_a_merge_patch_removes_null_fields() -> None:
    target = {"a": {"b": 1, "c": 2}, "d": [1]}
    assert merge_patch(target, {"a": {"b": None}, "d": [2]}) == {"a": {"c": 2}, "d": [2]}


@given(objects, objects)
def test_the_same_merge_patch_twice_is_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@given(objects, objects)
def test_the_same_apply_twice_is_once(target: Any, config: Any) -> None:
    live = {"apiVersion": "v1", "metadata": {"name": "a"}, "spec": target}
    wish = {"apiVersion": "v1", "metadata": {"name": "a"}, "spec": config}
    once = apply(live, wish, "tester", "first", force=False)
    assert apply(once, wish, "tester", "second", force=False) == once


async def test_a_list_is_replaced_as_a_whole(client, deployment) -> None:
    first = deployment(replicas=0, container={"ports": [{"containerPort": 80}]})
    await client.apply(f"{DEPLOYMENTS}/web", first)
    second = deployment(replicas=0, container={"ports": [{"containerPort": 81}]})
    after = await client.apply(f"{DEPLOYMENTS}/web", second)
    (container,) = after.body["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"containerPort": 81, "protocol": "TCP"}]


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


async def test_the_same_value_is_shared(client) -> None:
    await client.apply(f"{MAPS}/a", {"data": {"x": "1"}})
    shared = await client.apply(f"{MAPS}/a", {"data": {"x": "1"}}, manager="other")
    assert shared.status == 200
    left = await client.apply(f"{MAPS}/a", {"data": {}})
    assert left.body["data"] == {"x": "1"}


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
