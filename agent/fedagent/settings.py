"""Settings of ``fedagent``: arguments, ``FEDAGENT_…`` variables, one TOML file, defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from fedagent.kube.rbac import DEFAULT_ROLE
from fedagent.kubefate.access import AccessMode, AccessSettings
from fedagent.timing import AgentTiming, with_changes
from fedcore.ids import is_name

CONFIG_VARIABLE = "FEDAGENT_CONFIG"


class AgentSettings(BaseSettings):
    """What a site's administrator decides about the agent."""

    model_config = SettingsConfigDict(
        env_prefix="FEDAGENT_", env_nested_delimiter="__", extra="forbid"
    )

    state: Annotated[Path, Field(description="Folder of the agent's identity and journal.")] = Path(
        "fedagent-state"
    )
    identity_secret: Annotated[
        str | None,
        Field(
            description="[NAMESPACE/]NAME of a Secret that holds the identity; none: a file of the"
            " state folder. Without NAMESPACE: the pod's own, or the kubeconfig's.",
        ),
    ] = None
    kubeconfig: Annotated[
        Path | None, Field(description="Kubeconfig file; none: the pod's own service account.")
    ] = None
    context: Annotated[str | None, Field(description="Context in the kubeconfig.")] = None
    kubefate_access: Annotated[
        AccessMode, Field(description="How KubeFATE is reached: service, port-forward or url.")
    ] = AccessMode.PORT_FORWARD
    kubefate_url: Annotated[str | None, Field(description="For url: its base URL.")] = None
    kubefate_credentials: Annotated[
        Path | None, Field(description="For url: a 0600 file with username and password.")
    ] = None
    kubefate_host: Annotated[str | None, Field(description="Host header, behind an ingress.")] = (
        None
    )
    kubefate_ca_file: Annotated[Path | None, Field(description="CA of an https URL.")] = None
    policy: Annotated[
        Path | None,
        Field(description="The site's policy file (TOML or YAML); see docs/site-trust.md."),
    ] = None
    namespaced: Annotated[
        bool, Field(description="KubeFATE is installed with rights in its own namespace only.")
    ] = False
    namespace_role: Annotated[
        str,
        Field(
            description="ClusterRole that the agent binds to itself in the namespaces it works in."
        ),
    ] = DEFAULT_ROLE
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"

    timing: Annotated[
        AgentTiming, Field(description="Every wait of the agent; see docs/agent-timing.md.")
    ] = AgentTiming()

    @field_validator("timing", mode="plain")
    @classmethod
    def _timing_is_of_waits(cls, value: object) -> AgentTiming:
        if isinstance(value, AgentTiming):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(  # noqa: TRY004 - pydantic turns ValueError into its own
                "timing holds waits by component: see `fedagent timing`"
            )
        changed: AgentTiming = with_changes(AgentTiming(), value)
        return changed

    @model_validator(mode="after")
    def _url_needs_url(self) -> AgentSettings:
        if self.kubefate_access is AccessMode.URL and (
            self.kubefate_url is None or self.kubefate_credentials is None
        ):
            raise ValueError("kubefate_access=url needs kubefate_url and kubefate_credentials")
        return self

    @field_validator("identity_secret")
    @classmethod
    def _secret_is_named(cls, value: str | None) -> str | None:
        if value is None:
            return None
        namespace, slash, name = value.rpartition("/")
        if not all(map(is_name, (*([namespace] if slash else ()), *name.split(".")))):
            raise ValueError(f"{value!r} is no [NAMESPACE/]NAME of a Secret")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then variables, then the file that FEDAGENT_CONFIG names."""
        del dotenv_settings, file_secret_settings
        path = os.environ.get(CONFIG_VARIABLE)
        file = (TomlConfigSettingsSource(settings_cls, Path(path)),) if path else ()
        return (init_settings, env_settings, *file)

    def access(self) -> AccessSettings:
        """How KubeFATE is reached, as the driver takes it."""
        return AccessSettings(
            mode=self.kubefate_access,
            url=self.kubefate_url,
            credentials_file=self.kubefate_credentials,
            host=self.kubefate_host,
            ca_file=self.kubefate_ca_file,
        )

    @property
    def journal_path(self) -> Path:
        """The agent's SQLite file."""
        return self.state / "journal.sqlite"
