"""Run the suite tier by tier: what can share a machine in parallel, then what needs it alone."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NO_TESTS = 5
"""pytest's exit code when a selection is empty."""
SLOWEST_COUNT = 25
FAST: dict[str, tuple[str, ...]] = {
    "fast": ("-m", "not kube and not dataplane and not slow", "-n", "2", "--dist", "loadfile"),
    "dataplane": ("-m", "dataplane and not slow"),
    "kube": ("-m", "kube and not slow"),
}
SLOW: dict[str, tuple[str, ...]] = {"slow": ("-m", "slow")}
TIERS = FAST | SLOW


@dataclass(frozen=True, slots=True)
class TierResult:
    """How one tier ended."""

    name: str
    code: int
    wall_s: float
    cpu_s: float

    @property
    def has_passed(self) -> bool:
        """Return whether nothing failed; an empty selection fails nothing."""
        return self.code in {0, NO_TESTS}

    def __str__(self) -> str:
        verdict = "passed" if self.has_passed else f"FAILED (pytest ended with {self.code})"
        return f"{self.name:<10} {self.wall_s:5.0f} s, {self.cpu_s:5.0f} s of processor  {verdict}"


def main() -> int:
    """Run every tier, also after one failed; say at the end how each one ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="every seed and the slow tiers")
    parser.add_argument("--tier", choices=TIERS, help="one tier only")
    parser.add_argument("rest", nargs="*", help="more arguments for pytest")
    options = parser.parse_args()
    names = [options.tier] if options.tier else list(TIERS if options.full else FAST)
    environment = {**os.environ, "FED_TEST_FULL": "1" if options.full else ""}
    results = [run_tier(name, options.rest, environment) for name in names]
    print("\n".join(map(str, results)))
    return 0 if all(result.has_passed for result in results) else 1


def run_tier(name: str, rest: list[str], environment: dict[str, str]) -> TierResult:
    """Run one tier, with its slowest tests at the end."""
    print(f"== {name} tier", flush=True)
    begun_s, cpu_before = time.monotonic(), os.times()
    durations = (f"--durations={SLOWEST_COUNT}", "--durations-min=1")
    code = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "pytest", "tests", "-q", *durations, *TIERS[name], *rest],
        cwd=ROOT,
        env=environment,
        check=False,
    ).returncode
    cpu = os.times()
    cpu_s = cpu.children_user + cpu.children_system
    cpu_s -= cpu_before.children_user + cpu_before.children_system
    return TierResult(name, code, time.monotonic() - begun_s, cpu_s)


if __name__ == "__main__":
    sys.exit(main())
