"""`tests/support` is a floor: tests stand on it, and it knows none of them."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_support_imports_no_test_module() -> None:
    wrong = {
        f"{path.name}: {name}"
        for path in (TESTS / "support").glob("*.py")
        for name in imported(path)
        if name.split(".")[0] in {"tests", "conftest"} and not name.startswith("tests.support.")
    }
    assert not wrong


def test_every_limit_of_a_test_follows_the_load_of_the_machine() -> None:
    wrong = {
        f"{path.relative_to(TESTS)}:{node.lineno}"
        for path in TESTS.rglob("*.py")
        if "bench" not in path.parts and path.name != "patience.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and is_fixed_limit(node)
    }
    assert not wrong, "use tests.support.patience: until, time_limit, patient"


def is_fixed_limit(call: ast.Call) -> bool:
    """Return whether a call bounds a wait by a number of seconds, or by itself."""
    match ast.unparse(call.func):
        case "asyncio.timeout":
            return True
        case "asyncio.wait_for":
            return isinstance(
                [*call.args, *(word.value for word in call.keywords)][1], ast.Constant
            )
    return False
