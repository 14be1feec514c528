"""Entry point of ``python -m fedctl.quickstart``, which ``deploy/quickstart`` starts."""

from __future__ import annotations

from fedctl.quickstart.cli import main

if __name__ == "__main__":
    main()
