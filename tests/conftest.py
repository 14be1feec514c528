"""What tests of several components share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.controlplane import Planes


@pytest.fixture(scope="session")
def planes() -> Iterator[Planes]:
    """Real control planes for the whole session; nothing runs until one is asked for."""
    planes = Planes()
    yield planes
    planes.stop()
