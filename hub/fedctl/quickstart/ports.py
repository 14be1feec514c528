"""Addresses of everything: chosen free once, kept in the state folder, checked at each start."""

from __future__ import annotations

import errno
import json
import random
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from fedcore.files import write_private
from fedctl.errors import CliError, ExitCode
from fedctl.timing import Timing

LOOPBACK: Final = "127.0.0.1"
_HUB_PORT: Final = 8443
_FREE_RANGE: Final = range(20_000, 30_000)
"""Below the node ports of Kubernetes (30000) and the ports that systems hand out to callers."""


@dataclass(frozen=True, slots=True)
class SitePorts:
    """Where a simulated site listens; node ports are on an address of its own."""

    kube: int
    kubefate: int
    node_ip: str


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens. The hub's may not change: agents remember them.

    ``zone`` is the second byte of the sites' addresses, so that two quickstarts do not meet.
    """

    hub: int
    enrol: int
    link: int
    zone: int
    sites: dict[str, SitePorts] = field(default_factory=dict)


def kept_sites(path: Path) -> tuple[str, ...]:
    """Return the sites of earlier starts, in their order; none before the first start."""
    kept = _read(path)
    return tuple(kept.sites) if kept is not None else ()


def settle_ports(
    path: Path, sites: Sequence[str], *, first_port: int | None, timing: Timing
) -> Ports:
    """Return the ports of this start, and keep them in ``path``.

    ``first_port`` is the hub's, None for any. Ports of sites that are not started stay kept.
    """
    kept = _read(path)
    if kept is None:
        kept = _choose(first_port)
    elif first_port not in {None, kept.hub}:
        raise CliError(
            ExitCode.USAGE,
            f"{path.parent} was made with --port {kept.hub}; its agents know the hub there",
            hint="leave --port out, or take another --state",
        )
    used = {kept.hub, kept.enrol, kept.link}
    for port in sorted(used):
        _wait_until_free(port, timing)
    chosen: dict[str, SitePorts] = {}
    for number, name in enumerate(sites, start=1):
        chosen[name] = _site_ports(kept, name, number, used)
        used |= {chosen[name].kube, chosen[name].kubefate}
    _write(path, Ports(kept.hub, kept.enrol, kept.link, kept.zone, {**kept.sites, **chosen}))
    return Ports(kept.hub, kept.enrol, kept.link, kept.zone, chosen)


def _read(path: Path) -> Ports | None:
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text())
        sites = {name: SitePorts(**ports) for name, ports in data.pop("sites").items()}
        return Ports(**data, sites=sites)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CliError(
            ExitCode.USAGE,
            f"{path} cannot be read",
            hint=f"remove {path.parent} and start afresh",
        ) from error


def _write(path: Path, ports: Ports) -> None:
    write_private(path, (json.dumps(asdict(ports), indent=1) + "\n").encode())


def _choose(first_port: int | None) -> Ports:
    if first_port is not None:
        hub, enrol, link = first_port, first_port + 1, first_port + 2
    elif all(is_free(_HUB_PORT + offset) for offset in range(3)):
        hub, enrol, link = _HUB_PORT, _HUB_PORT + 1, _HUB_PORT + 2
    else:
        free_ports = _free_ports(set())
        hub, enrol, link = next(free_ports), next(free_ports), next(free_ports)
    return Ports(hub, enrol, link, zone=random.randint(1, 254))  # noqa: S311 - no secret


def _site_ports(kept: Ports, name: str, number: int, used: set[int]) -> SitePorts:
    node_ip = node_address(kept.zone, number)
    before = kept.sites.get(name)
    if before is not None and is_free(before.kube) and is_free(before.kubefate):
        return SitePorts(before.kube, before.kubefate, node_ip)
    free_ports = _free_ports(used)
    return SitePorts(next(free_ports), next(free_ports), node_ip)


def node_address(zone: int, number: int) -> str:
    """Return the site's own loopback address, or 127.0.0.1 where a system has only that one."""
    own_address = f"127.{zone}.{number}.1"
    return own_address if _can_bind(own_address, 0) else LOOPBACK


def _free_ports(used: set[int]) -> Iterator[int]:
    start = random.randrange(len(_FREE_RANGE))  # noqa: S311 - keeps two starts apart
    for offset in range(len(_FREE_RANGE)):
        port = _FREE_RANGE[(start + offset) % len(_FREE_RANGE)]
        if port not in used and is_free(port):
            yield port
    raise CliError(
        ExitCode.UNAVAILABLE, f"no port of {_FREE_RANGE.start} to {_FREE_RANGE.stop - 1} is free"
    )


def _wait_until_free(port: int, timing: Timing) -> None:
    deadline = time.monotonic() + timing.port_release_limit_s
    while not is_free(port):
        if time.monotonic() > deadline:
            raise CliError(
                ExitCode.UNAVAILABLE,
                f"port {port} is taken by another process",
                hint="stop that process, or choose with --port PORT --state NEW_DIR",
            )
        time.sleep(timing.port_poll_interval_s)


def is_free(port: int) -> bool:
    """Return whether a server could listen on a port of the loopback address now."""
    return _can_bind(LOOPBACK, port)


def _can_bind(host: str, port: int) -> bool:
    with socket.socket() as probe:
        # As servers do, or a port whose last connections linger would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}:
                return False
            raise
    return True
