"""What tests of several components share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.support.controlplane import Planes
from tests.support.patience import patient

# gRPC reads this when it is imported, which conftest files below do. Its fork handlers, run beside
# its threads, kill a child before it becomes the program that a test starts.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Scale the time after which a test counts as hanging, as every other limit is scaled."""
    usual = float(config.getini("timeout"))
    for item in items:
        marker = item.get_closest_marker("timeout")
        limit_s = usual if marker is None else float(marker.args[0])
        item.add_marker(pytest.mark.timeout(patient(limit_s)), append=False)


@pytest.fixture(scope="session")
def planes() -> Iterator[Planes]:
    """Real control planes for the whole session; nothing runs until one is asked for."""
    planes = Planes()
    yield planes
    planes.stop()
