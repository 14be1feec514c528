"""The kinds of things at a hub: how people name them, where they are, which columns they have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from fedctl.errors import CliError, ExitCode
from fedctl.text import ago, clean, until

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
    """One kind. ``name_of`` gives the name by which people call an item of it.

    ``has_one``: there is an address for one item; otherwise the list is searched. ``detail_key``:
    the address of one item answers it under this key, with more beside it.
    """

    plural: str
    singular: str
    short: tuple[str, ...]
    name_of: Callable[[Json], str]
    columns: Sequence[Column]
    filters: frozenset[str] = field(default_factory=frozenset)
    has_one: bool = True
    detail_key: str | None = None


def _field(name: str) -> Cell:
    return lambda item, _now: clean("" if item.get(name) is None else item[name])


def _age(name: str) -> Cell:
    return lambda item, now: ago(item.get(name), now)


def _flag(name: str, word: str) -> Cell:
    return lambda item, _now: word if item.get(name) else ""


def _findings(item: Json, _now: datetime) -> str:
    return ", ".join(clean(one.get("code", "")) for one in item.get("findings") or ())


def _phase(item: Json, _now: datetime) -> str:
    last = item.get("last_known_phase")
    return clean(item.get("phase", "")) + (f" (was {clean(last)})" if last else "")


def _targets(item: Json, _now: datetime) -> str:
    targets = item.get("targets") or ()
    return f"{sum(1 for one in targets if one.get('done'))}/{len(targets)}"


def _generation(item: Json, _now: datetime) -> str:
    return f"{item.get('observed_generation', 0)}/{item.get('generation', 0)}"


def _certificate_state(item: Json, now: datetime) -> str:
    if item.get("revoked_at"):
        return "revoked"
    if item.get("superseded"):
        return "superseded"
    return "expired" if until(item.get("not_after"), now) == "expired" else "valid"


def _exchange_site(item: Json, _now: datetime) -> str:
    exchange = item.get("intent", {}).get("exchange") or {}
    return clean(exchange.get("site", ""))


def _release_charts(item: Json, _now: datetime) -> str:
    return ", ".join(clean(f"{c.get('name')} {c.get('version')}") for c in item.get("charts") or ())


def _minimum_kubefate(item: Json, _now: datetime) -> str:
    minimum = item.get("minimum_kubefate")
    return f">= {clean(minimum)}" if minimum else ""


def _labels(item: Json, _now: datetime) -> str:
    return clean(",".join(f"{k}={v}" for k, v in sorted((item.get("labels") or {}).items())))


def _dns(item: Json, _now: datetime) -> str:
    return clean(", ".join(item.get("dns_names") or ()))


def _named(key: str) -> Callable[[Json], str]:
    return lambda item: str(item.get(key, ""))


def _event_actor(item: Json, _now: datetime) -> str:
    return clean(item.get("actor") or "")


_WHY: Final = (Column("REASON", _field("reason")), Column("MESSAGE", _field("message")))
KINDS: Final[tuple[Kind, ...]] = (
    Kind(
        "sites",
        "site",
        (),
        _named("name"),
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
        _named("site"),
        (
            Column("SITE", _field("site")),
            Column("PHASE", _phase),
            Column("SINCE", _age("since")),
            Column("VERSION", _field("version")),
            Column("", _flag("adopted", "adopted")),
            *_WHY,
            Column("FINDINGS", _findings, is_wide=True),
            Column("ACCESS", _field("access"), is_wide=True),
            Column("GENERATION", _generation, is_wide=True),
        ),
    ),
    Kind(
        "federations",
        "federation",
        ("fed", "feds"),
        _named("name"),
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
        _named("name"),
        (
            Column("NAME", _field("name")),
            Column("SITE", _field("site")),
            Column("PHASE", _phase),
            Column("SINCE", _age("since")),
            *_WHY,
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
        _named("id"),
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
        _named("serial"),
        (
            Column("SERIAL", lambda item, _now: clean(str(item.get("serial", ""))[:16])),
            Column("PROFILE", _field("profile")),
            Column("SITE", _field("site")),
            Column("RESOURCE", _field("resource")),
            Column("SECRET", _field("secret_name")),
            Column("STATE", _certificate_state),
            Column("ENDS IN", lambda item, now: until(item.get("not_after"), now)),
            Column("NAMES", _dns, is_wide=True),
            Column("ISSUED", _age("issued_at"), is_wide=True),
        ),
        frozenset({"site", "participant", "expiring_before"}),
        has_one=False,
    ),
    Kind(
        "events",
        "event",
        ("ev",),
        _named("id"),
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
        has_one=False,
    ),
    Kind(
        "charts",
        "chart",
        (),
        _named("sha256"),
        (
            Column("NAME", _field("name")),
            Column("VERSION", _field("version")),
            Column("SHA256", lambda item, _now: clean(str(item.get("sha256", ""))[:16])),
            Column("BYTES", _field("size_bytes")),
            Column("AGE", _age("uploaded_at")),
            Column("BY", _field("uploaded_by"), is_wide=True),
        ),
        has_one=False,
    ),
    Kind(
        "releases",
        "release",
        ("rel",),
        _named("version"),
        (
            Column("VERSION", _field("version")),
            Column("ENGINE", _field("engine")),
            Column("TITLE", _field("title")),
            Column("KUBEFATE", _minimum_kubefate),
            Column("CHARTS", _release_charts),
        ),
        has_one=False,
    ),
)


def kind_of(word: str) -> Kind:
    """Return the kind that ``word`` names: plural, singular or short, in any case."""
    wanted = word.lower()
    for kind in KINDS:
        if wanted in {kind.plural, kind.singular, *kind.short}:
            return kind
    known = ", ".join(kind.plural for kind in KINDS)
    raise CliError(ExitCode.USAGE, f"there is no kind {word!r}", hint=f"the kinds are {known}")


def reference(words: Sequence[str]) -> tuple[Kind, str]:
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
