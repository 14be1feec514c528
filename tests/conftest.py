"""What tests of several components share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.support.controlplane import Planes

# gRPC reads this when it is imported, which conftest files below do. Its fork handlers, run beside
# its threads, kill a child before it becomes the program that a test starts.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"


@pytest.fixture(scope="session")
def planes() -> Iterator[Planes]:
    """Real control planes for the whole session; nothing runs until one is asked for."""
    planes = Planes()
    yield planes
    planes.stop()
