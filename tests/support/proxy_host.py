"""Where the proxies run: in namespaces of their own, or beside everything else on loopback.

*Namespaces* (way A; root): ports 443 and 9300, the paths of the charts' mounts and the nodes' own
addresses stay as they are, nothing can leave the machine, and all ends with the first process.
*Loopback* (way B; any user): the same files unchanged, but Traffic Server's records are overridden
by its environment for ports and paths, and nodes live in 127.64.0.0/16.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from tests.support.patience import patient
from tests.support.processes import Process, free_ports

NAMESPACE_SCRIPT: Final = Path(__file__).with_name("namespace")
NETWORK: Final = "192.168"
_CLONE_NEWNET: Final = 0x40000000
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Address = tuple[str, int]


class ProxyHost(Protocol):
    """A place for the proxies. ``ats`` and ``nginx`` are the addresses of their pods."""

    ats: Address
    nginx: Address
    network: str
    """The first two bytes of the addresses that its nodes have in tests that may choose them."""

    def host_path(self, path: str) -> Path:
        """Return where the test sees what the proxies call ``path``."""

    def pod_path(self, path: str) -> str:
        """Return what the proxies call the chart's ``path``."""

    def inside(self, *argv: str) -> tuple[str, ...]:
        """Return the command that runs ``argv`` among the proxies."""

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of Traffic Server's programs."""

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """Have this thread's new sockets reach the nodes; only on the thread that runs the test."""


class NoNamespaceError(RuntimeError):
    """This machine gives us no namespaces; the text says what it said."""


@dataclass(slots=True)
class Namespaces:
    """Way A. ``addresses`` are those of all nodes; what is not there cannot be reached."""

    holder: Process
    pid: str = ""
    ats: Address = ("127.0.0.1", 443)
    nginx: Address = ("127.0.0.1", 9300)
    network: str = NETWORK

    @classmethod
    def make(cls, folder: Path, addresses: Iterable[str]) -> Namespaces:
        """Start the first process and wait until its mounts are there."""
        wanted = sorted({each for each in addresses if not each.startswith("127.")})
        argv = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child")
        holder = Process(
            "namespace",
            (*argv, str(NAMESPACE_SCRIPT), *wanted),
            folder / "namespace.log",
            {"PATH": _PATH},
        )
        made = cls(holder)
        holder.spawn()
        try:
            made.pid = made._ready()
        except BaseException:
            holder.kill()
            raise
        return made

    def _ready(self) -> str:
        limit = time.monotonic() + patient()
        while time.monotonic() < limit:
            said = self.holder.log.read_text()
            if said.endswith("\n") and "ready " in said:
                return said.rsplit("ready ", 1)[1].strip()
            if self.holder.child is None or self.holder.child.poll() is not None:
                raise NoNamespaceError(said.strip())
            time.sleep(0.005)
        raise NoNamespaceError("the namespaces' first process did not get ready")

    def host_path(self, path: str) -> Path:
        return Path(f"/proc/{self.pid}/root{path}")

    def pod_path(self, path: str) -> str:
        return path

    def inside(self, *argv: str) -> tuple[str, ...]:
        enter = ("nsenter", "--target", self.pid, "--mount", "--net", "--pid", "--")
        return (*enter, "setpriv", "--pdeathsig", "KILL", "--", *argv)

    @property
    def env(self) -> Mapping[str, str]:
        # Debian's build would run as root, and then refuses to serve.
        return {"PATH": _PATH, "PROXY_CONFIG_ADMIN_USER_ID": "trafficserver"}

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            _set_network(there)
            yield
        finally:
            _set_network(home)
            os.close(home)
            os.close(there)

    def close(self) -> None:
        """End everything that runs inside: the kernel does, with the first process."""
        child = self.holder.child
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.kill(int(self.pid), signal.SIGKILL)
            if child is not None:
                child.wait(timeout=patient())
        self.holder.kill()


@dataclass(slots=True)
class Loopback:
    """Way B."""

    folder: Path
    ats: Address
    nginx: Address
    network: str = "127.64"

    @classmethod
    def make(cls) -> Loopback:
        """Lay out the folders that the programs want; nginx's workers must be able to read them."""
        folder = Path(tempfile.mkdtemp(prefix="dataplane-"))
        folder.chmod(0o755)
        https, http = free_ports(2)
        made = cls(folder, ("127.0.0.1", https), ("127.0.0.1", http))
        for path in ("/opt/proxy", "/opt/nginx", "/run", "/log", "/cache", "/data"):
            made.host_path(path).mkdir(parents=True)
        config = made.host_path("/etc/trafficserver")
        shutil.copytree("/etc/trafficserver", config)
        (config / "storage.config").write_text("")
        (folder / "runroot.yaml").write_text(_runroot(folder))
        return made

    def host_path(self, path: str) -> Path:
        return self.folder / path.removeprefix("/")

    def pod_path(self, path: str) -> str:
        return str(self.host_path(path))

    def inside(self, *argv: str) -> tuple[str, ...]:
        return argv

    @property
    def env(self) -> Mapping[str, str]:
        proxy = self.pod_path("/opt/proxy")
        plain = free_ports(1)[0]
        ports = f"{plain}:ip-in=127.0.0.1 {self.ats[1]}:ssl:ip-in=127.0.0.1"
        return {
            "PATH": _PATH,
            "TS_RUNROOT": str(self.folder),
            "PROXY_CONFIG_HTTP_SERVER_PORTS": ports,
            "PROXY_CONFIG_SSL_SERVER_CERT_PATH": proxy,
            "PROXY_CONFIG_SSL_SERVER_PRIVATE_KEY_PATH": self.pod_path("/etc/trafficserver"),
            "PROXY_CONFIG_SSL_CA_CERT_PATH": proxy,
            "PROXY_CONFIG_ADMIN_USER_ID": "#-1",  # stay who we are, root too
            "PROXY_CONFIG_CRASH_LOG_HELPER": "NULL",
        }

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        yield

    def close(self) -> None:
        """Remove the folders."""
        shutil.rmtree(self.folder)


def _runroot(folder: Path) -> str:
    places = {
        "prefix": folder,
        "exec_prefix": folder,
        "bindir": "/usr/bin",
        "sbindir": "/usr/sbin",
        "sysconfdir": folder / "etc/trafficserver",
        "datadir": folder / "data",
        "includedir": folder / "data",
        "libdir": folder / "data",
        "libexecdir": "/usr/lib/trafficserver/modules",
        "localstatedir": folder,
        "runtimedir": folder / "run",
        "logdir": folder / "log",
        "cachedir": folder / "cache",
    }
    return "".join(f"{name}: {place}\n" for name, place in places.items())


def _set_network(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
