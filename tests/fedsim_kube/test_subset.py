"""The tables in the docstrings say what is simulated, and cannot drift from the code."""

from __future__ import annotations

import fedsim.kube
import fedsim.kubefate
from fedsim.kube.kinds import RESOURCES
from fedsim.kubefate import service


def rows_of(docstring: str | None, columns: int) -> list[tuple[str, ...]]:
    """Return the first cells of a table's rows; lines that go on with a row are left out."""
    lines = (docstring or "").splitlines()
    rules = [number for number, line in enumerate(lines) if line.startswith("====")]
    widths = [len(rule) + 1 for rule in lines[rules[0]].split()][:columns]
    rows = []
    for line in lines[rules[1] + 1 : rules[2]]:
        starts = [sum(widths[:index]) for index in range(columns)]
        cells = tuple(
            line[start : start + width].strip() for start, width in zip(starts, widths, strict=True)
        )
        rows += [cells] if cells[0] else []
    return rows


def test_the_table_of_kinds_is_the_registry() -> None:
    kinds = [name for (name,) in rows_of(fedsim.kube.__doc__, 1)]
    assert kinds == [resource.plural for resource in RESOURCES]


def test_the_table_of_routes_is_what_the_service_answers() -> None:
    stated = {
        f"{method} {path}"
        for methods, path in rows_of(fedsim.kubefate.__doc__, 2)
        for method in methods.split()
    }
    assert stated == {route.name for route in service._routes(None)}
