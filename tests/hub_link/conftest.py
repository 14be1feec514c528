from __future__ import annotations

import pytest
from tests.support.hub import make_hub_template, running_test_hub


@pytest.fixture(scope="session")
def hub_template(tmp_path_factory):
    return make_hub_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
async def lab(tmp_path, hub_template):
    async with running_test_hub(tmp_path, template=hub_template) as under_test:
        yield under_test
