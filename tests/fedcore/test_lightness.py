"""What importing a pure package may not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

CHECK = """
import importlib, sys
importlib.import_module(sys.argv[1])
loaded = {name.partition(".")[0] for name in sys.modules}
print(*sorted(loaded & {"grpc", "aiohttp", "sqlalchemy", "google", "kubernetes", "aiosqlite"}))
"""


@pytest.mark.parametrize(
    "module",
    [
        "fedca.authority",
        "fedca.names",
        "fedcore.errors",
        "fedcore.http",
        "fedcore.tasks",
        "fedagent.domain.plan",
    ],
)
def test_a_package_without_transport_and_sql_loads_none(module: str) -> None:
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", CHECK, module], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == ""
