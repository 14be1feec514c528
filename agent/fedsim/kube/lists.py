"""Lists: chosen by selectors, handed out in pages that show one moment."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from fedsim.kube.cluster import Cluster
from fedsim.kube.errors import bad_request, expired
from fedsim.kube.requests import Target
from fedsim.kube.selectors import parse_selector
from fedsim.kube.store import Json

_KEPT_SNAPSHOTS = 64


class Lists:
    """Answers lists; what a client has not fetched yet of a paged one is kept for a while."""

    def __init__(self, cluster: Cluster) -> None:
        self._store = cluster.store
        self._snapshots: OrderedDict[str, tuple[int, list[Json]]] = OrderedDict()
        self._count = 0

    def answer(self, target: Target, query: Mapping[str, str]) -> Json:
        """Return a list object, one page of it if the client set a limit."""
        if token := query.get("continue"):
            version, objects = self._continue(token)
        else:
            selector = parse_selector(target.resource, query)
            version = self._store.version
            objects = [
                obj
                for obj in self._store.list(target.resource, target.namespace or None)
                if selector.matches(obj)
            ]
        limit = number_of(query, "limit")
        metadata: Json = {"resourceVersion": str(version)}
        if limit and len(objects) > limit:
            metadata["continue"] = self._keep(version, objects[limit:])
            objects = objects[:limit]
        return {
            "kind": target.resource.list_kind,
            "apiVersion": target.resource.api_version,
            "metadata": metadata,
            "items": objects,
        }

    def _keep(self, version: int, rest: list[Json]) -> str:
        self._count += 1
        token = str(self._count)
        self._snapshots[token] = (version, rest)
        while len(self._snapshots) > _KEPT_SNAPSHOTS:
            self._snapshots.popitem(last=False)
        return token

    def _continue(self, token: str) -> tuple[int, list[Json]]:
        snapshot = self._snapshots.get(token)
        if snapshot is None:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You must start a new list without the continue parameter."
            )
        return snapshot


def number_of(query: Mapping[str, str], name: str) -> int:
    """Return a number of the query, 0 when it is not there; raises 400."""
    text = query.get(name, "") or "0"
    if not text.isdigit():
        raise bad_request(f'{name}: Invalid value: "{text}": must be a number')
    return int(text)
