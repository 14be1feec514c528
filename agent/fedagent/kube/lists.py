"""Read many objects: what to ask for, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fedagent.kube.client import JSON, Json, Kube
from fedagent.kube.errors import Gone, TooLarge
from fedagent.kube.kinds import SECRETS, Kind

PAGE_SIZE: Final = 250
MAX_ITEMS: Final = 50_000
METADATA_ONLY: Final = (
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
)
_TRIES: Final = 3


def selector_query(
    kind: Kind,
    namespace: str | None,
    labels: Mapping[str, str] | None,
    fields: Mapping[str, str] | None,
) -> dict[str, str]:
    """Return the query of a list or watch; raises ValueError for all Secrets of a cluster."""
    if kind == SECRETS and not namespace:
        raise ValueError("Secrets are never read cluster-wide")
    query: dict[str, str] = {}
    if labels:
        query["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
    if fields:
        query["fieldSelector"] = ",".join(f"{key}={value}" for key, value in fields.items())
    return query


async def read_list(
    kube: Kube,
    kind: Kind,
    namespace: str | None,
    query: Mapping[str, str],
    *,
    page_size: int = PAGE_SIZE,
    metadata_only: bool = False,
) -> tuple[list[Json], str]:
    """Read all pages; return the objects and the resource version to watch from.

    A list whose pages outlive the server's history is begun again; raises Gone at the third time,
    TooLarge above ``MAX_ITEMS``. ``metadata_only`` asks for nothing but ``metadata``; a server that
    cannot do so sends all.
    """
    ask = dict(query) | {"limit": str(page_size)}
    accept = METADATA_ONLY if metadata_only else JSON
    for attempt in range(_TRIES):
        try:
            return await _read_pages(kube, kind.path(namespace=namespace), ask, accept)
        except Gone:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("the loop returns or raises")


async def _read_pages(
    kube: Kube, path: str, query: Mapping[str, str], accept: str
) -> tuple[list[Json], str]:
    items: list[Json] = []
    ask = dict(query)
    while True:
        page = await kube.request("GET", path, query=ask, accept=accept)
        items += page.get("items") or ()
        if len(items) > MAX_ITEMS:
            raise TooLarge(f"there are more than {MAX_ITEMS} objects at {path}")
        meta = page.get("metadata", {})
        if not meta.get("continue"):
            return items, str(meta.get("resourceVersion", ""))
        ask["continue"] = str(meta["continue"])
