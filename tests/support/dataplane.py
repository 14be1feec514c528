"""Run the real Traffic Server and the real nginx on the files of a deployed exchange.

The files are the ConfigMaps and the Secret as the cluster holds them, unchanged, mounted as the
charts' pods mount them (a folder is swapped by its ``..data`` link, as a kubelet does it). Traffic
Server is Debian's 9.2 and stands for the image's. nginx is Debian's with its lua module; FATE's own
scripts are on no package registry, so ``tests/dataplane/lua`` holds a small router of ours with the
same look-ups: header ``dest-party-id``, else ``dest-env``; then ``service``; an unknown party goes
to ``default.proxy``; the balancer takes IP literals alone; the table is read again every 5 s, and
what it lost is only forgotten by a reload.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.patience import patient, time_limit, until
from tests.support.processes import Process
from tests.support.proxy_host import Address, ProxyHost

Files = Mapping[str, str]
"""The ``data`` of a ConfigMap or a Secret, as the Kubernetes API gives it."""

INSTALL: Final = (
    "apt-get install -y --no-install-recommends trafficserver nginx libnginx-mod-http-lua "
    "libnginx-mod-stream"
)
LUA: Final = Path(__file__).parent.parent / "dataplane" / "lua"
MODULES: Final = ("ndk_http_module", "ngx_http_lua_module", "ngx_stream_module")
_MODULE_FOLDER: Final = Path("/usr/lib/nginx/modules")
TABLES: Final = {
    "traffic-server-sni": "/etc/trafficserver/sni",
    "nginx-config": "/opt/nginx/conf/modifiable",
}
"""Where the proxies' pods mount the ConfigMaps that change."""
SERVING_LIMIT_S: Final = 15.0
_POLL_S: Final = 0.02
_BY_ITSELF_POLLS: Final = 25
_POD_PORT: Final = 9300

