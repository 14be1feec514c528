"""The kinds of things at a hub: their names, their addresses and the columns of their tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from fedcore.terminal_text import escape
from fedctl.durations import format_age, format_remaining
from fedctl.errors import CliError, ExitCode

Json = dict[str, Any]
Cell = Callable[[Json, datetime], str]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; ``is_wide`` ones appear with ``-o wide`` alone."""

    title: str
    cell: Cell
    is_wide: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of resource, with its names as kubectl has them.

    ``name_of`` returns the name of an item. ``has_address``: one item can be read by its name;
    otherwise the list is searched. ``detail_key``: the answer about one item holds the item under
    this key, and more beside it. ``filters`` are the options of ``get`` that the hub takes for it.
    """

    plural: str
    singular: str
    short: tuple[str, ...]
    name_of: Callable[[Json], str]
    columns: Sequence[Column]
    filters: frozenset[str] = field(default_factory=frozenset)
    has_address: bool = True
    detail_key: str | None = None


def _field(name: str) -> Cell:
    return lambda item, _now: escape("" if item.get(name) is None else item[name])


def _age(name: str) -> Cell:
    return lambda item, now: format_age(item.get(name), now)


def _flag(name: str, word: str) -> Cell:
    return lambda item, _now: word if item.get(name) else ""


def _findings(item: Json, _now: datetime) -> str:
    return ", ".join(escape(finding.get("code", "")) for finding in item.get("findings") or ())


def _phase(item: Json, _now: datetime) -> str:
    last_known = item.get("last_known_phase")
    was = f" (was {escape(last_known)})" if last_known else ""
    return escape(item.get("phase", "")) + was


def _targets(item: Json, _now: datetime) -> str:
    targets = item.get("targets") or ()
    return f"{sum(1 for target in targets if target.get('done'))}/{len(targets)}"


def _generation(item: Json, _now: datetime) -> str:
    return f"{item.get('observed_generation', 0)}/{item.get('generation', 0)}"


def _certificate_state(item: Json, now: datetime) -> str:
    if item.get("revoked_at"):
        return "revoked"
    if item.get("superseded"):
        return "superseded"
    return "expired" if format_remaining(item.get("not_after"), now) == "expired" else "valid"


def _exchange_site(item: Json, _now: datetime) -> str:
    exchange = item.get("intent", {}).get("exchange") or {}
    return escape(exchange.get("site", ""))


def _release_charts(item: Json, _now: datetime) -> str:
    return ", ".join(
        escape(f"{c.get('name')} {c.get('version')}") for c in item.get("charts") or ()
    )


def _minimum_kubefate(item: Json, _now: datetime) -> str:
    minimum = item.get("minimum_kubefate")
    return f">= {escape(minimum)}" if minimum else ""


def _labels(item: Json, _now: datetime) -> str:
    return escape(",".join(f"{k}={v}" for k, v in sorted((item.get("labels") or {}).items())))


def _dns(item: Json, _now: datetime) -> str:
    return escape(", ".join(item.get("dns_names") or ()))


def _name_field(key: str) -> Callable[[Json], str]:
    return lambda item: str(item.get(key, ""))


def _event_actor(item: Json, _now: datetime) -> str:
    return escape(item.get("actor") or "")


_REASON_COLUMNS: Final = (Column("REASON", _field("reason")), Column("MESSAGE", _field("message")))
KINDS: Final[tuple[Kind, ...]] = (
    Kind(
        "sites",
        "site",
        (),
        _name_field("name"),
        (
            Column("NAME", _field("name")),
            Column("STATE", _field("state")),
            Column("SINCE", _age("since")),
            Column("AGENT", _field("agent_version")),
            Column("KUBERNETES", _field("kubernetes_version")),
            Column("NODES", _field("node_count")),
            Column("", _flag("simulated", "simulated")),
            Column("FINDINGS", _findings),
            Column("SEEN", _age("last_seen_at"), is_wide=True),
            Column("LABELS", _labels, is_wide=True),
            Column("AGENT ID", _field("agent_id"), is_wide=True),
        ),
        frozenset({"state"}),
    ),
    Kind(
        "endpoints",
        "endpoint",
        ("ep",),
        _name_field("site"),
        (
            Column("SITE", _field("site")),
            Column("PHASE", _phase),
            Column("SINCE", _age("since")),
            Column("VERSION", _field("version")),
            Column("", _flag("adopted", "adopted")),
            *_REASON_COLUMNS,
            Column("FINDINGS", _findings, is_wide=True),
            Column("ACCESS", _field("access"), is_wide=True),
            Column("GENERATION", _generation, is_wide=True),
        ),
    ),
    Kind(
        "federations",
        "federation",
        ("fed", "feds"),
        _name_field("name"),
        (
            Column("NAME", _field("name")),
            Column("DOMAIN", _field("domain")),
            Column("RELEASE", _field("release")),
            Column("EXCHANGE", _exchange_site),
            Column("PARTIES", _field("party_count")),
            Column("REVISION", _field("revision")),
            Column("AGE", _age("created_at")),
            Column("", _flag("removing", "removing")),
            Column("CHANGED", _age("updated_at"), is_wide=True),
        ),
    ),
    Kind(
        "participants",
        "participant",
        ("part", "parts"),
        _name_field("name"),
        (
            Column("NAME", _field("name")),
            Column("SITE", _field("site")),
            Column("PHASE", _phase),
            Column("SINCE", _age("since")),
            *_REASON_COLUMNS,
            Column("NAMESPACE", _field("namespace"), is_wide=True),
            Column("GENERATION", _generation, is_wide=True),
            Column("ID", _field("id"), is_wide=True),
        ),
        frozenset({"federation", "site", "phase"}),
        detail_key="participant",
    ),
    Kind(
        "operations",
        "operation",
        ("op", "ops"),
        _name_field("id"),
        (
            Column("ID", _field("id")),
            Column("KIND", _field("kind")),
            Column("SUBJECT", _field("subject")),
            Column("STATE", _field("state")),
            Column("DONE", _targets),
            Column("AGE", _age("created_at")),
            Column("MESSAGE", _field("message")),
            Column("BY", _field("requested_by"), is_wide=True),
            Column("ENDED", _age("ended_at"), is_wide=True),
        ),
        frozenset({"federation", "state"}),
        detail_key="operation",
    ),
    Kind(
        "certificates",
        "certificate",
        ("cert", "certs"),
        _name_field("serial"),
        (
            Column("SERIAL", lambda item, _now: escape(str(item.get("serial", ""))[:16])),
            Column("PROFILE", _field("profile")),
            Column("SITE", _field("site")),
            Column("RESOURCE", _field("resource")),
            Column("SECRET", _field("secret_name")),
            Column("STATE", _certificate_state),
            Column("ENDS IN", lambda item, now: format_remaining(item.get("not_after"), now)),
            Column("NAMES", _dns, is_wide=True),
            Column("ISSUED", _age("issued_at"), is_wide=True),
        ),
        frozenset({"site", "participant", "expiring_before"}),
        has_address=False,
    ),
    Kind(
        "events",
        "event",
        ("ev",),
        _name_field("id"),
        (
            Column("ID", _field("id")),
            Column("AGE", _age("occurred_at")),
            Column("SEVERITY", _field("severity")),
            Column("KIND", _field("kind")),
            Column("ABOUT", _field("resource")),
            Column("MESSAGE", _field("message")),
            Column("BY", _event_actor, is_wide=True),
            Column("OPERATION", _field("operation_id"), is_wide=True),
        ),
        frozenset({"federation", "site", "participant", "kind"}),
        has_address=False,
    ),
    Kind(
        "charts",
        "chart",
        (),
        _name_field("sha256"),
        (
            Column("NAME", _field("name")),
            Column("VERSION", _field("version")),
            Column("SHA256", lambda item, _now: escape(str(item.get("sha256", ""))[:16])),
            Column("BYTES", _field("size_bytes")),
            Column("AGE", _age("uploaded_at")),
            Column("BY", _field("uploaded_by"), is_wide=True),
        ),
        has_address=False,
    ),
    Kind(
        "releases",
        "release",
        ("rel",),
        _name_field("version"),
        (
            Column("VERSION", _field("version")),
            Column("ENGINE", _field("engine")),
            Column("TITLE", _field("title")),
            Column("KUBEFATE", _minimum_kubefate),
            Column("CHARTS", _release_charts),
        ),
        has_address=False,
    ),
)


def kind_of(word: str) -> Kind:
    """Return the kind that ``word`` names: plural, singular or short, in upper or lower case."""
    lower = word.lower()
    for kind in KINDS:
        if lower in {kind.plural, kind.singular, *kind.short}:
            return kind
    plurals = ", ".join(kind.plural for kind in KINDS)
    raise CliError(ExitCode.USAGE, f"there is no kind {word!r}", hint=f"the kinds are {plurals}")


def parse_reference(words: Sequence[str]) -> tuple[Kind, str]:
    """Read ``KIND NAME`` or ``KIND/NAME``; a participant's name may hold a slash itself."""
    first, *rest = words
    if rest:
        kind, name = kind_of(first), rest[0]
    else:
        word, _, name = first.partition("/")
        kind = kind_of(word)
    name = name.removeprefix(f"{kind.singular}/")
    if not name:
        raise CliError(
            ExitCode.USAGE, f"which {kind.singular}?", hint=f"write {kind.singular}/NAME"
        )
    return kind, name
