from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.contract.kube.conftest import is_complete
from tests.support.patience import patient

from fedagent.kube import errors, objects
from fedagent.kube.client import Kube
from fedagent.kube.kinds import (
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    PVCS,
    SECRETS,
    SERVICES,
)
from fedagent.kube.lists import read_list, selector_query
from fedagent.kube.objects import Propagation

pytestmark = pytest.mark.asyncio(loop_scope="session")
Json = dict[str, Any]


def config(name: str, labels: Json | None = None, **data: str) -> Json:
    return {"metadata": {"name": name, "labels": labels or {}}, "data": data}


async def test_an_object_is_made_read_and_found_missing(kube: Kube, namespace: str) -> None:
    made = await objects.create(kube, CONFIGMAPS, config("c", a="1"), namespace=namespace)
    assert made["metadata"]["uid"]
    read = await objects.get(kube, CONFIGMAPS, "c", namespace=namespace)
    assert read["data"] == {"a": "1"}
    assert await objects.exists(kube, CONFIGMAPS, "c", namespace=namespace)
    with pytest.raises(errors.AlreadyExists):
        await objects.create(kube, CONFIGMAPS, config("c"), namespace=namespace)
    assert await objects.find(kube, CONFIGMAPS, "other", namespace=namespace) is None
    with pytest.raises(errors.NotFound):
        await objects.get(kube, CONFIGMAPS, "other", namespace=namespace)


async def test_a_name_that_is_no_name_is_refused(kube: Kube, namespace: str) -> None:
    with pytest.raises(errors.Invalid, match="name"):
        await objects.create(kube, CONFIGMAPS, config("Not_A_Name"), namespace=namespace)


async def test_a_namespace_that_is_not_there_is_named(kube: Kube) -> None:
    with pytest.raises(errors.NotFound, match="no-such-place"):
        await objects.create(kube, CONFIGMAPS, config("c"), namespace="no-such-place")
    assert await objects.list_all(kube, CONFIGMAPS, namespace="no-such-place") == ()


async def test_a_long_list_comes_whole_in_pages(kube: Kube, namespace: str) -> None:
    for number in range(7):
        body = config(f"c{number}", {"parity": str(number % 2)})
        await objects.create(kube, CONFIGMAPS, body, namespace=namespace)
    before = kube.requests
    found = await objects.list_all(
        kube, CONFIGMAPS, namespace=namespace, labels={"parity": "0"}, page_size=2
    )
    assert [item["metadata"]["name"] for item in found] == ["c0", "c2", "c4", "c6"]
    assert kube.requests - before >= 2


async def test_fields_select_by_name(kube: Kube, namespace: str) -> None:
    for name in ("a", "b"):
        await objects.create(kube, CONFIGMAPS, config(name), namespace=namespace)
    found = await objects.list_all(
        kube, CONFIGMAPS, namespace=namespace, fields={"metadata.name": "b"}
    )
    assert [item["metadata"]["name"] for item in found] == ["b"]


async def test_applying_the_same_twice_changes_nothing(kube: Kube, namespace: str) -> None:
    first = await objects.apply(kube, CONFIGMAPS, config("c", a="1"), namespace=namespace)
    second = await objects.apply(kube, CONFIGMAPS, config("c", a="1"), namespace=namespace)
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_what_an_apply_no_longer_names_goes_and_what_others_set_stays(
    kube: Kube, namespace: str
) -> None:
    await objects.apply(kube, CONFIGMAPS, config("c", a="1", b="2"), namespace=namespace)
    path = CONFIGMAPS.path(namespace=namespace, name="c")
    merge = objects.PatchStyle.MERGE.value
    await kube.request(
        "PATCH",
        path,
        query={"fieldManager": "somebody"},
        body={"data": {"theirs": "x"}},
        content_type=merge,
    )
    after = await objects.apply(kube, CONFIGMAPS, config("c", a="1"), namespace=namespace)
    assert after["data"] == {"a": "1", "theirs": "x"}


async def test_a_field_of_another_manager_is_taken_by_force_alone(
    kube: Kube, namespace: str
) -> None:
    await kube.request(
        "PATCH",
        CONFIGMAPS.path(namespace=namespace, name="c"),
        query={"fieldManager": "somebody"},
        body={"apiVersion": "v1", "kind": "ConfigMap", **config("c", a="theirs")},
        content_type=objects.APPLY,
    )
    with pytest.raises(errors.Conflict):
        await objects.apply(
            kube, CONFIGMAPS, config("c", a="ours"), namespace=namespace, force=False
        )
    after = await objects.apply(kube, CONFIGMAPS, config("c", a="ours"), namespace=namespace)
    assert after["data"]["a"] == "ours"


