"""Where the hub is and who asks: flags, then environment, then one TOML file."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from fedctl.errors import CliError, ExitCode

CONFIG_ENV: Final = "FEDCTL_CONFIG"
DEFAULT_PATH: Final = "~/.config/fedctl/config.toml"
_MAX_FILE_BYTES: Final = 64 * 1024
_CONFIG_HINT: Final = (
    f"name a file in {CONFIG_ENV} (the quickstart leaves .quickstart/fedctl.toml), write "
    f"{DEFAULT_PATH}, or give --hub, --token-file and --ca-file"
)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line or the environment says; None leaves it to the file."""

    config: Path | None = None
    hub: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """A complete configuration. ``ca_file`` None trusts the system's authorities."""

    hub: str
    token: str = field(repr=False)
    ca_file: Path | None


@dataclass(frozen=True, slots=True)
class _File:
    hub: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    ca_file: Path | None = None


def load(overrides: Overrides) -> Settings:
    """Read the configuration; a CliError says what is missing and where to write it."""
    file = _read_file(overrides)
    hub = overrides.hub or file.hub
    if not hub:
        raise CliError(ExitCode.USAGE, "no hub is configured", hint=_CONFIG_HINT)
    return Settings(
        hub=_checked_hub(hub),
        token=_token(overrides.token_file, file),
        ca_file=_existing(overrides.ca_file or file.ca_file),
    )


def _read_file(overrides: Overrides) -> _File:
    explicit = overrides.config or (
        Path(os.environ[CONFIG_ENV]) if CONFIG_ENV in os.environ else None
    )
    path = (explicit or Path(DEFAULT_PATH)).expanduser()
    if explicit is None and not path.exists():
        return _File()
    try:
        parsed = tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        raise CliError(ExitCode.USAGE, f"{path} is no TOML: {error}") from error
    return _parse(path, parsed)


def _parse(path: Path, parsed: dict[str, Any]) -> _File:
    settings = {setting.name for setting in fields(_File)}
    for key, value in parsed.items():
        if key not in settings:
            raise CliError(
                ExitCode.USAGE,
                f"{path}: {key} is no setting",
                hint=f"the settings are {', '.join(sorted(settings))}",
            )
        if not isinstance(value, str):
            raise CliError(ExitCode.USAGE, f"{path}: {key} must be text in quotes")

    def relative(key: str) -> Path | None:
        return path.parent / Path(parsed[key]).expanduser() if key in parsed else None

    return _File(
        parsed.get("hub"), parsed.get("token"), relative("token_file"), relative("ca_file")
    )


def _token(override: Path | None, file: _File) -> str:
    path = override or (None if file.token else file.token_file)
    token = (_read(path) if path is not None else file.token or "").strip()
    if not token:
        problem = f"{path} is empty" if path is not None else "no token is configured"
        raise CliError(ExitCode.USAGE, problem, hint=_CONFIG_HINT)
    if not token.isascii() or not token.isprintable():
        raise CliError(ExitCode.USAGE, "the token holds characters that no token has")
    return token


def _checked_hub(text: str) -> str:
    hub = text.strip().rstrip("/")
    if not hub.startswith("https://") or len(hub) == len("https://"):
        raise CliError(
            ExitCode.USAGE,
            f"the hub's address is {text!r}",
            hint="write it as https://host:port; the hub speaks TLS alone",
        )
    return hub


def _existing(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise CliError(
            ExitCode.USAGE,
            f"the CA file {path} is not there",
            hint="the hub writes ca.pem into its state folder",
        )
    return path


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES + 1)
        if len(text) > _MAX_FILE_BYTES:
            raise CliError(ExitCode.USAGE, f"{path} is larger than {_MAX_FILE_BYTES} bytes")
        return text.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise CliError(
            ExitCode.USAGE, f"cannot read {path}: {reason}", hint=_CONFIG_HINT
        ) from error
