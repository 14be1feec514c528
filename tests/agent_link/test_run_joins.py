"""``fedagent run --join``: one command for a site's first start and for every later one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedagent import cli

JOIN = ["run", "--join", "hub.example.com:8444", "--ca-fingerprint", "sha256:ab"]


@pytest.fixture
def did(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Note what would be done; the agent has joined where that was done once."""
    done: list[tuple[Any, ...]] = []

    async def has_joined(_settings: Any) -> bool:
        return any(step[0] == "join" for step in done)

    async def join(_settings: Any, hub: str, token: str, fingerprint: str) -> None:
        done.append(("join", hub, token, fingerprint))

    async def serve(_settings: Any, _ready_file: Path | None) -> None:
        done.append(("serve",))

    for name, made in (("has_joined", has_joined), ("join", join), ("serve", serve)):
        monkeypatch.setattr(cli.runner, name, made)
    monkeypatch.setattr(cli.log, "configure", lambda **_: None)
    return done


def test_the_first_start_joins_and_the_next_needs_no_token(
    did: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    where = ["--state", str(tmp_path)]
    first = CliRunner().invoke(cli.app, [*JOIN, *where], env={cli.TOKEN_VARIABLE: "tok"})
    again = CliRunner().invoke(cli.app, [*JOIN, *where], env={cli.TOKEN_VARIABLE: ""})
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert did == [("join", "hub.example.com:8444", "tok", "sha256:ab"), ("serve",), ("serve",)]


def test_without_a_token_the_first_start_ends_with_a_sentence(
    did: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    ended = CliRunner().invoke(
        cli.app, [*JOIN, "--state", str(tmp_path)], env={cli.TOKEN_VARIABLE: ""}
    )
    assert ended.exit_code == 2
    assert "FEDAGENT_TOKEN" in ended.output
    assert did == []


def test_without_the_option_nothing_is_joined(did: list[tuple[Any, ...]], tmp_path: Path) -> None:
    assert CliRunner().invoke(cli.app, ["run", "--state", str(tmp_path)]).exit_code == 0
    assert did == [("serve",)]
