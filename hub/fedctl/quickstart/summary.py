"""What the quickstart prints at its end: what runs, where, and what to do with it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from rich.text import Text

from fedcore.terminal_text import escape
from fedcore.words import ProbeState
from fedctl.client import Client, Json, path_of
from fedctl.errors import CliError, ExitCode
from fedctl.lookup import list_all
from fedctl.quickstart.paths import fedctl_command, short
from fedctl.quickstart.ports import LOOPBACK, Ports
from fedctl.quickstart.state_dir import StateDir
from fedctl.render import console, print_line, styled
from fedctl.resources import kind_of

_PROBED_TABLE: Final = "sni"
"""Traffic Server's: its entries can be probed by a TLS handshake. Nothing tells from outside where
nginx and Pulsar would send a call (``fedhub.services.routes`` has probes of this table alone)."""
_SENTINEL_PREFIX: Final = "sentinel."
"""Of the entry that leads nowhere and keeps the table from being empty (``fedhub.planner.routes``).
"""
_COLUMNS: Final = ("PARTICIPANT", "SITE", "PHASE", "NAMESPACE", "ADDRESSES")
_GAP: Final = "  "


async def print_federation(client: Client, federation: str) -> None:
    """Print the participants with their addresses, and how many routes work."""
    participants = await list_all(client, kind_of("participants"), {"federation": federation})
    details = [
        await client.get(path_of("participants", federation, participant["key"]))
        for participant in participants
    ]
    rows = [
        _row(participant, detail["addresses"])
        for participant, detail in zip(participants, details, strict=True)
    ]
    print_line()
    for line in participant_lines(rows, console().width):
        print_line(line)
    print_line()
    for sentence in route_summary(await read_routes(client, federation)):
        print_line(sentence)


async def read_routes(client: Client, federation: str) -> list[Json]:
    """Return the entries of every route table; none of a federation that is gone."""
    try:
        answer = await client.get(path_of("federations", federation, "routes"))
    except CliError as error:
        if error.code is ExitCode.NOT_FOUND:
            return []
        raise
    routes: list[Json] = answer["routes"]
    return routes


def all_reachable(routes: Sequence[Json]) -> bool:
    """Return whether every route that can be probed is reachable."""
    return all(route["probe"] == ProbeState.REACHABLE for route in routes if _can_be_probed(route))


def _can_be_probed(route: Json) -> bool:
    return route["table"] == _PROBED_TABLE and not route["key"].startswith(_SENTINEL_PREFIX)


def _row(participant: Json, addresses: Sequence[Json]) -> list[str]:
    cells = [escape(participant[key]) for key in ("name", "site", "phase", "namespace")]
    return [
        *cells,
        "\n".join(
            escape(f"{address['role']} {address['ip'] or address['host']}:{address['port']}")
            for address in addresses
        ),
    ]


def participant_lines(rows: Sequence[Sequence[str]], width: int) -> list[Text]:
    """Lay the rows out so that no name is cut or folded: people copy them.

    The last cell holds one address a line. In a narrow terminal the addresses stay so, and then
    the namespaces go; what is wider still is left to the terminal.
    """
    side_by_side = [[*row[:-1], row[-1].replace("\n", ", ")] for row in rows]
    without_namespace = [[*row[:3], row[4]] for row in rows]
    layouts = (
        _aligned([_COLUMNS, *side_by_side]),
        _aligned([_COLUMNS, *rows]),
        _aligned([(*_COLUMNS[:3], _COLUMNS[4]), *without_namespace]),
    )
    return next(
        (lines for lines in layouts if max(line.cell_len for line in lines) <= width), layouts[-1]
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[Text]:
    *_, count = (len(row) for row in rows)
    widths = [max(len(row[column]) for row in rows) for column in range(count - 1)]
    lines = []
    for row in rows:
        *cells, last_cell = row
        first_line, *more_lines = last_cell.split("\n")
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        line = Text(_GAP).join([*map(styled, padded), Text(first_line)])
        line.rstrip()
        indent = " " * sum(width + len(_GAP) for width in widths)
        lines += [line, *(Text(indent + more) for more in more_lines)]
    return lines


def route_summary(routes: Sequence[Json]) -> tuple[str, str]:
    """Say how many routes are deployed, and how many of those that can be probed work."""
    deployed = sum(1 for route in routes if route["deployed"])
    probed = [route for route in routes if _can_be_probed(route)]
    reachable = sum(1 for route in probed if route["probe"] == ProbeState.REACHABLE)
    return (
        f"{deployed} of {len(routes)} routes are in the sites' tables.",
        f"{reachable} of {len(probed)} routes that can be probed are reachable.",
    )


def print_next_steps(state_dir: StateDir, ports: Ports, federations: Sequence[str]) -> None:
    """Print the addresses, the next commands, and how to stop."""
    fedctl = fedctl_command()
    lines = [
        "",
        f"Hub    https://{LOOPBACK}:{ports.hub}  (API: /api/v1/openapi.json)",
        f"Logs   {short(state_dir.root / 'log')}",
        "",
        "Look around in another terminal:",
        f"  export FEDCTL_CONFIG={shlex.quote(str(state_dir.config))}",
        f"  {fedctl} get sites,participants,certificates,operations",
    ]
    for federation in federations[:1]:
        lines += [
            f"  {fedctl} routes {federation}",
            f"  {fedctl} describe federation {federation}",
        ]
    kubeconfig = short(state_dir.site(next(iter(ports.sites))) / "kubeconfig")
    lines += [
        f"  {fedctl} events --follow",
        f"  kubectl --kubeconfig {kubeconfig} get pods -A",
        "",
        "Ctrl-C stops everything; the next start goes on from here and applies nothing.",
    ]
    for line in lines:
        print_line(line)
