"""The few programs that run in simulated containers."""

from __future__ import annotations

from collections.abc import Callable

from fedsim.faults import FaultName
from fedsim.kube.cluster import Cluster
from fedsim.kube.store import Json
from fedsim.kube.streams import Outcome

Reload = Callable[[Json], None]


class Programs:
    """Answers commands: the proxies' reloads, and ``cat`` of mounted files."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def run(self, pod: Json, container: str, command: list[str]) -> Outcome:
        """Run a command in a pod; 127 for programs that are not there."""
        command = _unwrapped(command)
        match command:
            case ["traffic_ctl", "config", "reload"] if _is_of(pod, "traffic-server-"):
                self._reload(pod)
                return Outcome()
            case ["nginx", "-s", "reload"] if _is_of(pod, "nginx-"):
                self._reload(pod)
                return Outcome()
            case ["cat", *paths] if paths:
                return self._cat(pod, container, paths)
            case ["echo", *words]:
                return Outcome(stdout=(" ".join(words) + "\n").encode())
            case ["true"]:
                return Outcome()
            case _:
                text = f"simulated container: {command[0] if command else ''}: not found\n"
                return Outcome(127, stderr=text.encode())

    def _reload(self, pod: Json) -> None:
        """Tell the proxy; the command succeeds whatever comes of it, as the real ones do."""
        workload = self._cluster.workload(pod)
        namespace = pod["metadata"]["namespace"]
        if not self._cluster.faults.hits(FaultName.RELOAD_LOST, workload, namespace):
            self._cluster.reload(pod)

    def _cat(self, pod: Json, container: str, paths: list[str]) -> Outcome:
        output, complaint = b"", ""
        for path in paths:
            content = self._cluster.mounts.read(pod, container, path)
            if content is None:
                complaint += f"cat: {path}: No such file or directory\n"
            else:
                output += content
        return Outcome(1 if complaint else 0, output, complaint.encode())


def _unwrapped(command: list[str]) -> list[str]:
    """Take the command out of ``sh -c``, when it is a plain one, and paths off programs."""
    match command:
        case [shell, "-c", text] if shell.rpartition("/")[2] in {"sh", "bash"}:
            command = text.split()
    if not command:
        return []
    return [command[0].rpartition("/")[2], *command[1:]]


def _is_of(pod: Json, prefix: str) -> bool:
    return str(pod["metadata"]["name"]).startswith(prefix)
