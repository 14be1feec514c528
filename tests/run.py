"""Run the suite tier by tier: what can share a machine in parallel, then what needs it alone."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NO_TESTS = 5
"""pytest's exit code when a selection is empty."""
TIERS: dict[str, tuple[str, ...]] = {
    "fast": ("-m", "not kube and not dataplane and not slow", "-n", "2", "--dist", "loadfile"),
    "dataplane": ("-m", "dataplane and not slow"),
    "kube": ("-m", "kube and not slow"),
}
SLOW: dict[str, tuple[str, ...]] = {"slow": ("-m", "slow")}


def main() -> int:
    """Run every tier, also after one failed; say at the end which failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="every seed and the slow tiers")
    parser.add_argument("--tier", choices=[*TIERS, *SLOW], help="one tier only")
    parser.add_argument("rest", nargs="*", help="more arguments for pytest")
    given = parser.parse_args()
    tiers = {**TIERS, **SLOW} if given.full else TIERS
    if given.tier:
        tiers = {given.tier: {**TIERS, **SLOW}[given.tier]}
    environment = {**os.environ, "FED_TEST_FULL": "1" if given.full else ""}
    failed = []
    for name, arguments in tiers.items():
        started = time.monotonic()
        print(f"== {name} tier", flush=True)
        code = subprocess.run(  # noqa: S603 - our own arguments
            [sys.executable, "-m", "pytest", "tests", "-q", *arguments, *given.rest],
            cwd=ROOT,
            env=environment,
            check=False,
        ).returncode
        print(f"== {name} tier took {time.monotonic() - started:.0f} s", flush=True)
        if code not in {0, NO_TESTS}:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
