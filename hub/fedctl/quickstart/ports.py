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
from typing import Any, Final

from fedctl.errors import CliError, ExitCode

LOOPBACK: Final = "127.0.0.1"
_HUB_PORT: Final = 8443
_FREE: Final = range(20_000, 30_000)
"""Below the node ports of Kubernetes and the ports that systems hand out to callers."""
_RELEASE_S: Final = 5.0
"""How long a port may stay taken by processes of a start that was killed."""


@dataclass(frozen=True, slots=True)
class SitePorts:
    """Where a simulated site listens; node ports are on an address of its own."""

    kube: int
    kubefate: int
    node_ip: str


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens. The hub's may not change: agents remember them."""

    hub: int
    enrol: int
    link: int
    zone: int
    sites: dict[str, SitePorts] = field(default_factory=dict)


def settle(path: Path, sites: Sequence[str], wanted: int | None) -> Ports:
    """Return the ports of this start, and keep them in ``path``."""
    known = _read(path)
    if known is None:
        known = _first(wanted)
    elif wanted not in {None, known.hub}:
        raise CliError(
            ExitCode.USAGE,
            f"{path.parent} was made with --port {known.hub}; its agents know the hub there",
            hint="leave --port out, or take another --state",
        )
    for port in (known.hub, known.enrol, known.link):
        _expect_free(port)
    taken = {known.hub, known.enrol, known.link}
    chosen: dict[str, SitePorts] = {}
    for number, name in enumerate(sites, start=1):
        chosen[name] = _site(known, name, number, taken)
        taken |= {chosen[name].kube, chosen[name].kubefate}
    kept = {**known.sites, **chosen}
    ports = Ports(known.hub, known.enrol, known.link, known.zone, chosen)
    path.write_text(json.dumps(asdict(ports) | {"sites": _plain(kept)}, indent=1) + "\n")
    return ports


def _plain(sites: dict[str, SitePorts]) -> dict[str, Any]:
    return {name: asdict(one) for name, one in sites.items()}


def _read(path: Path) -> Ports | None:
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text())
        sites = {name: SitePorts(**one) for name, one in data.pop("sites").items()}
        return Ports(**data, sites=sites)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CliError(
            ExitCode.USAGE,
            f"{path} cannot be read",
            hint=f"remove {path.parent} and start afresh",
        ) from error


def _first(wanted: int | None) -> Ports:
    if wanted is not None:
        hub, enrol, link = wanted, wanted + 1, wanted + 2
    elif all(is_free(_HUB_PORT + offset) for offset in range(3)):
        hub, enrol, link = _HUB_PORT, _HUB_PORT + 1, _HUB_PORT + 2
    else:
        free = _free_ports(set())
        hub, enrol, link = next(free), next(free), next(free)
    return Ports(hub, enrol, link, zone=random.randint(1, 254))  # noqa: S311 - no secret


def _site(known: Ports, name: str, number: int, taken: set[int]) -> SitePorts:
    node_ip = node_address(known.zone, number)
    before = known.sites.get(name)
    if before is not None and is_free(before.kube) and is_free(before.kubefate):
        return SitePorts(before.kube, before.kubefate, node_ip)
    free = _free_ports(taken)
    return SitePorts(next(free), next(free), node_ip)


def node_address(zone: int, number: int) -> str:
    """Return the site's own loopback address, or 127.0.0.1 where a system has only that one."""
    own = f"127.{zone}.{number}.1"
    return own if _can_bind(own, 0) else LOOPBACK


def _free_ports(taken: set[int]) -> Iterator[int]:
    start = random.randrange(len(_FREE))  # noqa: S311 - keeps two starts apart
    for offset in range(len(_FREE)):
        port = _FREE[(start + offset) % len(_FREE)]
        if port not in taken and is_free(port):
            yield port
    raise CliError(ExitCode.UNAVAILABLE, f"no port of {_FREE.start} to {_FREE.stop - 1} is free")


def _expect_free(port: int) -> None:
    deadline = time.monotonic() + _RELEASE_S
    while not is_free(port):
        if time.monotonic() > deadline:
            raise CliError(
                ExitCode.UNAVAILABLE,
                f"port {port} is taken by another process",
                hint="stop that process, or choose with --port PORT --state NEW_DIR",
            )
        time.sleep(0.1)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a port of the loopback address now."""
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
