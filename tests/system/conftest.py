from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from tests.support.postgres import postgres_cluster

from fedcore.log import mask_secrets

__all__ = ["postgres_cluster"]


@pytest.fixture(scope="session", autouse=True)
def system_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Everything that the components log, at every level, as they would write it."""
    path = tmp_path_factory.mktemp("log") / "system.log"
    with path.open("w", buffering=1) as file:
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                mask_secrets,
                structlog.processors.format_exc_info,
                structlog.processors.KeyValueRenderer(
                    key_order=["timestamp", "level", "event"], drop_missing=True
                ),
            ],
            logger_factory=structlog.PrintLoggerFactory(file),
            cache_logger_on_first_use=False,
        )
        yield path
        structlog.reset_defaults()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the end of the components' log beside a failure."""
    outcome = yield
    report = outcome.get_result()
    path = item.funcargs.get("system_log") if isinstance(item, pytest.Function) else None
    if report.when == "call" and report.failed and path is not None:
        tail = path.read_text(errors="replace").splitlines()[-80:]
        report.sections.append(("components' log", "\n".join(line[:400] for line in tail)))


@pytest.fixture(autouse=True)
def no_lost_tasks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test that leaves a task behind, or an error that nobody looked at."""
    yield
    gc.collect()
    lost = [row.getMessage() for row in caplog.get_records("call") if row.name == "asyncio"]
    lost += [row.getMessage() for row in caplog.records if row.name == "asyncio"]
    assert not [text for text in lost if "destroyed" in text or "never retrieved" in text]
