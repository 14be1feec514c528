from __future__ import annotations

from pathlib import Path

import typer.main

from fedctl import cli
from fedctl.errors import ExitCode
from fedctl.resources import KINDS
from fedctl.schema import find_key

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_on_the_file_has_every_key_with_its_default(openapi):
    page = (DOCS / "federation-file.md").read_text()
    federation = find_key(openapi, "federation")
    for section in (
        federation,
        *(key for key in federation.keys if key.name in {"exchange", "parties"}),
    ):
        for below in section.keys:
            leaves = [f"{below.name}.{leaf.name}" for leaf in below.keys]
            if below.name in {"exchange", "parties"} or not leaves:
                leaves = [below.name]
            for leaf in leaves:
                row = next(line for line in page.splitlines() if line.startswith(f"| `{leaf}` |"))
                if below.is_required:
                    assert "required" in row
                elif isinstance(below.default, str):
                    assert f"`{below.default}`" in row


def test_the_page_on_the_command_has_every_command_and_kind():
    page = (DOCS / "fedctl.md").read_text()
    command = typer.main.get_command(cli.build())
    for name in command.commands:
        assert f"`{name}" in page, name
    for kind in KINDS:
        assert f"`{kind.plural}`" in page
        for short in kind.short[:1]:
            assert f"`{short}`" in page


def test_the_page_on_the_command_has_every_exit_code():
    rows = [
        line.split("|")[1].strip()
        for line in (DOCS / "fedctl.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    assert {str(code.value) for code in ExitCode} <= set(rows)
