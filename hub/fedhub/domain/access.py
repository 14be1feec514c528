"""Who asks, and what they may do: every service call names its principal and a permission."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fedcore.errors import Denied


class Permission(StrEnum):
    """What a principal may be allowed to do. Roles will be sets of these."""

    READ = "read"
    MANAGE_SITES = "manage_sites"
    MANAGE_FEDERATIONS = "manage_federations"
    MANAGE_CHARTS = "manage_charts"
    MANAGE_CERTIFICATES = "manage_certificates"


@dataclass(frozen=True, slots=True)
class Principal:
    """The one who asks. ``name`` goes into operations and events."""

    name: str
    permissions: frozenset[Permission]

    def require(self, permission: Permission) -> None:
        """Raise Denied unless the principal has ``permission``."""
        if permission not in self.permissions:
            raise Denied(f"{self.name} may not {permission.value}", permission=permission.value)


def administrator(name: str = "admin") -> Principal:
    """Build the principal that may do everything."""
    return Principal(name=name, permissions=frozenset(Permission))
