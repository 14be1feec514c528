"""Route tables as they stand in files, read back into entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import yaml

from fedagent.domain.document import RouteEntry, Table
from fedagent.domain.observed import TableView
from fedcore.words import TableKind

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_TEXT: Final = 1_000_000


class TableError(ValueError):
    """The file is no table of its kind; the message says why."""


def read_table(table: Table, text: str) -> tuple[RouteEntry, ...]:
    """Return the entries of a table file without those that the chart adds by itself, sorted.

    Raises TableError.
    """
    if len(text) > _MAX_TEXT:
        raise TableError(f"{table.key} is larger than {_MAX_TEXT} characters")
    try:
        tree = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, in C
    except (yaml.YAMLError, RecursionError) as error:
        raise TableError(f"{table.key} is no YAML") from error
    if not isinstance(tree, Mapping):
        raise TableError(f"{table.key} is no map")
    try:
        entries = tuple(_READERS[table.kind](tree))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TableError(f"{table.key} is no table of {table.kind}: {error}") from error
    return tuple(sorted(entry for entry in entries if entry.key not in table.chart_keys))


def table_view(table: Table, text: object) -> TableView:
    """Return the table that the value of a ConfigMap's key holds, or why it holds none."""
    if not isinstance(text, str):
        return TableView(table.config_map, (), f"it has no key {table.key}")
    try:
        return TableView(table.config_map, read_table(table, text))
    except TableError as error:
        return TableView(table.config_map, (), str(error))


def _sni(tree: Mapping[str, Any]) -> Iterator[RouteEntry]:
    for entry in tree["sni"] or ():
        host, _, port = str(entry["tunnel_route"]).rpartition(":")
        yield RouteEntry(str(entry["fqdn"]), host, int(port))


def _nginx(tree: Mapping[str, Any]) -> Iterator[RouteEntry]:
    for key, services in tree.items():
        # The party's own key holds both; elsewhere one of them is the route.
        hosts = services.get("fateflow") or services.get("proxy") or ()
        for entry in hosts:
            yield RouteEntry(str(key), str(entry["host"]), int(entry["http_port"]))


def _pulsar(tree: Mapping[str, Any]) -> Iterator[RouteEntry]:
    for key, entry in tree.items():
        if str(key) == "default" and "proxy" in entry:
            host, _, port = str(entry["proxy"]).rpartition(":")
            yield RouteEntry("default", host, int(port))
        else:
            yield RouteEntry(str(key), str(entry["host"]), int(entry["port"]))


_READERS: Final[Mapping[TableKind, Callable[[Mapping[str, Any]], Iterator[RouteEntry]]]] = {
    TableKind.SNI: _sni,
    TableKind.NGINX: _nginx,
    TableKind.PULSAR: _pulsar,
}
