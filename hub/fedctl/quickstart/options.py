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
"""Each site is three processes of about 100 MB each."""
_LIMIT_S: Final = 180.0
_LIMIT_PER_FURTHER_SITE_S: Final = 20.0
"""A site takes about 8 s of CPU to its first Ready, on perhaps one core that is free."""
_MAX_PORT: Final = 65_535
_HUB_PORT_COUNT: Final = 3


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of the quickstart.

    ``site_count`` None means those of last time, or the first three. ``port`` None takes free
    ports. ``example`` None deploys no federation. ``is_stock_example``: the example is the one of
    this repository, to which parties at further sites are added. ``started_at`` is the Unix time
    at which the launcher began, None for now.
    """

    state: Path
    site_count: int | None
    port: int | None
    example: Path | None
    is_stock_example: bool
    exit_when_ready: bool
    limit_s: float
    started_at: float | None


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; ends the process with code 2 and a sentence where it is wrong."""
    parser = _parser()
    namespace = parser.parse_args(arguments)
    _check(parser, namespace)
    example = namespace.example or namespace.stock_example
    return Options(
        state=_expanded(parser, namespace.state),
        site_count=namespace.sites,
        port=namespace.port,
        example=None if namespace.no_example else example,
        is_stock_example=namespace.example is None,
        exit_when_ready=namespace.exit_when_ready,
        limit_s=namespace.limit or _default_limit_s(namespace.sites),
        started_at=namespace.started_at,
    )


def _expanded(parser: argparse.ArgumentParser, path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError:  # no home folder can be determined
        parser.error(f"--state {path}: there is no such user")


def _default_limit_s(site_count: int | None) -> float:
    further = max(0, (site_count or 0) - len(FIRST_SITES))
    return _LIMIT_S + _LIMIT_PER_FURTHER_SITE_S * further


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
        "--sites",
        type=int,
        metavar="N",
        help=f"how many sites, {len(FIRST_SITES)} to {MAX_SITES}, about 300 MB each: hq with the "
        "exchange, and one with a party of the example each (default: those of last time; "
        f"{len(FIRST_SITES)} at the first start); more than last time adds empty sites",
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
        help="federation that the first start deploys; later starts deploy nothing "
        "(default: deploy/examples/federation.yaml with a party at each further site)",
    )
    parser.add_argument("--no-example", action="store_true", help="deploy no federation")
    # What the launcher tells: its own file, and when it began.
    parser.add_argument("--stock-example", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--started-at", type=float, help=argparse.SUPPRESS)
    parser.add_argument(
        "--exit-when-ready",
        action="store_true",
        help="for scripts: stop everything once all is ready; the exit code says whether it was",
    )
    parser.add_argument(
        "--limit",
        type=float,
        metavar="SECONDS",
        help="how long the federation may take until it counts as failed "
        f"(default: {_LIMIT_S:.0f}, and {_LIMIT_PER_FURTHER_SITE_S:.0f} for each further site "
        "that --sites names)",
    )
    return parser


def _check(parser: argparse.ArgumentParser, namespace: argparse.Namespace) -> None:
    least = 1 if namespace.no_example else len(FIRST_SITES)
    if namespace.sites is not None and not least <= namespace.sites <= MAX_SITES:
        cure = "" if namespace.no_example else "; with --no-example fewer will do"
        parser.error(f"--sites must be {least} to {MAX_SITES}{cure}")
    if not (namespace.example or namespace.stock_example or namespace.no_example):
        parser.error("--example FILE or --no-example is needed")
    last_port = _MAX_PORT - _HUB_PORT_COUNT + 1
    if namespace.port is not None and not 1 <= namespace.port <= last_port:
        parser.error(f"--port must be 1 to {last_port}: the hub takes it and the two after it")
    if namespace.limit is not None and namespace.limit <= 0:
        parser.error("--limit must be more than 0 seconds")


def site_names(count: int) -> tuple[str, ...]:
    """Return the names of the sites: hq, alpha, beta, site-4, site-5, ..."""
    numbered = (f"site-{number}" for number in range(len(FIRST_SITES) + 1, count + 1))
    return (*FIRST_SITES, *numbered)[:count]
