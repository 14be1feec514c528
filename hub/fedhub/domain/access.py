"""Who asks, what they ask to do, to what, and whether they may.

A service loads what it is about to act on and then calls ``authorize``: only what is loaded says
to which federation and which site it belongs. Lists ask ``visible`` for a filter instead. What a
refusal says:

====================================  ===================================================
the principal                         raises
====================================  ===================================================
has the action where the resource is  nothing
may read the resource                 Denied: it knows of the resource already
may not read it                       NotFound, in the words of a resource that is not there:
                                      whether a name is taken is not for everybody
====================================  ===================================================

Denied stands in for NotFound where the resource belongs to no federation and no site (charts,
releases: no secret), and with ``hide=False``: a call that would make what is not there must answer
the same whether or not it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from fedcore.errors import Denied, NotFound
from fedhub.domain.models import (
    Event,
    Federation,
    Operation,
    Site,
    SiteCertificate,
)


class Permission(StrEnum):
    """An action that a principal may be allowed. Roles will be sets of these."""

    READ = "read"
    MANAGE_SITES = "manage_sites"
    MANAGE_FEDERATIONS = "manage_federations"
    MANAGE_CHARTS = "manage_charts"
    MANAGE_CERTIFICATES = "manage_certificates"


class PrincipalKind(StrEnum):
    """What a principal is."""

    USER = "user"
    TOKEN = "token"  # noqa: S105 - a kind, no secret
    SYSTEM = "system"


class ScopeKind(StrEnum):
    """How far a grant reaches."""

    EVERYWHERE = "everywhere"
    FEDERATION = "federation"
    SITE = "site"


class ResourceType(StrEnum):
    """What is acted on, in the words of its refusals."""

    SITE = "site"
    FEDERATION = "federation"
    PARTICIPANT = "participant"
    OPERATION = "operation"
    CERTIFICATE = "certificate"
    EVENT = "event"
    CHART = "chart"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a grant holds: ``id`` is a federation's or a site's, empty for everywhere."""

    kind: ScopeKind
    id: str = ""


EVERYWHERE: Final = Scope(ScopeKind.EVERYWHERE)


@dataclass(frozen=True, slots=True)
class Grant:
    """Some permissions, and where they hold."""

    permissions: frozenset[Permission]
    scope: Scope = EVERYWHERE


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks. Records are keyed by ``id``; ``name`` is for people and may change."""

    id: str
    kind: PrincipalKind
    name: str
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """What is acted on, and the federation and site that it belongs to, if any.

    ``name`` is what the caller called it: a refusal that hides it repeats that and nothing else.
    """

    type: ResourceType
    name: str = ""
    federation_id: str | None = None
    site_id: str | None = None

    @property
    def belongs_to_nobody(self) -> bool:
        """Whether no federation and no site has it: only a grant everywhere covers it."""
        return self.federation_id is None and self.site_id is None


@dataclass(frozen=True, slots=True)
class Visibility:
    """The resources that an action of a principal reaches: everything, or those of these ids."""

    everything: bool
    federation_ids: frozenset[str] = frozenset()
    site_ids: frozenset[str] = frozenset()

    def covers(self, resource: Resource) -> bool:
        """Return whether a resource is among them."""
        return (
            self.everything
            or resource.federation_id in self.federation_ids
            or resource.site_id in self.site_ids
        )


EVERYTHING: Final = Visibility(everything=True)


def visible(principal: Principal, action: Permission) -> Visibility:
    """Return where a principal may do ``action``, for the filter of a list.

    Raises Denied where that is nowhere: such a list could never hold anything.
    """
    visibility = _reach(principal, action)
    if visibility == Visibility(everything=False):
        raise _denied(principal, action)
    return visibility


def authorize(
    principal: Principal, action: Permission, resource: Resource, *, hide: bool = True
) -> None:
    """Raise Denied or NotFound (see above) unless ``principal`` may do ``action``."""
    if _reach(principal, action).covers(resource):
        return
    is_known = (
        not hide
        or resource.belongs_to_nobody
        or _reach(principal, Permission.READ).covers(resource)
    )
    if not is_known:
        raise not_found(resource.type, resource.name)
    raise _denied(principal, action)


def _reach(principal: Principal, action: Permission) -> Visibility:
    scopes = [grant.scope for grant in principal.grants if action in grant.permissions]
    return Visibility(
        everything=EVERYWHERE in scopes,
        federation_ids=frozenset(s.id for s in scopes if s.kind is ScopeKind.FEDERATION),
        site_ids=frozenset(s.id for s in scopes if s.kind is ScopeKind.SITE),
    )


def _denied(principal: Principal, action: Permission) -> Denied:
    return Denied(f"{principal.name} may not {action.value}", permission=action.value)


def not_found(kind: ResourceType, name: str) -> NotFound:
    """Build the error for a name that nothing has, or nothing that the principal may know of."""
    return NotFound(f"there is no {kind.value} {name}; `fedctl get {kind.value}s` lists them")


class Member(Protocol):
    """A participant, as stored or as a row of a list."""

    @property
    def name(self) -> str:
        """``federation/key``."""

    @property
    def federation_id(self) -> str:
        """Its federation."""

    @property
    def site_id(self) -> str:
        """Its site."""


def of_site(site: Site) -> Resource:
    """Return a site as a resource."""
    return Resource(ResourceType.SITE, site.name, site_id=site.id)


def of_federation(federation: Federation) -> Resource:
    """Return a federation as a resource."""
    return Resource(ResourceType.FEDERATION, federation.name, federation_id=federation.id)


def of_participant(participant: Member) -> Resource:
    """Return a participant as a resource: of its federation and of its site."""
    return Resource(
        ResourceType.PARTICIPANT,
        participant.name,
        federation_id=participant.federation_id,
        site_id=participant.site_id,
    )


def of_operation(operation: Operation) -> Resource:
    """Return an operation as a resource."""
    return Resource(ResourceType.OPERATION, operation.id, federation_id=operation.federation_id)


def of_certificate(certificate: SiteCertificate) -> Resource:
    """Return a certificate as a resource."""
    return Resource(ResourceType.CERTIFICATE, certificate.serial, site_id=certificate.site_id)


def of_event(event: Event) -> Resource:
    """Return an event as a resource."""
    return Resource(
        ResourceType.EVENT,
        str(event.id),
        federation_id=event.federation_id,
        site_id=event.site_id,
    )
