"""The options of a simulated cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Delays:
    """How long things take, in seconds.

    A pair is a range; the figure in it depends on the workload alone. The defaults of the reload
    are those measured on Apache Traffic Server.
    """

    ready_s: tuple[float, float] = (1.0, 3.0)
    stop_s: float = 0.3
    claim_s: float = 0.1
    mount_s: float = 1.0
    sni_reload_s: tuple[float, float] = (3.0, 7.0)
    tunnel_idle_s: float = 30.0
    crash_backoff_s: float = 10.0
    bookmark_s: float = 60.0

    @classmethod
    def none(cls) -> Delays:
        """Return delays for tests: everything at once, tunnels and bookmarks as usual."""
        return cls(
            ready_s=(0.0, 0.0),
            stop_s=0.0,
            claim_s=0.0,
            mount_s=0.0,
            sni_reload_s=(0.0, 0.0),
            crash_backoff_s=0.2,
        )


@dataclass(frozen=True, slots=True)
class Forward:
    """Where a port of pods really lands, for port-forwards."""

    namespace: str
    pod_prefix: str
    port: int
    host: str
    target_port: int

    @classmethod
    def parse(cls, text: str) -> Forward:
        """Read ``NAMESPACE/POD-NAME-PREFIX:PORT=HOST:PORT``; raises `ValueError`."""
        source, equals, target = text.partition("=")
        namespace, slash, rest = source.partition("/")
        prefix, colon, port = rest.rpartition(":")
        host, target_colon, target_port = target.rpartition(":")
        if not (equals and slash and colon and target_colon and namespace and host):
            raise ValueError(f"{text!r} is not NAMESPACE/POD-NAME-PREFIX:PORT=HOST:PORT")
        return cls(namespace, prefix, int(port), host, int(target_port))


@dataclass(frozen=True, slots=True)
class KubeSettings:
    """The options of one simulated cluster.

    ``admin_port`` None serves no admin endpoint; 0 means a free port, as for ``port``.
    Without ``data_plane`` nothing listens on node ports, and allocation binds nothing.
    """

    host: str = "127.0.0.1"
    port: int = 0
    admin_port: int | None = None
    node_ip: str = "127.0.0.1"
    load_balancer_ip: str | None = None
    state: Path | None = None
    delays: Delays = field(default_factory=Delays)
    forwards: tuple[Forward, ...] = ()
    faults: tuple[str, ...] = ()
    data_plane: bool = True
