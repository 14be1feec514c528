"""The quickstart with the environment in place: from the command to every participant Ready."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from tests.bench.marks import Missing

__all__ = ["Missing", "measure"]
ROOT = Path(__file__).resolve().parents[2]


async def measure(folder: Path) -> dict[str, float]:
    """Run it once on a new state folder; its own exit code says whether it worked."""
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "deploy" / "quickstart"),
        "--exit-when-ready",
        "--state",
        str(folder / "state"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        sys.stdout.write(output.decode(errors="replace")[-2_000:])
        raise RuntimeError(f"the quickstart ended with {process.returncode}")
    return {"quickstart_s": time.monotonic() - started}