async def test_a_merge_patch_sets_and_removes(kube: Kube, namespace: str) -> None:
    await objects.create(kube, CONFIGMAPS, config("c", a="1", b="2"), namespace=namespace)
    change = {"data": {"b": None, "c": "3"}}
    after = await objects.patch(kube, CONFIGMAPS, "c", change, namespace=namespace)
    assert after["data"] == {"a": "1", "c": "3"}


async def test_a_patch_on_a_stale_version_conflicts(kube: Kube, namespace: str) -> None:
    made = await objects.create(kube, CONFIGMAPS, config("c", a="1"), namespace=namespace)
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}}
    await objects.patch(kube, CONFIGMAPS, "c", {"data": {"a": "2"}}, namespace=namespace)
    with pytest.raises(errors.Conflict):
        await objects.patch(
            kube, CONFIGMAPS, "c", stale | {"data": {"a": "3"}}, namespace=namespace
        )


async def test_a_deletion_says_whether_there_was_something(kube: Kube, namespace: str) -> None:
    made = await objects.create(kube, CONFIGMAPS, config("c"), namespace=namespace)
    with pytest.raises(errors.Conflict):
        await objects.delete(kube, CONFIGMAPS, "c", namespace=namespace, uid="another")
    uid = made["metadata"]["uid"]
    assert await objects.delete(kube, CONFIGMAPS, "c", namespace=namespace, uid=uid)
    assert not await objects.delete(kube, CONFIGMAPS, "c", namespace=namespace)


async def test_text_in_a_secret_is_kept_as_base64(kube: Kube, namespace: str) -> None:
    body = {"metadata": {"name": "s"}, "type": "Opaque", "stringData": {"k": "v"}}
    made = await objects.create(kube, SECRETS, body, namespace=namespace)
    assert base64.b64decode(made["data"]["k"]) == b"v"
    assert "stringData" not in made


async def test_a_list_of_metadata_bears_the_labels_and_no_contents(
    kube: Kube, namespace: str, cluster: Any
) -> None:
    body = {"metadata": {"name": "s", "labels": {"owner": "helm"}}, "stringData": {"k": "v"}}
    await objects.create(kube, SECRETS, body, namespace=namespace)
    query = selector_query(SECRETS, namespace, {"owner": "helm"}, None)
    found, version = await read_list(kube, SECRETS, namespace, query, metadata_only=True)
    assert [item["metadata"]["labels"] for item in found] == [{"owner": "helm"}]
    assert ("data" in found[0]) is not cluster.hides_contents
    assert version


async def test_a_foreground_deletion_takes_the_pods_first(
    kube: Kube, namespace: str, deploy: Any
) -> None:
    await deploy(replicas=2)
    await objects.delete(
        kube, DEPLOYMENTS, "web", namespace=namespace, propagation=Propagation.FOREGROUND
    )
    assert await objects.wait_gone(kube, DEPLOYMENTS, "web", namespace=namespace, limit_s=patient())
    assert await objects.list_all(kube, PODS, namespace=namespace) == ()


async def test_a_namespace_goes_with_all_that_is_in_it(
    kube: Kube, namespace: str, deploy: Any
) -> None:
    await deploy()
    await objects.create(kube, CONFIGMAPS, config("c"), namespace=namespace)
    assert await objects.delete(kube, NAMESPACES, namespace)
    assert await objects.wait_gone(kube, NAMESPACES, namespace, limit_s=patient())
    assert await objects.list_all(kube, PODS, namespace=namespace) == ()


async def test_nothing_can_be_made_in_a_namespace_that_is_going(kube: Kube, namespace: str) -> None:
    held = config("held") | {"metadata": {"name": "held", "finalizers": ["test.example/hold"]}}
    await objects.create(kube, CONFIGMAPS, held, namespace=namespace)
    await objects.delete(kube, NAMESPACES, namespace)
    with pytest.raises(errors.Forbidden, match="being terminated"):
        await objects.create(kube, CONFIGMAPS, config("late"), namespace=namespace)
    assert not await objects.wait_gone(kube, NAMESPACES, namespace, limit_s=0.2)
    release = {"metadata": {"finalizers": None}}
    await objects.patch(kube, CONFIGMAPS, "held", release, namespace=namespace)
    assert await objects.wait_gone(kube, NAMESPACES, namespace, limit_s=patient())


async def test_a_node_port_is_allocated_and_given_once(kube: Kube, namespace: str) -> None:
    def service(name: str, node_port: int | None = None) -> Json:
        port: Json = {"name": "http", "port": 80}
        port |= {"nodePort": node_port} if node_port else {}
        return {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [port]}}

    made = await objects.apply(kube, SERVICES, service("a"), namespace=namespace)
    taken = made["spec"]["ports"][0]["nodePort"]
    assert 30000 <= taken <= 32767
    with pytest.raises(errors.Invalid, match="already allocated"):
        await objects.apply(kube, SERVICES, service("b", taken), namespace=namespace)


