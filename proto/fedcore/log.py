"""One log set-up for every process: JSON in service, colours on a terminal, secrets masked."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

_SECRET_NAMES: Final = re.compile(
    r"token|password|passphrase|secret_value|authorization|private_key|api_key|credential",
    re.IGNORECASE,
)
_SECRET_VALUES: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bflm_[a-z]+_[A-Za-z0-9_-]{20,}"
)
_MASK: Final = "***"


def mask_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace values that bear a secret's name or look like one; ``*_id``, ``*_name`` stay."""
    for name, value in event.items():
        if isinstance(value, str) and (
            (_SECRET_NAMES.search(name) and not name.endswith(("_id", "_name")))
            or _SECRET_VALUES.search(value)
        ):
            event[name] = _MASK
    return event


def configure(*, level: str = "info", json: bool | None = None) -> None:
    """Set structlog up for the process; called once, by ``run`` or ``cli``.

    ``json=None`` means JSON unless standard error is a terminal. Logs go to standard error.
    """
    as_json = json if json is not None else not sys.stderr.isatty()
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            mask_secrets,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
