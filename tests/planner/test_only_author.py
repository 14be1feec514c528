"""Only ``services.planning`` stores desired documents, and only what the planner made."""

from __future__ import annotations

import ast
from pathlib import Path

import fedhub

ROOT = Path(fedhub.__file__).parent
WRITERS = {"put", "put_all"}
BUILDERS = {"PlannedDocument"}


def names(path: Path):
    """Yield what a module calls: (what is before the dot, name)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Attribute(value=ast.Name(id=owner), attr=name):
                    yield owner, name
                case ast.Name(id=name):
                    yield "", name


def callers(wanted) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if any(wanted(owner, name) for owner, name in names(path))
    }


def test_documents_are_stored_by_planning_alone():
    found = callers(lambda owner, name: owner == "documents" and name in WRITERS)
    assert found == {"services/planning.py"}


def test_nobody_takes_the_functions_out_of_their_module():
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "fedhub.store.documents":
                assert not WRITERS & {alias.name for alias in node.names}, path


def test_documents_are_made_by_the_planner_alone():
    made_by = callers(lambda _owner, name: name in BUILDERS)
    assert made_by
    assert all(path.startswith("planner/") for path in made_by)
