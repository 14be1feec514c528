"""Reads from a hub: whole lists, and one thing by its name."""

from __future__ import annotations

from typing import Final

from fedctl.client import Client, Json, Query, path_of
from fedctl.errors import CliError, ExitCode
from fedctl.resources import Kind

EVENTS_SHOWN: Final = 100
_EVENT_PAGE: Final = 500


async def list_all(client: Client, kind: Kind, query: Query | None = None) -> list[Json]:
    """Return every item of a kind, page after page; of events the newest hundred."""
    if kind.plural == "events":
        return await newest_events(client, query or {}, EVENTS_SHOWN)
    return [item async for item in client.items(path_of(kind.plural), query)]


async def newest_events(client: Client, query: Query, count: int) -> list[Json]:
    """Return the newest events, the oldest of them first."""
    page = await client.get(path_of("events"), {**query, "newest": True, "limit": count})
    events: list[Json] = page["items"]
    return events


async def events_after(client: Client, query: Query, after_id: int) -> list[Json]:
    """Return every event after an id, page after page."""
    events: list[Json] = []
    while True:
        page = await client.get(
            path_of("events"), {**query, "after": after_id, "limit": _EVENT_PAGE}
        )
        events += page["items"]
        if len(page["items"]) < _EVENT_PAGE or page["last_id"] <= after_id:
            return events
        after_id = page["last_id"]


async def get_answer(client: Client, kind: Kind, name: str) -> Json:
    """Return the hub's whole answer about one thing; NOT_FOUND says where to look."""
    if kind.has_address:
        answer: Json = await client.get(address_of(kind, name))
        return answer
    matches = await _matches(client, kind, name)
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise CliError(
            ExitCode.NOT_FOUND,
            f"there is no {kind.singular} {name}",
            hint=f"`fedctl get {kind.plural}` lists them",
        )
    raise CliError(
        ExitCode.CONFLICT,
        f"{len(matches)} {kind.plural} begin with {name}",
        hint="write more of it",
    )


async def _matches(client: Client, kind: Kind, name: str) -> list[Json]:
    if kind.plural == "events":
        if not name.isascii() or not name.isdigit() or int(name) < 1:
            raise CliError(ExitCode.USAGE, f"{name!r} is no event's number")
        page = await client.get(path_of("events"), {"after": int(name) - 1, "limit": 1})
        return [item for item in page["items"] if str(item["id"]) == name]
    items = await list_all(client, kind)
    return [item for item in items if kind.name_of(item) == name] or [
        item for item in items if kind.name_of(item).startswith(name)
    ]


def address_of(kind: Kind, name: str) -> str:
    """Return the address of one item; a participant's name must be FEDERATION/KEY."""
    if kind.plural != "participants":
        return path_of(kind.plural, name)
    federation, slash, key = name.partition("/")
    if not slash or not federation or not key:
        raise CliError(
            ExitCode.USAGE,
            f"{name!r} is no participant's name",
            hint="write FEDERATION/KEY: credit-risk/9999, credit-risk/exchange",
        )
    return path_of(kind.plural, federation, key)


def item_of(kind: Kind, answer: Json) -> Json:
    """Return the item itself of an answer that has more beside it."""
    if kind.detail_key is None:
        return answer
    item: Json = answer[kind.detail_key]
    return item
