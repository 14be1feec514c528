"""What tests of several components share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.support.controlplane import Planes


def pytest_configure() -> None:
    """Keep gRPC out of forks: its handlers, run beside its threads, kill children before exec."""
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"


@pytest.fixture(scope="session")
def planes() -> Iterator[Planes]:
    """Real control planes for the whole session; nothing runs until one is asked for."""
    planes = Planes()
    yield planes
    planes.stop()
