"""What every resource module uses: the hub behind a call, paging, ETags."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from fedcore.errors import Invalid
from fedhub.domain.access import Principal
from fedhub.services.context import HubContext
from fedweb.routes import Call, Query

HUB: Final[web.AppKey[HubContext]] = web.AppKey("hub", HubContext)
STOPPING: Final[web.AppKey[asyncio.Event]] = web.AppKey("stopping", asyncio.Event)
"""Set when the server stops: streams that would go on for ever end."""
IF_MATCH: Final = (
    "If-Match",
    "The ETag of the answer that the change is based on; 412 when it changed since.",
    r'^(W/)?"?[0-9]{1,18}"?$',
)
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1_000
MAX_ETAG_DIGITS: Final = 18


NameFilter = Annotated[str | None, Field(max_length=200)]


class PageQuery(Query):
    """Parameters of every list."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, description="Rows per page.")] = DEFAULT_LIMIT
    cursor: Annotated[
        str | None,
        Field(
            description="next_cursor of the page before.",
            max_length=1_000,
            pattern="^[A-Za-z0-9_-]+$",
        ),
    ] = None


def hub_of(call: Call[Principal]) -> HubContext:
    """Return the hub that serves this call."""
    return call.request.app[HUB]


def revision_etag(revision: int) -> str:
    """Write a revision as an entity tag."""
    return f'"{revision}"'


def wanted_revision(call: Call[Principal]) -> int | None:
    """Read If-Match; None when it is absent or ``*``."""
    text = call.request.headers.get("If-Match")
    if text is None or text.strip() == "*":
        return None
    bare = text.strip().removeprefix("W/").strip('"')
    if not bare.isascii() or not bare.isdigit() or len(bare) > MAX_ETAG_DIGITS:
        raise Invalid('If-Match must be the ETag of an earlier answer, for example "3"')
    return int(bare)
