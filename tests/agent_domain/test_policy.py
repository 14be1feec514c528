"""The site's policy: what it says goes, whatever a document asks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fedagent.domain.decision import ActionKind
from fedagent.domain.policy import (
    Allowed,
    NeedsApproval,
    RefusedBy,
    Telemetry,
    check_document,
    decide,
    default_policy,
    images_of,
    parse_policy,
)
from fedcore.errors import Invalid


def test_without_a_file_everything_is_allowed_and_told() -> None:
    policy = default_policy()
    assert {type(decide(policy, kind)) for kind in ActionKind} == {Allowed}
    assert policy.telemetry.findings is Telemetry.ON


def test_what_a_file_does_not_name_stays_at_the_site() -> None:
    policy = parse_policy({"telemetry": {"findings": "redacted"}})
    assert policy.telemetry.findings is Telemetry.REDACTED
    assert policy.telemetry.inventory is Telemetry.OFF


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"telemetry": {"log_lines": "off"}}, "telemetry.log_lines"),
        ({"telemetry": {"metrics": "off"}}, "telemetry.metrics"),
        ({"publish_summary": True}, "publish_summary"),
    ],
)
def test_a_key_that_nothing_goes_by_is_refused(tree: Any, path: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_policy(tree)
    assert [error.path for error in caught.value.errors] == [path]


@pytest.mark.parametrize("kind", [kind for kind in ActionKind if kind is not ActionKind.NONE])
def test_each_kind_can_be_denied_or_held_for_a_person(kind: ActionKind) -> None:
    denied = decide(parse_policy({"actions": {kind.value: "deny"}}), kind)
    assert isinstance(denied, RefusedBy)
    assert denied.rule == f"actions.{kind}"
    held = decide(parse_policy({"approval": {kind.value: "manual"}}), kind)
    assert held == NeedsApproval(kind)


def test_looking_and_following_are_never_held_back() -> None:
    policy = parse_policy({"actions": dict.fromkeys(("install", "update", "remove"), "deny")})
    assert decide(policy, ActionKind.NONE) == Allowed()


@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        ({"namespaces": ["bank-*"]}, "namespaces"),
        ({"charts": [{"name": "fate"}]}, "charts"),
        ({"charts": [{"name": "fate-exchange", "version": "v2.*"}]}, "charts"),
        ({"charts": [{"name": "fate-exchange", "digests": ["ff"]}]}, "charts.digests"),
        ({"registries": ["registry.bank.example"]}, "registries"),
    ],
)
def test_a_document_outside_the_rules_is_refused_by_the_rules_name(
    make: Any, rules: dict[str, Any], rule: str
) -> None:
    refusal = check_document(parse_policy(rules), make())
    assert refusal is not None
    assert refusal.rule == rule


def test_a_document_within_the_rules_passes(make: Any) -> None:
    policy = parse_policy(
        {
            "namespaces": ["fate-*"],
            "charts": [{"name": "fate-exchange", "version": "v1.*", "digests": ["ab"]}],
            "registries": ["federatedai"],
        }
    )
    assert check_document(policy, make()) is None


def test_every_image_in_the_overlay_counts(make: Any) -> None:
    cluster = json.dumps({"registry": "a.example/x", "spark": {"worker": [{"Image": "evil/w"}]}})
    document = replace(make(), cluster_json=cluster)
    assert images_of(document) == ("a.example/x", "evil/w")
    refusal = check_document(parse_policy({"registries": ["a.example"]}), document)
    assert refusal is not None
    assert "evil/w" in refusal.message


@pytest.mark.parametrize(
    "cluster",
    [
        {"registry": "a.example/x y"},
        {"registry": "a.example", "image": 'a.example/x" #'},
        {"registry": "a.example", "imageTag": "1.8.0, Image: evil"},
        {"registry": "a.example", "spark": [{"ImageTag": "{evil}"}]},
        {"registry": "a.example", "python": {"registry": "a.example/'"}},
    ],
)
def test_what_is_no_image_name_is_refused_by_the_registries_rule(make: Any, cluster: Any) -> None:
    document = replace(make(), cluster_json=json.dumps(cluster))
    refusal = check_document(parse_policy({"registries": ["a.example*"]}), document)
    assert refusal is not None
    assert refusal.rule == "registries"


@pytest.mark.parametrize("namespace", ["default", "kube-system", "kube-public", "kube-anything"])
def test_a_namespace_of_kubernetes_itself_needs_to_be_named_in_the_policy(
    make: Any, namespace: str
) -> None:
    document = replace(make(), namespace=namespace)
    for rules in ({}, {"namespaces": ["*"]}, {"namespaces": ["kube-*", "default*"]}):
        refusal = check_document(parse_policy(rules), document)
        assert refusal is not None
        assert refusal.rule == "namespaces.system"
        assert namespace in refusal.message
    named = parse_policy({"namespaces": [namespace]})
    assert check_document(named, document) is None


def test_kubefates_own_namespace_needs_no_mention(make: Any) -> None:
    assert check_document(default_policy(), replace(make(), namespace="kube-fate")) is None


def test_a_bad_file_names_every_field_at_fault() -> None:
    tree = {"namespace": ["x"], "actions": {"install": "perhaps"}, "charts": [{}]}
    with pytest.raises(Invalid) as caught:
        parse_policy(tree)
    paths = {error.path for error in caught.value.errors}
    assert paths == {"namespace", "actions.install", "charts.0.name"}
