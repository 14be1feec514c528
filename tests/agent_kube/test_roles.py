"""What the roles in deploy/rbac grant, read from the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FILES = Path(__file__).parents[2] / "deploy" / "rbac"
Json = dict[str, Any]


def documents(name: str) -> list[Json]:
    return list(yaml.safe_load_all((FILES / name).read_text()))


def rules_of(body: Json) -> list[Json]:
    return list(body.get("rules") or ())


def test_no_secret_is_in_what_holds_cluster_wide():
    bodies = documents("agent-role.yaml")
    bound = {body["roleRef"]["name"] for body in bodies if body["kind"] == "ClusterRoleBinding"}
    wide = [
        body
        for body in bodies
        if body["kind"] == "ClusterRole" and body["metadata"]["name"] in bound
    ]

    assert bound == {"fate-lifecycle-manager-agent", "fate-lifecycle-manager-installer"}
    for rule in (rule for body in wide for rule in rules_of(body)):
        assert not {"secrets", "*"} & {*rule["resources"], *rule["apiGroups"], *rule["verbs"]}
        if {"bind", "escalate", "impersonate"} & set(rule["verbs"]):
            assert rule["resourceNames"]


def test_one_namespace_means_no_cluster_wide_rule_at_all():
    bodies = documents("agent-role-namespaced.yaml")

    assert {body["kind"] for body in bodies} == {"ServiceAccount", "Role", "RoleBinding"}
    elsewhere = [body for body in bodies if body["metadata"]["namespace"] != "kube-fate"]
    rules = [rule for body in elsewhere for rule in rules_of(body)]
    assert rules == [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}]


def test_the_identity_is_one_secret_by_name_in_the_agents_own_namespace():
    bodies = documents("agent-role.yaml")
    role = next(body for body in bodies if body["metadata"]["name"].endswith("-identity"))

    assert (role["kind"], role["metadata"]["namespace"]) == ("Role", "fate-lifecycle-manager")
    named, made = rules_of(role)
    assert (named["resourceNames"], named["verbs"]) == (["fedagent-identity"], ["get", "update"])
    assert made["verbs"] == ["create"]
    assert {verb for rule in (named, made) for verb in rule["verbs"]} == {"get", "update", "create"}
    alone = documents("agent-role-namespaced.yaml")
    updates = [rule for body in alone for rule in rules_of(body) if "update" in rule["verbs"]]
    assert [rule["resourceNames"] for rule in updates] == [["fedagent-identity"]]
