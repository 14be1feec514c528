"""Read an intent and find every error that can be known before a site is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from fedcore.errors import FieldError, Invalid, first_of
from fedcore.network import is_ip
from fedhub.domain.federation import (
    MAX_PARTIES,
    MAX_PARTY_ID,
    CrossFieldError,
    ExchangeAdvertise,
    ExchangeIntent,
    FederationIntent,
    PartyAdvertise,
    PartyIntent,
    split_host_port,
)
from fedhub.domain.release import Release
from fedhub.planner.endpoint import NAMESPACE as SERVICE_NAMESPACE
from fedhub.planner.overlay import nearest, overlay_errors
from fedhub.planner.payload import payload_error
from fedhub.planner.routes import PULSAR, TUNNEL_PORTS_TEXT, ip_obstacle, is_tunnel_port

_MODELS: Final[Mapping[tuple[str, ...], type[BaseModel]]] = {
    (): FederationIntent,
    ("exchange",): ExchangeIntent,
    ("exchange", "advertise"): ExchangeAdvertise,
    ("parties", "*"): PartyIntent,
    ("parties", "*", "advertise"): PartyAdvertise,
}
_NAME_CURE: Final = (
    "must be a DNS-1123 label: at most 63 of a-z, 0-9 and -, beginning and ending with a letter "
    "or digit"
)
_EXPECTED: Final = {
    "string_type": "must be text; quote it",
    "int_type": "must be a whole number, without quotes",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be one mapping of keys to values, not a list or a bare value",
    "model_attributes_type": "must be one mapping of keys to values, not a list or a bare value",
    "tuple_type": "must be a list",
    "string_pattern_mismatch": _NAME_CURE,
    "missing": "is required",
    "too_long": f"holds more than {MAX_PARTIES} parties; make a second federation",
    "greater_than_equal": f"must be between 1 and {MAX_PARTY_ID}",
    "less_than_equal": (
        f"must be between 1 and {MAX_PARTY_ID}: KubeFATE's templates write a larger one as a float"
    ),
}


def parse_intent(payload: object) -> FederationIntent:
    """Check a parsed JSON or YAML tree and turn it into an intent.

    Raises Invalid with one FieldError each: a dotted path and the cure.
    """
    bound = payload_error(payload)
    if bound is not None:
        raise _invalid((bound,))
    try:
        intent = FederationIntent.model_validate(payload)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise _invalid(tuple(_field_error(detail) for detail in details)) from error
    errors = (*_namespace_errors(intent), *_advertise_errors(intent))
    if errors:
        raise _invalid(errors)
    return intent


def check_intent(
    intent: FederationIntent,
    *,
    release: Release | None,
    known_sites: AbstractSet[str],
    known_releases: Sequence[str] = (),
) -> tuple[FieldError, ...]:
    """List what does not fit this hub: unknown sites, unknown release, overlays of other keys."""
    errors = list(_site_errors(intent, known_sites))
    if release is None:
        listed = f"; known: {', '.join(known_releases)}" if known_releases else ""
        errors.append(
            FieldError(
                "release",
                f"FATE {intent.release} on {intent.engine} is not in the catalogue{listed}",
            )
        )
        return tuple(errors)
    if intent.exchange is not None:
        errors += overlay_errors(release.exchange, intent.exchange.values, "exchange.values")
    for index, party in enumerate(intent.parties):
        errors += overlay_errors(release.cluster, party.values, f"parties.{index}.values")
    return tuple(errors)


def check_change(before: FederationIntent, after: FederationIntent) -> tuple[FieldError, ...]:
    """List what cannot be changed in place: it would need a removal first."""
    errors = [
        FieldError(field, f"cannot change from {getattr(before, field)}; make a new federation")
        for field in ("name", "domain", "release", "engine")
        if getattr(before, field) != getattr(after, field)
    ]
    kept = {party.id for party in after.parties} & {party.id for party in before.parties}
    if (before.exchange is None) != (after.exchange is None) and kept:
        parties = ", ".join(str(party_id) for party_id in sorted(kept))
        verb = "removed" if after.exchange is None else "added"
        errors.append(
            FieldError(
                "exchange",
                f"cannot be {verb} while parties stay ({parties}); remove them first",
            )
        )
    if before.exchange is not None and after.exchange is not None:
        errors.extend(_moved("exchange", before.exchange, after.exchange))
    old = {party.id: party for party in before.parties}
    for index, party in enumerate(after.parties):
        if party.id in old:
            errors.extend(_moved(f"parties.{index}", old[party.id], party))
    return tuple(errors)


def _moved(
    path: str, before: ExchangeIntent | PartyIntent, after: ExchangeIntent | PartyIntent
) -> Iterator[FieldError]:
    cure = "remove it in one apply, and add it at its new place in the next"
    if before.site != after.site:
        yield FieldError(f"{path}.site", f"cannot move from {before.site}; {cure}")
    if _namespace(before) != _namespace(after):
        yield FieldError(f"{path}.namespace", f"cannot move from {_namespace(before)}; {cure}")


def _namespace(intent: ExchangeIntent | PartyIntent) -> str:
    return intent.namespace if isinstance(intent, ExchangeIntent) else intent.effective_namespace


def _invalid(errors: tuple[FieldError, ...]) -> Invalid:
    return Invalid(first_of(errors, whole="the federation"), errors=errors)


def _field_error(error: Mapping[str, Any]) -> FieldError:
    loc = tuple(error["loc"])
    path = ".".join(str(part) for part in loc)
    kind = str(error["type"])
    if kind == "extra_forbidden":
        return FieldError(path, _unknown_key(loc))
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, CrossFieldError):
        return FieldError(cause.path, str(cause))
    if isinstance(cause, ValueError):
        return FieldError(path, str(cause))
    if not loc and kind.startswith("model_"):
        return FieldError("", "must be a mapping with name, domain, exchange and parties")
    return FieldError(path, _EXPECTED.get(kind, str(error["msg"])))


def _unknown_key(loc: tuple[object, ...]) -> str:
    owner = tuple("*" if isinstance(part, int) else str(part) for part in loc[:-1])
    model = _MODELS.get(owner)
    keys = () if model is None else tuple(model.model_fields)
    return f"is no known key; {nearest(str(loc[-1]), keys)}"


def _namespace_errors(intent: FederationIntent) -> Iterator[FieldError]:
    places = [(f"parties.{i}.namespace", p.namespace) for i, p in enumerate(intent.parties)]
    if intent.exchange is not None:
        places.append(("exchange.namespace", intent.exchange.namespace))
    for path, namespace in places:
        if namespace is None or namespace == SERVICE_NAMESPACE:
            # Where KubeFATE has rights in one namespace alone, a participant shares it.
            continue
        if namespace == "default" or namespace.startswith("kube-"):
            yield FieldError(path, f"{namespace} belongs to Kubernetes itself; choose another name")


def _advertise_errors(intent: FederationIntent) -> Iterator[FieldError]:
    taken: dict[tuple[str, int], str] = {}
    if intent.exchange is not None:
        advertise = intent.exchange.advertise.model_dump(exclude_none=True)
        yield from _addresses("exchange.advertise", advertise, "the exchange", taken)
        yield from _own_names("exchange.advertise", advertise, intent.domain)
    for index, party in enumerate(intent.parties):
        path = f"parties.{index}.advertise"
        advertise = party.advertise.model_dump(exclude_none=True)
        yield from _addresses(path, advertise, f"party {party.id}", taken)
        yield from _own_names(path, advertise, intent.domain)
        text = advertise.get(PULSAR)
        if text is None or intent.exchange is None:
            continue
        port = split_host_port(text)[1]
        if not is_tunnel_port(port):
            yield FieldError(
                f"{path}.{PULSAR}",
                f"port {port} is none that the exchange's Traffic Server tunnels to; "
                f"use {TUNNEL_PORTS_TEXT}",
            )


def _addresses(
    path: str, advertise: Mapping[str, str], owner: str, taken: dict[tuple[str, int], str]
) -> Iterator[FieldError]:
    for role, text in advertise.items():
        host, port = split_host_port(text)
        if is_ip(host) and (unusable := ip_obstacle(host)):
            yield FieldError(f"{path}.{role}", f"{unusable}; write an IPv4 address or a DNS name")
        other = taken.setdefault((host, port), owner)
        if other != owner:
            yield FieldError(
                f"{path}.{role}", f"{text} is already advertised for {other}; each needs its own"
            )


def _own_names(path: str, advertise: Mapping[str, str], domain: str) -> Iterator[FieldError]:
    for role, text in advertise.items():
        host = split_host_port(text)[0]
        if host == domain or host.endswith(f".{domain}"):
            yield FieldError(
                f"{path}.{role}",
                f"{host} is in the federation's own domain, whose names lead to the proxies "
                "themselves; write an IPv4 address or a DNS name outside it",
            )


def _site_errors(intent: FederationIntent, known_sites: AbstractSet[str]) -> Iterator[FieldError]:
    places = [(f"parties.{index}.site", party.site) for index, party in enumerate(intent.parties)]
    if intent.exchange is not None:
        places.insert(0, ("exchange.site", intent.exchange.site))
    for path, site in places:
        if site not in known_sites:
            yield FieldError(path, f"there is no site {site}; {_sites(site, known_sites)}")


def _sites(site: str, names: AbstractSet[str]) -> str:
    if not names:
        return f"invite it: fedctl site invite {site}"
    return f"{nearest(site, names).replace('known keys', 'known sites')}, or invite it"
