"""Settings of ``fedhub``: arguments, then ``FEDHUB_…`` variables, then defaults; checked once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedca.settings import DEFAULT_TRUST_DOMAIN
from fedcore.network import is_ip
from fedhub.timing import HubTiming


def bind_address(text: str) -> tuple[str, int]:
    """Split ``host:port`` of a listener; port 0 lets the system choose a free one."""
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"{text!r} is no host:port")
    if int(port) > MAX_PORT:
        raise ValueError(f"port {port} is not between 0 and {MAX_PORT}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _checked(text: str) -> str:
    bind_address(text)
    return text


MAX_PORT: Final = 65_535
ListenAddress = Annotated[str, AfterValidator(_checked)]


class HubSettings(BaseSettings):
    """What an operator decides about the hub."""

    model_config = SettingsConfigDict(
        env_prefix="FEDHUB_", env_nested_delimiter="__", extra="forbid"
    )

    state: Annotated[
        Path, Field(description="Folder of the hub's files: database, CA key, admin token.")
    ] = Path("fedhub-state")
    database_url: Annotated[
        str,
        Field(
            description="SQLAlchemy URL, e.g. postgresql+asyncpg://…; empty: SQLite in the state."
        ),
    ] = ""
    listen: Annotated[ListenAddress, Field(description="REST over HTTPS.")] = "127.0.0.1:8443"
    enrol_listen: Annotated[ListenAddress, Field(description="Enrolment gRPC, server TLS.")] = (
        "127.0.0.1:8444"
    )
    link_listen: Annotated[ListenAddress, Field(description="Agent gRPC, mTLS.")] = "127.0.0.1:8445"
    public_host: Annotated[
        str,
        Field(description="Name or IP that agents and people use; in the hub's certificate."),
    ] = "127.0.0.1"
    other_hosts: Annotated[
        tuple[str, ...], Field(description="More names and IPs for the hub's certificate.")
    ] = ("localhost", "127.0.0.1")
    trust_domain: Annotated[
        str, Field(description="The product's own domain for hub and agents; needs no DNS.")
    ] = DEFAULT_TRUST_DOMAIN
    catalogue_dirs: Annotated[
        tuple[Path, ...], Field(description="Folders with more release files (YAML).")
    ] = ()
    timing: Annotated[
        HubTiming,
        Field(description="Waits; FEDHUB_TIMING__<FIELD> sets one, fedhub/timing.py lists them."),
    ] = HubTiming()
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"

    def effective_database_url(self) -> str:
        """Return the database's URL; by default SQLite in the state folder."""
        return self.database_url or f"sqlite+aiosqlite:///{self.state.absolute() / 'hub.sqlite'}"

    def hub_names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return DNS names and IP addresses for the hub's certificate."""
        hosts = dict.fromkeys((self.public_host, *self.other_hosts))
        addresses = tuple(host for host in hosts if is_ip(host))
        return tuple(host for host in hosts if host not in addresses), addresses

    def public_address(self, port: int) -> str:
        """``public_host:port``, brackets around IPv6."""
        host = f"[{self.public_host}]" if ":" in self.public_host else self.public_host
        return f"{host}:{port}"
