"""What a change would do, as people read it: a unified diff of each document."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import yaml
from google.protobuf.json_format import MessageToDict

from fedhub.domain.models import PlannedDocument, Spec, StoredDocument
from fedhub.planner.documents import stored_spec

HIDDEN: Final = "(hidden)"
SECRET_WORDS: Final = ("password", "passwd", "secretkey", "default_pass", "token")


class Change(StrEnum):
    """What happens to a document."""

    CREATED = "created"
    CHANGED = "changed"
    REMOVED = "removed"
    TAKEN_BACK = "taken back"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class DocumentDiff:
    """One document's change. ``lines`` is a unified diff; empty when nothing changes."""

    resource_id: str
    site_id: str
    change: Change
    lines: tuple[str, ...]


def diff_documents(before: StoredDocument | None, after: PlannedDocument) -> DocumentDiff:
    """Compare a stored document with the planned one. Values of secret keys are hidden.

    One that is taken back from its removal is compared with what was to be removed.
    """
    old = [] if before is None else readable(stored_spec(before)).splitlines()
    new = [] if after.absent else readable(after.spec).splitlines()
    change = _change(before, after)
    lines: tuple[str, ...] = ()
    if change is not Change.UNCHANGED:
        lines = tuple(difflib.unified_diff(old, new, "now", "planned", lineterm=""))
        if not lines and change is Change.CHANGED:
            lines = ("(a hidden value changes)",)
    return DocumentDiff(after.resource_id, after.site_id, change, lines)


def readable(spec: Spec) -> str:
    """Write a spec as YAML, with cluster.yaml unfolded and secrets hidden."""
    tree = MessageToDict(spec, preserving_proto_field_name=True)
    cluster = tree.pop("cluster_json", None)
    if cluster is not None:
        tree["cluster.yaml"] = json.loads(cluster)
    return yaml.safe_dump(_masked(tree), sort_keys=True, allow_unicode=True, width=100)


def _change(before: StoredDocument | None, after: PlannedDocument) -> Change:
    if before is None:
        return Change.UNCHANGED if after.absent else Change.CREATED
    if before.digest == after.digest:
        return Change.UNCHANGED
    if after.absent:
        return Change.REMOVED
    return Change.TAKEN_BACK if before.absent else Change.CHANGED


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if _is_secret(key, child) else _masked(child)
            for key, child in value.items()
        }
    if isinstance(value, list):
        return [_masked(child) for child in value]
    return value


def _is_secret(key: str, value: Any) -> bool:
    is_leaf = not isinstance(value, Mapping | list)
    return is_leaf and any(word in key.lower() for word in SECRET_WORDS)
