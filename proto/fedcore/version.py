"""The version of the product, from the metadata of the installed package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

_PACKAGE: Final = "fate-lifecycle-manager"


def product_version() -> str:
    """Return the installed version; ``unknown`` where the code runs without being installed."""
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return "unknown"
