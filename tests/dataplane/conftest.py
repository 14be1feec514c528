"""Fixtures of the data plane's tests: a place for the proxies, an authority with ready keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.dataplane.federation import Bureau, KeyRing
from tests.dataplane.stage import NODE_IPS, namespaces_or_loopback
from tests.support.dataplane import absent_programs
from tests.support.proxy_host import ProxyHost


@pytest.fixture(scope="session")
def keys() -> KeyRing:
    return KeyRing()


@pytest.fixture
async def bureau(keys: KeyRing) -> Bureau:
    return await Bureau.open(keys)


@pytest.fixture
def programs() -> None:
    if absent := absent_programs():
        pytest.skip(absent)


@pytest.fixture
def proxy_host(programs: None, tmp_path: Path) -> Iterator[ProxyHost]:
    with namespaces_or_loopback(tmp_path, NODE_IPS) as made:
        yield made
