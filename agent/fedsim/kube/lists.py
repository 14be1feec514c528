"""Lists: chosen by selectors, given out in pages that show one moment."""

from __future__ import annotations

import base64
import binascii
import json
from collections import OrderedDict

from fedsim.kube.cluster import Cluster
from fedsim.kube.errors import bad_request, expired
from fedsim.kube.paths import Target
from fedsim.kube.selectors import Selector
from fedsim.kube.store import Json, dump
from fedsim.kube.watch import too_large

_KEPT_SNAPSHOTS = 64


class Lists:
    """Answers lists; what a client has not fetched yet of a paged one is kept for a while."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._snapshots: OrderedDict[str, tuple[int, list[Json]]] = OrderedDict()
        self._count = 0

    def chosen(self, target: Target, selector: Selector) -> list[Json]:
        """Return the objects that the client may see and wants."""
        objects = self._cluster.store.list(
            target.resource, target.namespace if target.resource.is_namespaced else None
        )
        return objects if selector.is_everything else [o for o in objects if selector.matches(o)]

    def answer(self, target: Target, selector: Selector, query: dict[str, str]) -> Json:
        """Return a list object, one page of it if the client set a limit."""
        limit = self._number(query, "limit")
        if token := query.get("continue"):
            version, objects = self._continue(token)
        else:
            asked = self._number(query, "resourceVersion")
            if asked > self._cluster.store.version:
                raise too_large(asked, self._cluster.store.version)
            version, objects = self._cluster.store.version, self.chosen(target, selector)
        metadata: Json = {"resourceVersion": str(version)}
        if limit and len(objects) > limit:
            metadata["continue"] = self._keep(version, objects[limit:])
            if selector.is_everything:
                metadata["remainingItemCount"] = len(objects) - limit
            objects = objects[:limit]
        return {
            "kind": target.resource.list_kind,
            "apiVersion": target.resource.api_version,
            "metadata": metadata,
            "items": objects,
        }

    def _keep(self, version: int, rest: list[Json]) -> str:
        self._count += 1
        key = str(self._count)
        self._snapshots[key] = (version, rest)
        while len(self._snapshots) > _KEPT_SNAPSHOTS:
            self._snapshots.popitem(last=False)
        return base64.urlsafe_b64encode(
            dump({"v": "meta.k8s.io/v1", "rv": version, "k": key})
        ).decode()

    def _continue(self, token: str) -> tuple[int, list[Json]]:
        try:
            key = str(json.loads(base64.urlsafe_b64decode(token))["k"])
        except (binascii.Error, ValueError, KeyError, TypeError) as error:
            raise bad_request("continue key is not valid") from error
        kept = self._snapshots.get(key)
        if kept is None:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You must start a new list without the continue parameter."
            )
        return kept

    def _number(self, query: dict[str, str], name: str) -> int:
        text = query.get(name, "") or "0"
        if not text.isdigit():
            raise bad_request(f'{name}: Invalid value: "{text}": must be a number')
        return int(text)
