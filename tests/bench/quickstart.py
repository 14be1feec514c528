"""The quickstart with the environment in place, and what its processes weigh when idle."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from pathlib import Path

from tests.bench.marks import Missing

__all__ = ["Missing", "measure"]
ROOT = Path(__file__).resolve().parents[2]
QUIET_S = 10.0


async def measure(folder: Path) -> dict[str, float]:
    """Run it on a new state folder, then once more to weigh an agent and the hub at rest."""
    await _run(folder, "--help")  # brings the environment to where it should be, if it is not
    started = time.monotonic()
    await _run(folder, "--exit-when-ready")
    first_s = time.monotonic() - started
    return {"quickstart_s": first_s, **await _weigh(folder)}


async def _run(folder: Path, *options: str) -> None:
    process = await _start(folder, *options)
    output, _ = await process.communicate()
    if process.returncode != 0:
        sys.stdout.write(output.decode(errors="replace")[-2_000:])
        raise RuntimeError(f"the quickstart ended with {process.returncode}")


async def _start(folder: Path, *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(ROOT / "deploy" / "quickstart"),
        *options,
        "--state",
        str(folder / "state"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def _weigh(folder: Path) -> dict[str, float]:
    process = await _start(folder)
    try:
        async with asyncio.timeout(120):
            while b"Ctrl-C" not in await _line(process):
                pass
        await asyncio.sleep(QUIET_S)
        weights = {
            "rss_hub_mb": _rss_mb(str(folder), "fedhub"),
            "rss_agent_mb": _rss_mb(str(folder), "fedagent"),
        }
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()
    return weights


async def _line(process: asyncio.subprocess.Process) -> bytes:
    if process.stdout is None:
        raise RuntimeError("the quickstart has no output")
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("the quickstart ended before it was ready")
    return line


def _rss_mb(folder: str, program: str) -> float:
    """Megabytes that the heaviest process of a program in this state folder holds."""
    weights = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
            status = (entry / "status").read_text()
        except OSError:
            continue
        if folder in command and program in command and "fedctl.quickstart" not in command:
            found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
            weights.append(int(found[1]) / 1024 if found else 0.0)
    return max(weights, default=0.0)
