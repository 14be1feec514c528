"""``explain``, ``ca``, ``version``: what the hub is and which keys it takes."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from fedcore.terminal_text import escape
from fedcore.version import product_version
from fedctl.client import path_of
from fedctl.commands.invocation import run
from fedctl.commands.options import OutputOption
from fedctl.render import Output, as_json, emit, print_line
from fedctl.schema import Key, find_key, walk

_WIDTH: Final = 88


def explain(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(help="KIND or KIND.key.key, as federation.parties.")],
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Every key below, without descriptions.")
    ] = False,
) -> None:
    """Explain the keys of a file, from the hub's own schema."""
    document = run(ctx, lambda client: client.get("/api/v1/openapi.json"))
    key = find_key(document, path)
    print_line(Text(f"{path} ", style="bold") + Text(f"<{key.type}>", style="cyan"))
    _print_description(key, "  ")
    if not key.keys:
        return
    print_line()
    print_line("KEYS", style="bold")
    if recursive:
        for depth, child in walk(key):
            print_line(_headline(child, "  " * (depth + 1)))
        return
    for child in key.keys:
        print_line(_headline(child, "  "))
        _print_description(child, "      ")


def _headline(key: Key, indent: str) -> Text:
    required = " -required-" if key.is_required else ""
    return (
        Text(f"{indent}{escape(key.name)} ", style="bold")
        + Text(f"<{escape(key.type)}>", style="cyan")
        + Text(required, style="yellow")
    )


def _print_description(key: Key, indent: str) -> None:
    for line in textwrap.wrap(escape(key.description), _WIDTH):
        print_line(f"{indent}{line}")
    facts = list(key.limits)
    if key.has_default and key.default not in (None, [], {}):
        facts.insert(0, f"default {as_json(key.default)}")
    if facts:
        print_line(f"{indent}{escape('; '.join(facts))}", style="dim")


def ca(
    ctx: typer.Context,
    *,
    pem: Annotated[bool, typer.Option("--pem", help="Print the roots as PEM.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the hub's CA: the fingerprint that agents pin, and the roots."""
    authority = run(ctx, lambda client: client.get(path_of("ca")))
    if pem:
        print_line("\n".join(escape(line) for line in authority["roots_pem"].splitlines()))
    elif not emit(output, authority):
        print_line(f"Fingerprint:    {escape(authority['fingerprint'])}")
        print_line(f"Trust version:  {escape(authority['trust_version'])}")


def show_version(
    ctx: typer.Context,
    *,
    client: Annotated[
        bool, typer.Option("--client", help="Of this program only; asks no hub.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the version of this program and of the hub's API."""
    facts: dict[str, Any] = {"client": product_version()}
    if not client:
        document = run(ctx, lambda hub: hub.get("/api/v1/openapi.json"))
        facts["api"] = document.get("info", {}).get("version")
    if emit(output, facts):
        return
    print_line(f"fedctl   {facts['client']}")
    if "api" in facts:
        print_line(f"hub API  {escape(facts['api'])}")
