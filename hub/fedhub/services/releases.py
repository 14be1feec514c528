"""Releases of the catalogue, as a list of pages like every other."""

from __future__ import annotations

from fedcore.errors import Invalid
from fedhub.domain.access import Permission, Principal, Resource, ResourceType, authorize
from fedhub.domain.release import Release
from fedhub.services.context import HubContext
from fedsql.cursors import Page, decode, encode


def list_page(
    hub: HubContext, principal: Principal, *, cursor: str | None, limit: int
) -> Page[Release]:
    """Return releases, oldest first. Invalid for a cursor whose release is no longer there."""
    authorize(principal, Permission.READ, Resource(ResourceType.RELEASE))
    releases = hub.catalogue.releases
    keys = [[release.version, release.engine] for release in releases]
    start = 0
    if cursor is not None:
        last = decode(cursor, [str, str])
        if last not in keys:
            raise Invalid("the catalogue changed since; leave the cursor away to begin again")
        start = keys.index([str(part) for part in last]) + 1
    end = start + limit
    following = encode(keys[end - 1]) if end < len(releases) else None
    return Page(releases[start:end], following)