_VHOST: Final = """\
client_body_temp_path {home}/temp/body;
proxy_temp_path {home}/temp/proxy;
fastcgi_temp_path {home}/temp/fastcgi;
uwsgi_temp_path {home}/temp/uwsgi;
scgi_temp_path {home}/temp/scgi;
server {{
    listen {listen};
    location / {{
        access_by_lua_file lua/router.lua;
        proxy_pass http://http_cluster;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class DeployedParty:
    """A party as its site holds it. The addresses are those at which the exchange reaches it."""

    id: int
    config_maps: Mapping[str, Files]
    secrets: Mapping[str, Files]
    pulsar: Address
    nginx: Address


@dataclass(frozen=True, slots=True)
class Deployed:
    """A federation as found at its sites: the exchange's objects by name, and its parties.

    ``ats`` and ``nginx`` are the addresses at which parties reach the exchange (its node ports).
    """

    config_maps: Mapping[str, Files]
    secrets: Mapping[str, Files]
    roots_pem: bytes
    parties: tuple[DeployedParty, ...]
    ats: Address
    nginx: Address

    def party(self, party_id: int) -> DeployedParty:
        """Return one party."""
        return next(each for each in self.parties if each.id == party_id)

    def ips(self) -> frozenset[str]:
        """Return every address that a node must have."""
        places = [self.ats, self.nginx]
        for party in self.parties:
            places += [party.pulsar, party.nginx]
        return frozenset(ip for ip, _ in places)


def absent_programs() -> str:
    """Name what this machine lacks and the command that provides it; empty when all is there."""
    programs = ["traffic_server", "traffic_manager", "traffic_ctl", "nginx", "setpriv"]
    absent = [each for each in programs if shutil.which(each) is None]
    absent += [name for name in MODULES if not (_MODULE_FOLDER / f"{name}.so").exists()]
    return f"absent: {', '.join(absent)}; get them by: {INSTALL}" if absent else ""


class NotServingError(RuntimeError):
    """Traffic Server runs and answers nobody. The text is what it wrote about itself."""


class Proxies:
    """The exchange's two proxies. ``is_managed``: Traffic Server under its manager, as in its pod.

    Only a managed one can be reloaded; alone, it serves after 0.1 s instead of 3 s.
    """

    def __init__(self, proxy_host: ProxyHost, folder: Path, *, is_managed: bool) -> None:
        self.proxy_host = proxy_host
        program = ("traffic_manager", "--nosyslog") if is_managed else ("traffic_server",)
        self.traffic_server = Process(
            program[0], proxy_host.inside(*program), folder / "traffic-server.log", proxy_host.env
        )
        self.nginx = Process(
            "nginx", self._nginx_command(), folder / "nginx.log", {"PATH": proxy_host.env["PATH"]}
        )

    def mount(self, config_maps: Mapping[str, Files], secrets: Mapping[str, Files]) -> None:
        """Write all files of pods that have yet to start."""
        host_path = self.proxy_host.host_path
        for name, text in config_maps["traffic-server-config"].items():
            (host_path("/etc/trafficserver") / name).write_text(text)
        for name, encoded in secrets["traffic-server-cert"].items():
            # As in the pod: records.config names this folder for the certificate, not for the key.
            for folder in ("/opt/proxy", "/etc/trafficserver"):
                (host_path(folder) / name).write_bytes(base64.b64decode(encoded))
        self.mount_nginx(config_maps["nginx-config"])
        swap(host_path("/etc/trafficserver/sni"), config_maps["traffic-server-sni"])

    def mount_nginx(self, files: Files) -> None:
        """Write the files of an nginx, an exchange's or a party's, that has yet to start."""
        home = self.proxy_host.host_path("/opt/nginx")
        for name in ("conf/modifiable", "conf/vhost", "logs", "temp"):
            (home / name).mkdir(parents=True, exist_ok=True)
        shutil.copytree(LUA, home / "lua", dirs_exist_ok=True)
        shutil.copy("/etc/nginx/mime.types", home / "conf")
        (home / "conf/nginx.conf").write_text(files["nginx.conf"])
        listen = ":".join(map(str, self.proxy_host.nginx))
        if self.proxy_host.nginx[1] == _POD_PORT:
            listen = str(_POD_PORT)
        vhost = _VHOST.format(home=self.proxy_host.pod_path("/opt/nginx"), listen=listen)
        (home / "conf/vhost/http.conf").write_text(vhost)
        swap(home / "conf/modifiable", files)

    def write(self, config_maps: Mapping[str, Files]) -> None:
        """Let changed tables arrive in the running pods. Nobody is told."""
        for name in TABLES:
            self.write_table(name, config_maps[name])

    def write_table(self, config_map: str, files: Files) -> None:
        """Let one ConfigMap of `TABLES` arrive."""
        swap(self.proxy_host.host_path(TABLES[config_map]), files)

    async def start(self) -> None:
        """Start both and wait until both serve."""
        await self.start_nginx()
        await self.start_traffic_server()

    async def start_nginx(self) -> None:
        """Start nginx and wait until it listens."""
        self.nginx.spawn()

        async def is_serving() -> bool:
            self.nginx.check()
            return await _accepts(self.proxy_host.nginx)

        await until(is_serving, "nginx listens")

    async def start_traffic_server(self) -> None:
        """Start Traffic Server and wait until it answers a handshake.

        Its manager accepts connections before anybody answers them, so a connection proves nothing.
        """
        self.traffic_server.spawn()
        try:
            async with time_limit(SERVING_LIMIT_S):
                while not await _answers(self.proxy_host.ats):
                    self.traffic_server.check()
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise NotServingError(self.diagnostics()) from None

    async def restart_traffic_server(self) -> None:
        """Do what a new pod does: all tunnels are cut."""
        await end(self.traffic_server)
        await self.start_traffic_server()

    def reload_traffic_server(self) -> None:
        """Run what the agent runs in the pod. It succeeds whatever comes of it, 3 to 7 s later."""
        self._run("traffic_ctl", "config", "reload")

    def reload_nginx(self) -> None:
        """Run what the agent runs in the pod."""
        self._run(*self._nginx_argv(), "-s", "reload")

    def diagnostics(self) -> str:
        """Return what Traffic Server wrote about itself."""
        folder = self.proxy_host.host_path("/var/log/trafficserver")
        logs = [
            folder / "diags.log",
            self.proxy_host.host_path("/log/diags.log"),
            self.traffic_server.log,
        ]
        return "".join(each.read_text(errors="replace") for each in logs if each.exists())

    async def has_refused_a_table(self) -> bool:
        """Tell whether Traffic Server says that it could not load its table."""
        return "sni.yaml failed to load" in self.diagnostics()

    async def stop(self) -> None:
        """End both."""
        await end(self.traffic_server)
        await end(self.nginx)

    def _run(self, *argv: str) -> None:
        subprocess.run(  # noqa: S603 - our own arguments, no shell
            self.proxy_host.inside(*argv),
            env=self.proxy_host.env,
            check=True,
            capture_output=True,
            timeout=patient(),
        )

    def _nginx_command(self) -> tuple[str, ...]:
        return self.proxy_host.inside(*self._nginx_argv())

    def _nginx_argv(self) -> tuple[str, ...]:
        home = self.proxy_host.pod_path("/opt/nginx")
        loads = "".join(f"load_module {_MODULE_FOLDER}/{name}.so; " for name in MODULES)
        first = f"{loads}pid {home}/nginx.pid; daemon off;"
        return ("nginx", "-e", "stderr", "-p", home, "-c", "conf/nginx.conf", "-g", first)


@contextlib.asynccontextmanager
async def running_proxies(
    deployed: Deployed, proxy_host: ProxyHost, folder: Path, *, is_managed: bool = False
) -> AsyncIterator[Proxies]:
    """Run the exchange's proxies on what was deployed; ``folder`` takes their logs."""
    proxies = Proxies(proxy_host, folder, is_managed=is_managed)
    proxies.mount(deployed.config_maps, deployed.secrets)
    try:
        await proxies.start()
        yield proxies
    finally:
        await proxies.stop()


