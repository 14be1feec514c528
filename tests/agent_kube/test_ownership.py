from __future__ import annotations

from fedagent.kube.ownership import (
    CREATED_NAMESPACE,
    Owner,
    OwnerRole,
    is_created_namespace,
    owner_of,
)

OWNER = Owner("hub-1", "p-1", OwnerRole.PARTICIPANT, "credit-risk")


def test_the_labels_say_whose_an_object_is() -> None:
    found = owner_of({"metadata": {"labels": OWNER.labels()}})
    assert found == OWNER
    assert OWNER.labels()["fate-lifecycle-manager.io/participant"] == "p-1"


def test_a_renamed_federation_is_the_same_owner() -> None:
    assert OWNER.is_same(Owner("hub-1", "p-1", OwnerRole.PARTICIPANT, "other"))
    assert not OWNER.is_same(Owner("hub-2", "p-1"))
    assert not OWNER.is_same(None)


def test_an_object_without_our_labels_is_nobodys() -> None:
    assert owner_of({"metadata": {}}) is None
    assert owner_of({"metadata": {"labels": None}}) is None


def test_another_hubs_object_is_known_by_its_hub_alone() -> None:
    found = owner_of({"metadata": {"labels": {"fate-lifecycle-manager.io/hub": "hub-2"}}})
    assert found is not None
    assert found.hub_id == "hub-2"
    assert not OWNER.is_same(found)


def test_a_namespace_that_an_agent_made_says_so() -> None:
    assert is_created_namespace({"metadata": {"annotations": {CREATED_NAMESPACE: "true"}}})
    assert not is_created_namespace({"metadata": {}})
