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
    assert policy.telemetry.log_lines is Telemetry.OFF
    assert "kube-fate" in policy.namespaces


@pytest.mark.parametrize(
    "text", ["namespaces: [", "colour: red", "telemetry: {inventory: maybe}", "a: &x [*x]"]
)
def test_a_policy_that_cannot_be_read_is_named(tmp_path, text):
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(Invalid, match=r"policy\.yaml"):
        load_policy(file)


def test_a_policy_that_is_too_large_is_refused(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text("#" * 300_000)
    with pytest.raises(Invalid):
        load_policy(file)
