"""The example federation: made once, by the first start; no later start applies anything.

======================================  ==========================================================
the state folder and the hub            what a start does with the example
======================================  ==========================================================
nothing is noted, and no such name      it applies the example, and notes it
nothing is noted, the name is there     it notes the name: an apply was cut off before its note
nothing is noted, ``--no-example``      it notes that none is wanted
something is noted                      nothing: what the hub has, or has no more, is the user's
======================================  ==========================================================

The file that was applied is kept in the state folder: to apply it is the way back to the example.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from fedcore.files import write_private
from fedcore.terminal_text import escape
from fedctl.client import Client, path_of
from fedctl.errors import CliError, ExitCode
from fedctl.lookup import list_all
from fedctl.manifest import parse
from fedctl.quickstart.options import FIRST_SITES, Options
from fedctl.quickstart.state_dir import StateDir
from fedctl.resources import Json, kind_of

_FIRST_PARTY_ID: Final = 10_001
"""Of the first site that the example's file does not name; its own parties are 9999 and 10000."""


@dataclass(frozen=True, slots=True)
class ExampleNote:
    """What the first start did about the example.

    ``federation`` is empty where none was wanted. ``revision`` is 0 where it is not known.
    """

    federation: str = ""
    revision: int = 0


def read_note(path: Path) -> ExampleNote | None:
    """Return what is noted; None before the first start has come so far."""
    if not path.exists():
        return None
    try:
        return ExampleNote(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise CliError(
            ExitCode.USAGE,
            f"{path} cannot be read",
            hint=f"remove {path.parent} and start afresh",
        ) from error


def _write_note(path: Path, note: ExampleNote) -> ExampleNote:
    write_private(path, (json.dumps(asdict(note)) + "\n").encode())
    return note


async def settle_example(
    options: Options,
    state_dir: StateDir,
    client: Client,
    sites: Sequence[str],
    report: Callable[[str], None],
) -> ExampleNote:
    """Make the example if that is still to be done, and return the note.

    Raises CliError if the file cannot be read or the hub refuses it; the next start tries again.
    """
    note = read_note(state_dir.example_note)
    if note is not None:
        return note
    if options.example is None:
        return _write_note(state_dir.example_note, ExampleNote())
    content = await asyncio.to_thread(_read, options.example)
    if options.is_stock_example:
        content = with_party_at_each(content, sites)
    body = _federation_in(content, str(options.example))
    name = str(body.get("name", ""))
    write_private(state_dir.example, content)
    federations = await list_all(client, kind_of("federations"))
    if any(federation["name"] == name for federation in federations):
        return _write_note(state_dir.example_note, ExampleNote(name))
    report(f"Applying the example: federation {escape(name)}")
    # POST creates and nothing else: whoever made one of this name meanwhile keeps it.
    answer = (await client.request("POST", path_of("federations"), body=body)).body
    note = ExampleNote(name, int(answer["federation"]["revision"]))
    return _write_note(state_dir.example_note, note)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(
            ExitCode.USAGE, f"the example {path} cannot be read: {error.strerror}"
        ) from error


def _federation_in(content: bytes, source: str) -> Json:
    manifests = parse(content, source)
    if len(manifests) > 1:
        raise CliError(
            ExitCode.INVALID,
            f"{source} holds {len(manifests)} documents; an example is one federation",
            hint="start with --no-example and apply the file with fedctl",
        )
    return manifests[0].data


def with_party_at_each(content: bytes, sites: Sequence[str]) -> bytes:
    """Return the example of this repository with a party at every further site.

    Its list of parties is the end of the file, so that its comments can stay.
    """
    further = [site for site in sites if site not in FIRST_SITES]
    parties = (
        f"  - id: {party_id}\n    site: {site}\n    expose: NodePort\n"
        for party_id, site in enumerate(further, start=_FIRST_PARTY_ID)
    )
    return content + "".join(parties).encode()
