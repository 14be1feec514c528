"""The Python part of ``deploy/quickstart``; run by that launcher in the project's environment."""

# ruff: noqa: INP001 - a program; deploy/ is no package

from __future__ import annotations

from firstrun.cli import main

if __name__ == "__main__":
    main()
