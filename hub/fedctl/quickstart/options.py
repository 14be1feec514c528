"""The options of the quickstart."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FIRST_SITES: Final = ("hq", "alpha", "beta")
"""The sites of the example federation."""
MAX_SITES: Final = 50
"""Each site is three processes of about 100 MB."""
_MAX_PORT: Final = 65_535
_HUB_PORT_COUNT: Final = 3


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of the quickstart.

    ``port`` None takes free ports; ``example`` None deploys no federation.
    """

    state: Path
    sites: tuple[str, ...]
    port: int | None
    example: Path | None
    exit_when_ready: bool
    limit_s: float


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; ends the process with code 2 and a sentence where it is wrong."""
    parser = _parser()
    namespace = parser.parse_args(arguments)
    _check(parser, namespace)
    return Options(
        state=namespace.state.expanduser().absolute(),
        sites=site_names(namespace.sites),
        port=namespace.port,
        example=None if namespace.no_example else namespace.example,
        exit_when_ready=namespace.exit_when_ready,
        limit_s=namespace.limit,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deploy/quickstart",
        description="Start a hub and simulated sites on this machine and deploy a federation.",
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(".quickstart"),
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
    parser.add_argument(
        "--example",
        type=Path,
        metavar="FILE",
        help="federation to deploy (default: deploy/examples/federation.yaml)",
    )
    parser.add_argument("--no-example", action="store_true", help="deploy no federation")
    parser.add_argument(
        "--exit-when-ready",
        action="store_true",
        help="for scripts: stop everything once all is ready; the exit code says whether it was",
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=180.0,
        metavar="SECONDS",
        help="how long the federation may take until it counts as failed (default: 180)",
    )
    return parser


def _check(parser: argparse.ArgumentParser, namespace: argparse.Namespace) -> None:
    least = 1 if namespace.no_example else len(FIRST_SITES)
    if not least <= namespace.sites <= MAX_SITES:
        cure = "" if namespace.no_example else "; with --no-example fewer will do"
        parser.error(f"--sites must be {least} to {MAX_SITES}{cure}")
    if namespace.example is None and not namespace.no_example:
        parser.error("--example FILE or --no-example is needed")
    last_port = _MAX_PORT - _HUB_PORT_COUNT + 1
    if namespace.port is not None and not 1 <= namespace.port <= last_port:
        parser.error(f"--port must be 1 to {last_port}: the hub takes it and the two after it")
    if namespace.limit <= 0:
        parser.error("--limit must be more than 0 seconds")


def site_names(count: int) -> tuple[str, ...]:
    """Return the names of the sites: hq, alpha, beta, site-4, site-5, ..."""
    numbered = (f"site-{number}" for number in range(len(FIRST_SITES) + 1, count + 1))
    return (*FIRST_SITES, *numbered)[:count]
