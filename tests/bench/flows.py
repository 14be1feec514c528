"""Which modules three flows pass, traced in one process: `python -m tests.bench.flows [--list]`.

The flows are those that docs/architecture.md describes. The simulated sites and the tests are not
counted, nor is generated code. It is a reader's measure: how many files somebody opens who follows
a change from one end to the other.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.federation import Federation

from fedagent.kube.kinds import SERVICES
from fedagent.kube.objects import patch

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = tuple(
    str(ROOT / folder) + "/"
    for folder in ("hub/fedhub", "agent/fedagent", "ca/fedca", "web/fedweb", "proto")
)
NEW_PORT = 31999


class Trace:
    """The modules and functions of ours that ran."""

    def __init__(self) -> None:
        self.functions: set[tuple[str, str]] = set()

    @property
    def modules(self) -> list[str]:
        """Return the files, sorted, relative to the repository."""
        return sorted({file.removeprefix(f"{ROOT}/") for file, _ in self.functions})

    def note(self, frame: FrameType, event: str, _argument: Any) -> None:
        """Note a call; for `sys.setprofile`."""
        if event == "call":
            file = frame.f_code.co_filename
            if file.startswith(PACKAGES) and "_pb2" not in file:
                self.functions.add((file, frame.f_code.co_name))


@contextmanager
def traced() -> Iterator[Trace]:
    """Trace this thread, which runs hub and agents, while in the block."""
    trace = Trace()
    sys.setprofile(trace.note)
    try:
        yield trace
    finally:
        sys.setprofile(None)


async def apply_to_document(fed: Federation) -> None:
    """From the PUT of an intent to the first status of a participant; sessions opening beside."""
    await fed.apply(fed.intent())

    async def is_observed() -> bool:
        rows = await fed.participants()
        return any(row["observed_generation"] for row in rows.values())

    await fed.until(is_observed, "a status came back")


async def service_to_rest(fed: Federation) -> None:
    """From a changed node port of a Service to the address that REST shows."""
    kube = fed.places["alpha"].kube
    body = {"spec": {"ports": [{"name": "https-port", "port": 6651, "nodePort": NEW_PORT}]}}
    await patch(kube, SERVICES, "pulsar", body, namespace="fate-9999")

    async def is_shown() -> bool:
        addresses = (await fed.participant(9999))["addresses"]
        return any(row["port"] == NEW_PORT for row in addresses)

    await fed.until(is_shown, "the address is shown")


async def removal_to_gone(fed: Federation) -> None:
    """From an intent without a party to the party gone at the hub."""
    await fed.apply(fed.intent(parties=((10000, "beta"),)))
    await fed.wait_gone(9999)


FLOWS: dict[str, Callable[[Federation], Awaitable[None]]] = {
    "apply to document at the agent": apply_to_document,
    "changed Service to REST": service_to_rest,
    "removal to Gone": removal_to_gone,
}


async def measure() -> dict[str, Trace]:
    """Run the flows one after another on one federation of three simulated sites."""
    traces = {}
    with tempfile.TemporaryDirectory() as folder:
        async with Federation(Path(folder)) as fed:
            for name, flow in FLOWS.items():
                with traced() as traces[name]:
                    await flow(fed)
                await fed.wait_ready()
    return traces


def main() -> None:
    """Print the number of modules and functions of each flow, with `--list` the modules."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="name the modules")
    arguments = parser.parse_args()
    for name, trace in asyncio.run(measure()).items():
        print(f"{name}: {len(trace.modules)} modules, {len(trace.functions)} functions")
        if arguments.list:
            print("".join(f"  {module}\n" for module in trace.modules), end="")


if __name__ == "__main__":
    main()
