"""Every wait and time limit of the agent: a value per component, all of them settable."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from itertools import pairwise
from typing import Any, Final

from fedagent.domain.timing import PlanTiming
from fedagent.kube.timing import KubeTiming
from fedagent.kubefate.timing import KubeFateTiming
from fedagent.reconcile.timing import ReconcileTiming
from fedcore import timing
from fedcore.tasks import TaskTiming
from fedlink.timing import LinkTiming

_INTRODUCTION: Final = (
    "Each can be set: in the agent's TOML file (`[timing.link.redial]`, `cap_s = 120`) or by a"
    " variable (`FEDAGENT_TIMING__LINK__REDIAL__CAP_S=120`). Names that end in `_s` are seconds."
    " This page is written by `fedagent timing`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTiming:
    """The waits of an agent, by component."""

    plan: PlanTiming = field(default_factory=PlanTiming)
    """Of the planner: when it looks again, and how long it is patient."""

    reconcile: ReconcileTiming = field(default_factory=ReconcileTiming)
    """Of what observes and acts."""

    kube: KubeTiming = field(default_factory=KubeTiming)
    """Of calls to the Kubernetes API."""

    kubefate: KubeFateTiming = field(default_factory=KubeFateTiming)
    """Of calls to KubeFATE."""

    link: LinkTiming = field(default_factory=LinkTiming)
    """Of the connection to the hub."""

    tasks: TaskTiming = field(default_factory=TaskTiming)
    """Of proof of life."""

    journal_busy_limit_s: float = 5.0
    """For another process to release the journal: ``fedagent approve`` holds it for milliseconds
    (SQLite ``busy_timeout``)."""

    def scaled(self, factor: float) -> AgentTiming:
        """Return a copy whose intervals are ``factor`` times less; limits stay."""
        return timing.scaled(self, factor)


def with_changes(value: Any, changes: Mapping[str, Any], *, path: str = "timing") -> Any:
    """Return a timing with some of its fields changed, at every depth; texts are read as numbers.

    Raises ValueError, which names the field, for an unknown one and for what is no wait.
    """
    names = {item.name for item in fields(value)}
    changed: dict[str, Any] = {}
    for name, change in changes.items():
        where = f"{path}.{name}"
        if name not in names:
            raise ValueError(f"{where} is no wait; `fedagent timing` lists them")
        present = getattr(value, name)
        if is_dataclass(present):
            if not isinstance(change, Mapping):
                raise ValueError(f"{where} holds several waits: name one of them")
            changed[name] = with_changes(present, change, path=where)
        elif isinstance(present, tuple):
            parts = change.split(",") if isinstance(change, str) else change
            changed[name] = tuple(_number(part, where) for part in parts)
        elif isinstance(present, int):
            changed[name] = int(_number(change, where))
        else:
            changed[name] = _number(change, where)
    return replace(value, **changed)


def _number(text: Any, where: str) -> float:
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = math.nan
    if not 0.0 < number < math.inf:
        raise ValueError(f"{where} must be a number above 0, not {text!r}")
    return number


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait as people read it."""

    path: str
    default: str
    text: str


def waits(value: Any, path: str = "") -> Iterator[Wait]:
    """Yield every wait of a timing with the text that documents its field."""
    texts = _texts_of(type(value))
    for item in fields(value):
        present = getattr(value, item.name)
        where = f"{path}{item.name}"
        if is_dataclass(present):
            yield from waits(present, f"{where}.")
        else:
            parts = present if isinstance(present, tuple) else (present,)
            yield Wait(where, ", ".join(f"{part:g}" for part in parts), texts.get(item.name, ""))


def _texts_of(kind: type[Any]) -> dict[str, str]:
    """Return the string that follows each field in a class's source, on one line."""
    tree = ast.parse(inspect.getsource(kind))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    texts: dict[str, str] = {}
    for before, node in pairwise(body):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
        ):
            texts[before.target.id] = " ".join(str(node.value.value).split())
    return texts


def markdown() -> str:
    """Return the page of documentation about the agent's waits."""
    lines = [
        "# Waits of the agent",
        "",
        _INTRODUCTION,
        "",
        "| wait | default | what it is |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{wait.path}` | {wait.default} | {wait.text.replace('``', '`').replace('|', '/')} |"
        for wait in waits(AgentTiming())
    ]
    return "\n".join(lines)
