"""The agent's waits: settable one by one, documented, and each above nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from fedagent.domain.timing import PlanTiming
from fedagent.settings import AgentSettings
from fedagent.timing import AgentTiming, markdown, waits

PAGE = Path(__file__).parents[2] / "docs" / "agent-timing.md"


def test_every_wait_is_documented_on_the_page() -> None:
    assert all(wait.text for wait in waits(AgentTiming())), "each field has a text below it"
    assert PAGE.read_text() == markdown() + "\n", "write it anew: fedagent timing > docs/..."


def test_a_wait_is_set_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDAGENT_TIMING__LINK__REDIAL__CAP_S", "120")
    monkeypatch.setenv("FEDAGENT_TIMING__KUBE__THROTTLE_COUNT", "6")
    monkeypatch.setenv("FEDAGENT_TIMING__PLAN__BACKOFF_S", "2, 4")
    timing = AgentSettings().timing
    assert timing.link.redial.cap_s == 120.0
    assert timing.link.redial.base_s == AgentTiming().link.redial.base_s
    assert timing.kube.throttle_count == 6
    assert timing.plan == PlanTiming(backoff_s=(2.0, 4.0))


def test_a_wait_is_set_by_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("[timing.kubefate]\nask_limit_s = 9\n[timing.link.redial]\ncap_s = 90\n")
    monkeypatch.setenv("FEDAGENT_CONFIG", str(file))
    timing = AgentSettings().timing
    assert (timing.kubefate.ask_limit_s, timing.link.redial.cap_s) == (9.0, 90.0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kube": {"request_limit": 3}}, "timing.kube.request_limit is no wait"),
        ({"kube": {"request_limit_s": 0}}, "timing.kube.request_limit_s must be a number above 0"),
        ({"kube": {"request_limit_s": "inf"}}, "timing.kube.request_limit_s must be a number"),
        ({"kube": {"request_limit_s": "soon"}}, "timing.kube.request_limit_s must be a number"),
        ({"kube": 3}, "timing.kube holds several waits"),
        ({"plan": {"backoff_s": [1, -1]}}, "timing.plan.backoff_s must be a number above 0"),
        (3, "timing holds waits by component"),
    ],
)
def test_what_is_no_wait_is_refused_and_named(changes: object, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        AgentSettings(timing=changes)


def test_a_hurried_agent_keeps_its_limits() -> None:
    timing = AgentTiming().scaled(6)
    assert timing.link.call_limit_s == AgentTiming().link.call_limit_s
    assert timing.link.redial.cap_s == 10.0
    assert timing.kube.watch.window_s == 5.0
