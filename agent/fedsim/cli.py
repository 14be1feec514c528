"""The command line of the simulated site: ``fedsim kube`` and ``fedsim kubefate``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

import typer

_COMMANDS: Final = {"kube": "fedsim.kube.serve", "kubefate": "fedsim.kubefate.serve"}


def main() -> None:
    """Run the command line."""
    application(sys.argv[1:])()


def application(arguments: Sequence[str]) -> typer.Typer:
    """Return the command line, which imports only the program that the arguments name.

    They share nothing, and a machine that plays several sites starts them by the dozen.
    """
    app = typer.Typer(name="fedsim", no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_about)
    chosen = [name for name in arguments[:1] if name in _COMMANDS]
    for name in chosen or _COMMANDS:
        app.command(name)(importlib.import_module(_COMMANDS[name]).command)
    return app


def _about() -> None:
    """Play a site: a small Kubernetes API server, and the KubeFATE service on any."""