async def end(process: Process) -> None:
    """Kill a program and wait until nobody of its group is left: its ports are free then.

    The leader goes last: where it is only the way into the namespaces, it ends by itself and leaves
    no orphan behind.
    """
    if process.child is None:
        return
    group = process.child.pid
    followers = _members(group) - {group}
    for pid in sorted(followers):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    patience = _BY_ITSELF_POLLS if followers else 0
    while patience and process.child.poll() is None:
        patience -= 1
        await asyncio.sleep(_POLL_S)
    process.kill()
    await until(lambda: not _members(group), "the program's group is gone")


def _members(group: int) -> set[int]:
    """Return the living processes of a group."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = status.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in {"Z", "X"}:
                found.add(int(status.parent.name))
    return found


def swap(folder: Path, files: Files) -> None:
    """Change a mounted ConfigMap as a kubelet does: all its files at once, by one link."""
    version = folder / f"..{time.time_ns()}"
    version.mkdir(parents=True)
    for name, text in files.items():
        (version / name).write_text(text)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    link = folder / "..data_tmp"
    link.symlink_to(version.name)
    link.replace(folder / "..data")


async def cut(writer: asyncio.StreamWriter) -> None:
    """End a connection now: no farewell of TLS, which the other side may never answer."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _accepts(address: Address) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address)
    except OSError:
        return False
    await cut(writer)
    return True


async def _answers(address: Address) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with time_limit(1.0):
            _, writer = await asyncio.open_connection(
                *address, ssl=context, server_hostname="nobody.invalid"
            )
    except (OSError, TimeoutError):
        return False
    await cut(writer)
    return True
