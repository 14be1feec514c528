"""Whose an object is: the labels on everything that an agent applies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

PREFIX: Final = "fate-lifecycle-manager.io/"
HUB_LABEL: Final = f"{PREFIX}hub"
FEDERATION_LABEL: Final = f"{PREFIX}federation"
SIMULATED_LABEL: Final = f"{PREFIX}simulated"
CREATED_NAMESPACE: Final = f"{PREFIX}created-namespace"
GENERATION: Final = f"{PREFIX}generation"
"""Annotation: the generation of the document by which an object was last applied."""
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "fate-lifecycle-manager"


class OwnerRole(StrEnum):
    """What kind of resource of the hub an object belongs to; the suffix of its label."""

    PARTICIPANT = "participant"
    ENDPOINT = "endpoint"

    @property
    def label(self) -> str:
        """The label that holds the resource's id."""
        return f"{PREFIX}{self.value}"


@dataclass(frozen=True, slots=True)
class Owner:
    """A resource of a hub, as owner of Kubernetes objects."""

    hub_id: str
    resource_id: str
    role: OwnerRole = OwnerRole.PARTICIPANT
    federation: str = ""

    def labels(self) -> dict[str, str]:
        """Return the labels that mark an object as this owner's."""
        labels = {
            MANAGED_BY_LABEL: MANAGER,
            HUB_LABEL: self.hub_id,
            self.role.label: self.resource_id,
        }
        return labels | ({FEDERATION_LABEL: self.federation} if self.federation else {})

    def selector(self) -> dict[str, str]:
        """Return the labels that find this owner's objects."""
        return {HUB_LABEL: self.hub_id, self.role.label: self.resource_id}

    def is_same(self, other: Owner | None) -> bool:
        """Return whether ``other`` is the same resource of the same hub, renamed or not."""
        return other is not None and (self.hub_id, self.resource_id) == (
            other.hub_id,
            other.resource_id,
        )


def owner_of(body: Mapping[str, Any]) -> Owner | None:
    """Return the owner that an object's labels name, None when it is nobody's that we know."""
    labels = body.get("metadata", {}).get("labels") or {}
    hub_id = labels.get(HUB_LABEL)
    if not hub_id:
        return None
    for role in OwnerRole:
        if resource_id := labels.get(role.label):
            return Owner(hub_id, resource_id, role, labels.get(FEDERATION_LABEL, ""))
    return Owner(hub_id, "", OwnerRole.PARTICIPANT, labels.get(FEDERATION_LABEL, ""))


def is_created_namespace(body: Mapping[str, Any]) -> bool:
    """Return whether an agent made this namespace (and may therefore take it away)."""
    annotations = body.get("metadata", {}).get("annotations") or {}
    return bool(annotations.get(CREATED_NAMESPACE) == "true")
