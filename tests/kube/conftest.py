from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.controlplane import ControlPlane, running_control_plane


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def control_plane() -> AsyncIterator[ControlPlane]:
    """One cluster for the whole session: every test takes a namespace of its own in it."""
    async with running_control_plane() as cluster:
        yield cluster


@pytest.fixture
def fresh_name(request: pytest.FixtureRequest) -> str:
    """A name that no other test takes: namespaces are not given back within a session."""
    text = request.node.name.lower().replace("_", "-")
    return "".join(c for c in text if c.isalnum() or c == "-")[-50:].strip("-")
