from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedagent.domain.policy import Telemetry
from fedagent.run import load_policy
from fedcore.errors import Invalid

DOCS = Path(__file__).resolve().parents[2] / "docs" / "site-trust.md"


def test_the_policy_that_the_documentation_prints_is_taken(tmp_path):
    (block,) = [
        text
        for text in re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
        if "telemetry" in text
    ]
    file = tmp_path / "policy.yaml"
    file.write_text(block)
    policy = load_policy(file)
    assert policy.telemetry.inventory is Telemetry.ON
    assert policy.telemetry.findings is Telemetry.ON
    assert "kube-fate" in policy.namespaces


@pytest.mark.parametrize(
    "text", ["namespaces: [", "colour: red", "telemetry: {inventory: maybe}", "a: &x [*x]"]
)
def test_a_policy_that_cannot_be_read_is_named(tmp_path, text):
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(Invalid, match=r"policy\.yaml"):
        load_policy(file)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("namespaces: [a]\nnamespaces: [b]", "2:1"),
        ("namespaces: &x [a]", "1:13"),
        ("telemetry:\n\tinventory: off", "2:1"),
        ("1: x", "1:1"),
    ],
)
def test_what_yaml_hides_in_a_policy_is_refused_with_its_position(tmp_path, text, position):
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(Invalid, match=rf"policy\.yaml:{position}: "):
        load_policy(file)


def test_off_is_a_word_of_the_policy_and_not_false(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text("telemetry: {inventory: off}")
    assert load_policy(file).telemetry.inventory is Telemetry.OFF


def test_a_policy_that_is_too_large_is_refused(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text("#" * 300_000)
    with pytest.raises(Invalid):
        load_policy(file)
