"""Run a command that ends when its parent does, however the parent ends.

``die_with_parent.py PARENT_PID MODE COMMAND...``: a program of its own, without imports of ours,
so that it starts in milliseconds. ``exec`` asks the kernel (Linux) to kill the command when the
parent dies; ``watch`` stays beside the command and kills its group when standard input ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Read the arguments and become, or accompany, the command."""
    parent, mode, *command = sys.argv[1:]
    if mode == "exec":
        _become(int(parent), command)
    sys.exit(_accompany(command))


def _become(parent: int, command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit("the parent is gone")
    os.execvp(command[0], command)  # noqa: S606 - the purpose of this program; no shell


def _accompany(command: list[str]) -> int:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the command gets it, too, and decides
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - as above
    threading.Thread(target=_kill_at_end_of_input, daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


def _kill_at_end_of_input() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
