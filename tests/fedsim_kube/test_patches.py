from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.kube.errors import ApiError
from fedsim.kube.fieldsets import fields_of, from_fields_v1, is_at, to_fields_v1
from fedsim.kube.patches import json_patch, merge_patch, strategic_merge

words = st.text("abc", min_size=1, max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(words, json_values, max_size=4)


def test_a_merge_patch_takes_null_fields_away() -> None:
    target = {"a": {"b": 1, "c": 2}, "d": [1]}
    assert merge_patch(target, {"a": {"b": None}, "d": [2]}) == {"a": {"c": 2}, "d": [2]}


@given(objects, objects)
def test_a_merge_patch_given_twice_is_the_same(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


def test_a_strategic_patch_merges_known_lists_by_name() -> None:
    pod = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}
    patch = {"spec": {"containers": [{"name": "b", "image": "2"}]}}
    merged = strategic_merge(pod, patch)
    assert merged["spec"]["containers"] == [
        {"name": "a", "image": "1"},
        {"name": "b", "image": "2"},
    ]


def test_a_strategic_patch_obeys_its_directives() -> None:
    target = {
        "metadata": {"finalizers": ["x", "y"]},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], "m": {"x": 1}},
    }
    patch = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]},
        "spec": {
            "containers": [{"name": "a", "$patch": "delete"}],
            "m": {"$patch": "replace", "y": 2},
            "$setElementOrder/containers": [{"name": "b"}],
        },
    }
    assert strategic_merge(target, patch) == {
        "metadata": {"finalizers": ["y"]},
        "spec": {"containers": [{"name": "b"}], "m": {"y": 2}},
    }


def test_a_json_patch_does_its_operations_in_order() -> None:
    target = {"a": [1, 3], "b": {"x/y": 1}}
    operations = [
        {"op": "test", "path": "/a/0", "value": 1},
        {"op": "add", "path": "/a/1", "value": 2},
        {"op": "add", "path": "/a/-", "value": 4},
        {"op": "replace", "path": "/b/x~1y", "value": 2},
        {"op": "copy", "from": "/b", "path": "/c"},
        {"op": "move", "from": "/a/0", "path": "/d"},
        {"op": "remove", "path": "/b"},
    ]
    assert json_patch(target, operations) == {"a": [2, 3, 4], "c": {"x/y": 2}, "d": 1}
    assert target == {"a": [1, 3], "b": {"x/y": 1}}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/nope"},
        {"op": "test", "path": "/a", "value": 2},
        {"op": "replace", "path": "/l/9", "value": 2},
        {"op": "add", "path": "a", "value": 2},
        {"op": "dance", "path": "/a"},
        {"op": "add"},
    ],
)
def test_an_operation_that_cannot_be_done_is_invalid(operation: Any) -> None:
    with pytest.raises(ApiError) as caught:
        json_patch({"a": 1, "l": []}, [operation])
    assert caught.value.code == 422


@given(objects)
def test_field_sets_survive_the_wire(obj: Any) -> None:
    fields = fields_of({"kind": "X", "metadata": {"labels": {"a": "b"}}, "spec": obj})
    wire = from_fields_v1(to_fields_v1(fields))
    assert wire == fields
    assert all(is_at({"metadata": {"labels": {"a": "b"}}, "spec": obj}, path) for path in fields)
