"""What the quickstart is told."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FIRST_SITES: Final = ("hq", "alpha", "beta")
MAX_SITES: Final = 50
ROOT: Final = Path(__file__).resolve().parents[3]
EXAMPLE: Final = ROOT / "deploy" / "examples" / "federation.yaml"
_PORTS_AFTER: Final = 2


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of the quickstart. ``port`` None takes free ports."""

    state: Path
    sites: tuple[str, ...]
    port: int | None
    has_example: bool
    is_script: bool
    limit_s: float


def read(arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; ends the process with code 2 and a sentence where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="deploy/quickstart",
        description="Start a hub and simulated sites on this machine and deploy a federation.",
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=ROOT / ".quickstart",
        metavar="DIR",
        help="folder that keeps everything; used again by the next start (default: .quickstart)",
    )
    parser.add_argument(
        "--sites", type=int, default=len(FIRST_SITES), metavar="N", help="how many sites"
    )
    parser.add_argument(
        "--port",
        type=int,
        metavar="PORT",
        help="first of the hub's three ports in a row (default: free ones)",
    )
    parser.add_argument("--no-example", action="store_true", help="deploy no federation")
    parser.add_argument(
        "--exit-when-ready",
        action="store_true",
        help="for scripts: stop everything once all is ready; the exit code tells whether it was",
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=180.0,
        metavar="SECONDS",
        help="how long the federation may take until it counts as failed (default: 180)",
    )
    found = parser.parse_args(arguments)
    _check(parser, found)
    return Options(
        state=found.state.expanduser().absolute(),
        sites=site_names(found.sites),
        port=found.port,
        has_example=not found.no_example,
        is_script=found.exit_when_ready,
        limit_s=found.limit,
    )


def _check(parser: argparse.ArgumentParser, found: argparse.Namespace) -> None:
    least = 1 if found.no_example else len(FIRST_SITES)
    if not least <= found.sites <= MAX_SITES:
        cure = "" if found.no_example else "; with --no-example fewer will do"
        parser.error(f"--sites must be {least} to {MAX_SITES}{cure}")
    if found.port is not None and not 1 <= found.port <= 65_535 - _PORTS_AFTER:
        parser.error("--port must be 1 to 65533: the hub takes it and the two after it")
    if found.limit <= 0:
        parser.error("--limit must be more than 0 seconds")


def site_names(count: int) -> tuple[str, ...]:
    """Return the names of the sites: hq, alpha, beta, site-4, site-5, ..."""
    more = (f"site-{number}" for number in range(len(FIRST_SITES) + 1, count + 1))
    return (*FIRST_SITES, *more)[:count]
