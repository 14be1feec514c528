"""Paths and programs as people type them."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path


def program(name: str) -> str:
    """Return the path of a program of this environment."""
    return str(Path(sys.prefix) / "bin" / name)


def fedctl_command() -> str:
    """Return how to call fedctl from the current folder."""
    return short(Path(program("fedctl")))


def short(path: Path) -> str:
    """Write a path relative to the current folder, if it is below that; quoted for a shell."""
    relative = os.path.relpath(path)
    return shlex.quote(relative if not relative.startswith("..") else str(path))
