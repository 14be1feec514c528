"""Measure everything in one run: print a table, write build/bench.json; assert nothing.

`make bench`, or `python -m tests.bench planner hub` for some groups. A group whose part is missing
on this machine is left out, and says so.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.marks import MARKS, Figure, row

from fedcore import log

OUTPUT = Path(__file__).resolve().parents[2] / "build" / "bench.json"
GROUPS = ("planner", "hub", "site", "quickstart")
"""Modules of this package; each has ``async def measure(folder: Path) -> dict[str, float]``."""


async def run(groups: list[str]) -> list[Figure]:
    """Run the groups one after another: they share the machine's cores."""
    figures: list[Figure] = []
    for group in groups:
        started = time.monotonic()
        print(f"-- {group}", flush=True)
        module = importlib.import_module(f"tests.bench.{group}")
        with tempfile.TemporaryDirectory(prefix=f"bench-{group}-") as folder:
            try:
                measured = await module.measure(Path(folder))
            except module.Missing as missing:
                print(f"   left out: {missing}", flush=True)
                continue
        for name, value in measured.items():
            figures.append(row(name, value))
            print(f"   {figures[-1].line()}", flush=True)
        print(f"   ({time.monotonic() - started:.0f} s)", flush=True)
    return figures


def main() -> int:
    """Measure, write, and say which marks are missed."""
    log.configure(level="error")
    # As on a machine of people: a hub that compiles itself at each start is measured nowhere.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    groups = sys.argv[1:] or list(GROUPS)
    figures = asyncio.run(run(groups))
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps([figure.as_dict() for figure in figures], indent=1) + "\n")
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for figure in figures:
        print(figure.line())
    absent = [name for name in MARKS if name not in {figure.name for figure in figures}]
    if absent:
        print(f"not measured: {', '.join(absent)}")
    missed = [figure.name for figure in figures if not figure.ok]
    print(f"missed: {', '.join(missed)}" if missed else "every mark is met")
    return 0


if __name__ == "__main__":
    sys.exit(main())
