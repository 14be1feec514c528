"""Principals for tests that call services by themselves."""

from __future__ import annotations

from fedhub.domain.access import Grant, Permission, Principal, PrincipalKind, Scope


def principal(name: str, *grants: Grant, kind: PrincipalKind = PrincipalKind.USER) -> Principal:
    """Build a principal with these grants; its id differs from its name."""
    return Principal(id=f"id-of-{name}", kind=kind, name=name, grants=grants)


def administrator() -> Principal:
    """Build the principal that may do everything everywhere."""
    return principal("admin", Grant(frozenset(Permission)), kind=PrincipalKind.TOKEN)


def granted(scope: Scope, *permissions: Permission) -> Grant:
    """Build a grant that holds in one scope."""
    return Grant(frozenset(permissions), scope)