async def test_a_service_that_becomes_internal_loses_its_node_ports(
    kube: Kube, namespace: str
) -> None:
    spec = {"type": "NodePort", "selector": {"app": "a"}, "ports": [{"name": "http", "port": 80}]}
    body = {"metadata": {"name": "a"}, "spec": spec}
    made = await objects.create(kube, SERVICES, body, namespace=namespace)
    assert made["spec"]["ports"][0]["nodePort"]
    inward = {"spec": {"type": "ClusterIP"}}
    changed = await objects.patch(kube, SERVICES, "a", inward, namespace=namespace)
    assert "nodePort" not in changed["spec"]["ports"][0]
    assert changed["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    outward = {"spec": {"type": "NodePort"}}
    changed = await objects.patch(kube, SERVICES, "a", outward, namespace=namespace)
    assert 30000 <= changed["spec"]["ports"][0]["nodePort"] <= 32767
    fixed = {"spec": {"type": "ClusterIP", "ports": [{"name": "x", "port": 81, "nodePort": 30999}]}}
    with pytest.raises(errors.Invalid, match="nodePort"):
        await objects.patch(kube, SERVICES, "a", fixed, namespace=namespace)


async def test_a_deployment_that_recreates_ends_its_old_pods_first(
    kube: Kube, namespace: str, deploy: Any
) -> None:
    await deploy()
    recreate = {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}
    await objects.patch(kube, DEPLOYMENTS, "web", recreate, namespace=namespace)
    (before,) = await objects.list_all(kube, PODS, namespace=namespace, labels={"app": "web"})
    for number in range(3):
        note = {"spec": {"template": {"metadata": {"annotations": {"restarted": str(number)}}}}}
        await objects.patch(kube, DEPLOYMENTS, "web", note, namespace=namespace)
        old = before["metadata"]["name"]
        assert await objects.wait_gone(kube, PODS, old, namespace=namespace, limit_s=patient())
        assert await objects.wait_until(
            kube,
            DEPLOYMENTS,
            "web",
            lambda body: is_complete(body, 1),
            namespace=namespace,
            limit_s=patient(),
        )
        (before,) = await objects.list_all(kube, PODS, namespace=namespace, labels={"app": "web"})
        assert before["metadata"]["name"] != old


async def test_a_claims_class_cannot_be_changed(kube: Kube, namespace: str) -> None:
    def claim(storage_class: str) -> Json:
        resources = {"requests": {"storage": "1Gi"}}
        spec = {"accessModes": ["ReadWriteOnce"], "resources": resources}
        return {
            "metadata": {"name": "data"},
            "spec": spec | {"storageClassName": storage_class},
        }

    await objects.apply(kube, PVCS, claim("standard"), namespace=namespace)
    with pytest.raises(errors.Invalid):
        await objects.apply(kube, PVCS, claim("other"), namespace=namespace)


async def test_the_events_of_a_pod_are_found_by_its_name(
    kube: Kube, namespace: str, deploy: Any
) -> None:
    await deploy()
    (pod,) = await objects.list_all(kube, PODS, namespace=namespace, labels={"app": "web"})
    name = pod["metadata"]["name"]
    found = await objects.list_all(
        kube,
        EVENTS,
        namespace=namespace,
        fields={"involvedObject.kind": "Pod", "involvedObject.name": name},
    )
    assert "Scheduled" in {event["reason"] for event in found}
    assert {event["involvedObject"]["name"] for event in found} == {name}


async def test_a_changed_template_makes_new_pods(kube: Kube, namespace: str, deploy: Any) -> None:
    await deploy()
    before = await objects.list_all(kube, PODS, namespace=namespace, labels={"app": "web"})
    note = {"metadata": {"annotations": {"restarted": "now"}}}
    await objects.patch(kube, DEPLOYMENTS, "web", {"spec": {"template": note}}, namespace=namespace)
    (old,) = [pod["metadata"]["name"] for pod in before]
    assert await objects.wait_gone(kube, PODS, old, namespace=namespace, limit_s=patient())
    after = await objects.list_all(
        kube, PODS, namespace=namespace, fields={"status.phase": "Running"}
    )
    assert old not in {pod["metadata"]["name"] for pod in after}


async def test_waiting_ends_with_its_time(kube: Kube) -> None:
    node = (await objects.list_all(kube, NODES))[0]["metadata"]["name"]
    assert not await objects.wait_gone(kube, NODES, node, limit_s=0.1)
