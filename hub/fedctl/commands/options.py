"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from fedctl.durations import parse_duration
from fedctl.errors import CliError, ExitCode
from fedctl.render import Output

DEFAULT_WAIT: Final = "15m"
"""The first install of a party pulls gigabytes of images; most sites need less than that."""

OutputOption = Annotated[
    Output, typer.Option("-o", "--output", help="Form of the output.", show_default=True)
]
FileOption = Annotated[
    Path, typer.Option("-f", "--filename", help="File to read; - is standard input.")
]
TimeoutOption = Annotated[str, typer.Option("--timeout", help="How long to wait: 90s, 15m, 1h30m.")]
FederationFilter = Annotated[
    str | None, typer.Option("--federation", help="Only what belongs to this federation.")
]
SiteFilter = Annotated[str | None, typer.Option("--site", help="Only what is at this site.")]
ParticipantFilter = Annotated[
    str | None, typer.Option("--participant", help="Only of this participant: FEDERATION/KEY.")
]


def parse_timeout(timeout: str) -> float:
    """Read the value of ``--timeout`` in seconds; at least one."""
    seconds = parse_duration(timeout, "--timeout")
    if seconds < 1:
        raise CliError(ExitCode.USAGE, "--timeout must be a second or more")
    return float(seconds)
