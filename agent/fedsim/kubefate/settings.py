"""The options of the simulated KubeFATE service."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SecretName:
    """Names the Secret that holds kubefateUsername and kubefatePassword."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> SecretName:
        """Read ``NAMESPACE/NAME``; raise ValueError for anything else."""
        namespace, slash, name = text.partition("/")
        if not (namespace and slash and name) or "/" in name:
            raise ValueError(f"{text!r}: expected NAMESPACE/NAME")
        return cls(namespace, name)


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of one service; seconds are those of the real one, before ``time_scale``."""

    kubeconfig: Path
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free port."""
    admin_port: int | None = None
    """Loopback port of the orders to misbehave; None serves none, 0 takes a free port."""
    version: str = "v1.4.5"
    """What the version route says; the behaviour is that of the build of tag v2.0.0."""
    username: str = "admin"
    password: str = field(default="admin", repr=False)
    credentials_secret: SecretName | None = None
    """Set: the service lives only while the Deployment ``kubefate`` beside this Secret does."""
    state: Path | None = None
    """SQLite file in MariaDB's place; None keeps records in memory only."""
    offline: bool = False
    """The chart repository cannot be reached: only uploaded charts are found."""
    repo_url: str = "https://federatedai.github.io/KubeFATE"
    job_limit_s: float = 3600.0
    install_poll_s: float = 1.0
    update_poll_s: float = 5.0
    helm_delay_s: float = 0.0
    """Time that Helm spends between recording a revision and applying it."""
    availability_poll_s: float = 1.0
    """How often the Deployment ``kubefate`` is looked at; never scaled."""
    time_scale: float = 1.0
    """0.1 makes every job run ten times as fast; token lifetimes stay."""
    faults: tuple[str, ...] = ()
    """Orders to misbehave, as `fedsim.faults` reads them."""

    def scaled(self, seconds: float) -> float:
        """Turn a duration of the real service into one of this run."""
        return seconds * self.time_scale
