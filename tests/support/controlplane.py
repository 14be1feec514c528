"""Run a real Kubernetes control plane, as ordinary processes, for as long as a test needs it.

etcd, kube-apiserver, kube-controller-manager and kube-scheduler are the real ones; kwok stands in
for the kubelets (`support/kwok.py`). `tests/controlplane/build` makes the binaries. Start one from
the main thread (`support/processes.py` says why). It takes about 5 s and 480 MB.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.support.kubeapi import KubeApi, conditions, kubeconfig
from tests.support.kwok import Kwok
from tests.support.patience import time_limit, until
from tests.support.processes import Process, free_ports

Json = dict[str, Any]

SOURCE: Final = Path(__file__).parents[1] / "controlplane"
API_PROGRAMS: Final = ("etcd", "kube-apiserver")
PROGRAMS: Final = (*API_PROGRAMS, "kube-controller-manager", "kube-scheduler", "kwok")
POLL_S: Final = 0.05


def find_binaries(*, api_only: bool = False) -> Path | None:
    """Return the folder of the programs, or None where they were never built.

    `KUBEBUILDER_ASSETS` (the convention of envtest: etcd and kube-apiserver) serves when only the
    API is wanted and our own build is absent.
    """
    where = subprocess.run(  # noqa: S603 - our own script
        [SOURCE / "build", "--where"], check=True, capture_output=True, text=True, timeout=30
    )
    folders = [Path(where.stdout.strip())]
    if api_only and "KUBEBUILDER_ASSETS" in os.environ:
        folders.append(Path(os.environ["KUBEBUILDER_ASSETS"]))
    wanted = API_PROGRAMS if api_only else PROGRAMS
    return next((f for f in folders if all((f / name).is_file() for name in wanted)), None)


def require_binaries(*, api_only: bool = False) -> Path:
    """Return the folder of the programs, or skip and name the command that provides them."""
    folder = find_binaries(api_only=api_only)
    if folder is None or shutil.which("setpriv") is None:
        pytest.skip(
            "the real Kubernetes control plane is not built: run `make controlplane` "
            "(needs Go and util-linux; about seven minutes, once)"
        )
    return folder


@asynccontextmanager
async def running_control_plane(
    *,
    nodes: Sequence[str] = ("node-1",),
    api_only: bool = False,
    node_ip: str = "127.0.0.1",
    watch_cache: bool = True,
) -> AsyncIterator[ControlPlane]:
    """Start a control plane, give it, and leave nothing behind. Skip where it cannot be had.

    `api_only` starts etcd and the API server alone: objects, watches and RBAC, but no controllers.
    """
    binaries = require_binaries(api_only=api_only)
    cluster = ControlPlane(
        binaries, nodes=nodes, api_only=api_only, node_ip=node_ip, watch_cache=watch_cache
    )
    try:
        await cluster.start()
        yield cluster
    finally:
        cluster.stop()


class ControlPlane:
    """One Kubernetes cluster. Several can run at once; all ports are chosen free.

    `api` and the file `kubeconfig` act as an administrator in system:masters. Scripts put into
    the folder `bin` are what `exec` finds first in every pod (see `Kwok.allow_exec`). `node_ip`
    (of 127.0.0.0/8) is the address of its nodes, so that two clusters are told apart by it. Without
    `watch_cache` the API server remembers no more than etcd does, see `compact`.
    """

    def __init__(
        self,
        binaries: Path,
        *,
        nodes: Sequence[str] = ("node-1",),
        api_only: bool = False,
        node_ip: str = "127.0.0.1",
        watch_cache: bool = True,
    ) -> None:
        self._binaries = binaries
        self._watch_cache = watch_cache
        self._nodes = tuple(nodes)
        self._api_only = api_only
        self.folder = Path(tempfile.mkdtemp(prefix="controlplane-"))
        self.bin = self.folder / "bin"
        self.kubeconfig = self.folder / "kubeconfig"
        self.processes: dict[str, Process] = {}
        self._etcd_port, self._peer_port, self._api_port, kubelet_port = free_ports(4)
        # The server makes this certificate at its first start.
        certificate = self.folder / "cert" / "apiserver.crt"
        self.api = KubeApi(f"https://127.0.0.1:{self._api_port}", "administrator", certificate)
        self.node_ip = node_ip
        self.kwok = Kwok(self.api, kubelet_port, node_ip)

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return self.api.url

    @property
    def token(self) -> str:
        """The administrator's bearer token."""
        return self.api.token

    async def start(self) -> None:
        """Start everything and return when a pod could run.

        Raises ProcessEndedError when a program ends early, TimeoutError when one takes too long.
        """
        self._write_files()
        self._spawn("etcd", *self._etcd_flags())
        self._spawn("kube-apiserver", *self._apiserver_flags())
        await self.wait_ready()
        if self._api_only:
            return
        config = f"--kubeconfig={self.kubeconfig}"
        quick = ("--kube-api-qps=500", "--kube-api-burst=500")
        alone = ("--leader-elect=false", "--secure-port=0")
        key = f"--service-account-private-key-file={self.folder / 'sa.key'}"
        root = f"--root-ca-file={self.api.ca}"
        self._spawn("kube-controller-manager", config, *alone, *quick, key, root)
        self._spawn("kube-scheduler", config, *alone, *quick)
        await self.kwok.prepare(SOURCE / "stages")
        self._spawn("kwok", config, *self.kwok.flags())
        for node in self._nodes:
            await self.api.create_node(node)
        for node in self._nodes:
            await self.api.wait(f"/api/v1/nodes/{node}", node_is_ready)
        await self.api.wait("/api/v1/namespaces/default/serviceaccounts/default")

    def stop(self) -> None:
        """Kill every process and remove the folder. Harmless when called twice."""
        for process in reversed(self.processes.values()):
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self, name: str) -> None:
        """Kill one program of `PROGRAMS` where it stands (SIGKILL)."""
        self.processes[name].kill()

    def pause(self, name: str) -> None:
        """Freeze one program: its port accepts and nothing answers."""
        self.processes[name].signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a frozen program go on."""
        self.processes[name].signal(signal.SIGCONT)

    async def restart(self, name: str) -> None:
        """Start a program again, same port and data; return when the API answers."""
        self.processes[name].kill()
        self.processes[name].spawn()
        await self.wait_ready()

    async def wait_ready(self) -> None:
        """Return when the API server says that it is ready."""

        async def is_ready() -> bool:
            for process in self.processes.values():
                process.check()
            return await self.api.is_ready()

        await until(is_ready, "the API server is ready")

    async def compact(self) -> None:
        """Have etcd forget its history, as the API server orders it every five minutes."""
        answer = await self._ask_etcd("range", {"key": base64.b64encode(b"/").decode()})
        revision = answer["header"]["revision"]
        await self._ask_etcd("compaction", {"revision": revision, "physical": True})

    async def _ask_etcd(self, verb: str, body: Json) -> Json:
        url = f"http://127.0.0.1:{self._etcd_port}/v3/kv/{verb}"
        async with (
            time_limit(),
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.post(url, json=body) as response,
        ):
            found: Json = await response.json()
            return found

    async def create_service_account(
        self, name: str, *, namespace: str, rules: Sequence[Json], cluster_wide: bool = False
    ) -> Path:
        """Create a ServiceAccount that may do what `rules` say and return its kubeconfig file."""
        token = await self.api.create_service_account(
            name, namespace=namespace, rules=rules, cluster_wide=cluster_wide
        )
        path = self.folder / f"{namespace}.{name}.kubeconfig"
        self._write_kubeconfig(path, KubeApi(self.url, token, self.api.ca))
        return path

    def _spawn(self, name: str, *flags: str) -> None:
        path = f"{self.bin}{os.pathsep}{os.environ.get('PATH', '')}"
        log = self.folder / f"{name}.log"
        argv = (str(self._binaries / name), *flags)
        process = self.processes[name] = Process(name, argv, log, os.environ | {"PATH": path})
        process.spawn()

    def _etcd_flags(self) -> list[str]:
        client = f"http://127.0.0.1:{self._etcd_port}"
        peer = f"http://127.0.0.1:{self._peer_port}"
        return [
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def _apiserver_flags(self) -> list[str]:
        key = self.folder / "sa.key"
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._api_port}",
            f"--cert-dir={self.api.ca.parent}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={key}",
            f"--service-account-key-file={key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            f"--watch-cache={str(self._watch_cache).lower()}",
            "--authorization-mode=Node,RBAC",
            # The reconciler refuses loopback, and nobody here uses the Service `kubernetes`.
            "--endpoint-reconciler-type=none",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def _write_files(self) -> None:
        self.bin.mkdir()
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        (self.folder / "sa.key").write_bytes(key)
        (self.folder / "tokens.csv").write_text(f'{self.token},admin,admin,"system:masters"\n')
        self._write_kubeconfig(self.kubeconfig, self.api)

    def _write_kubeconfig(self, path: Path, api: KubeApi) -> None:
        path.touch(mode=0o600)
        path.write_text(kubeconfig(api))


def node_is_ready(node: Json) -> bool:
    """Say whether a node is Ready and free of the taints that a new one bears."""
    return conditions(node).get("Ready") == "True" and not node["spec"].get("taints")


class Planes:
    """The control planes of a test session: each is started when first asked for, and kept.

    They are numbered from 0, and tell each other apart by the address of their nodes.
    """

    def __init__(self) -> None:
        self._running: dict[int, ControlPlane] = {}

    async def get(self, number: int = 0) -> ControlPlane:
        """Return a running control plane; skip where it cannot be had."""
        if number not in self._running:
            cluster = ControlPlane(require_binaries(), node_ip=f"127.0.{10 + number}.1")
            try:
                await cluster.start()
            except BaseException:
                cluster.stop()
                raise
            self._running[number] = cluster
        return self._running[number]

    def stop(self) -> None:
        """Kill them all."""
        while self._running:
            self._running.popitem()[1].stop()
