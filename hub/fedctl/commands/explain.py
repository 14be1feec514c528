"""``explain``, ``ca``, ``version``: what the hub is and what it takes."""

from __future__ import annotations

import textwrap
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from fedctl.client import path_of
from fedctl.commands.session import OutputOption, run
from fedctl.render import Output, as_json, emit, say
from fedctl.schema import Key, explain, walk
from fedctl.text import clean

_DISTRIBUTION: Final = "fate-lifecycle-manager"
_WIDTH: Final = 88


def explain_command(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(help="KIND or KIND.key.key, as federation.parties.")],
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Every key below, without descriptions.")
    ] = False,
) -> None:
    """Explain the keys of a file, from the hub's own schema."""
    document = run(ctx, lambda client: client.get("/api/v1/openapi.json"))
    found, below = explain(document, path)
    say(Text(f"{path} ", style="bold") + Text(f"<{found.type}>", style="cyan"))
    _describe(found, "  ")
    if not below:
        return
    say()
    say("KEYS", style="bold")
    if recursive:
        for depth, key in walk(found):
            say(_headline(key, "  " * (depth + 1)))
        return
    for key in below:
        say(_headline(key, "  "))
        _describe(key, "      ")


def _headline(key: Key, indent: str) -> Text:
    must = " -required-" if key.is_required else ""
    return (
        Text(f"{indent}{clean(key.name)} ", style="bold")
        + Text(f"<{clean(key.type)}>", style="cyan")
        + Text(must, style="yellow")
    )


def _describe(key: Key, indent: str) -> None:
    for line in textwrap.wrap(clean(key.description), _WIDTH):
        say(f"{indent}{line}")
    facts = list(key.limits)
    if key.has_default and key.default not in (None, [], {}):
        facts.insert(0, f"default {as_json(key.default)}")
    if facts:
        say(f"{indent}{clean('; '.join(facts))}", style="dim")


def ca(
    ctx: typer.Context,
    *,
    pem: Annotated[bool, typer.Option("--pem", help="Print the roots as PEM.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the hub's CA: the fingerprint that agents pin, and the roots."""
    found = run(ctx, lambda client: client.get(path_of("ca")))
    if pem:
        say("\n".join(clean(line) for line in found["roots_pem"].splitlines()))
    elif not emit(output, found):
        say(f"Fingerprint:    {clean(found['fingerprint'])}")
        say(f"Trust version:  {clean(found['trust_version'])}")


def show_version(
    ctx: typer.Context,
    *,
    client: Annotated[
        bool, typer.Option("--client", help="Of this program only; asks no hub.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the version of this program and of the hub's API."""
    facts: dict[str, Any] = {"client": _own_version()}
    if not client:
        document = run(ctx, lambda hub: hub.get("/api/v1/openapi.json"))
        facts["api"] = document.get("info", {}).get("version")
    if emit(output, facts):
        return
    say(f"fedctl   {facts['client']}")
    if "api" in facts:
        say(f"hub API  {clean(facts['api'])}")


def _own_version() -> str:
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
