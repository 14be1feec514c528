"""The command line of the simulated site: ``fedsim kube`` and ``fedsim kubefate``."""

from __future__ import annotations

import typer

from fedsim.kube.serve import command as kube_command
from fedsim.kubefate.serve import command as kubefate_command

app = typer.Typer(
    name="fedsim",
    help="A simulated site: a small Kubernetes API server, and the KubeFATE service on any.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("kube")(kube_command)
app.command("kubefate")(kubefate_command)


def main() -> None:
    """Run the command line."""
    app()
