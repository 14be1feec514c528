"""What this site allows: the local policy file, and its verdict on each action.

The site's own people write the file; nothing that a hub sends can widen it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedagent.domain.decision import ActionKind
from fedagent.domain.document import Document, EndpointDocument, ParticipantDocument
from fedcore.errors import FieldError, Invalid

_SERVICE_NAMESPACE: Final = "kube-fate"
"""Where KubeFATE lives; a participant shares it where the agent has one namespace alone."""
_IMAGE_KEYS: Final = frozenset({"image"})
_NAME_KEYS: Final = frozenset({"image", "imagetag", "registry"})
"""Lower-case keys whose values go into the names of images."""
_IMAGE_NAME: Final = re.compile(r"[A-Za-z0-9._/:@-]+")
_DEFAULT_REGISTRY: Final = "federatedai"
"""What FATE's charts use when cluster.yaml names no registry."""


class Verdict(StrEnum):
    """What is done with a kind of action."""

    ALLOW = "allow"
    DENY = "deny"


class Consent(StrEnum):
    """Whether a person at the site is asked."""

    AUTO = "auto"
    MANUAL = "manual"


class Telemetry(StrEnum):
    """What may leave the site."""

    ON = "on"
    REDACTED = "redacted"
    OFF = "off"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChartRule(_Strict):
    """A chart that may be installed. ``version`` is a glob; no digests: any archive of it."""

    name: str
    version: str = "*"
    digests: tuple[str, ...] = ()


class Actions(_Strict):
    """Kinds of action: allowed or denied."""

    install: Verdict = Verdict.ALLOW
    update: Verdict = Verdict.ALLOW
    restart: Verdict = Verdict.ALLOW
    remove: Verdict = Verdict.ALLOW
    adopt: Verdict = Verdict.ALLOW


class ApprovalRules(_Strict):
    """Kinds of action that wait for ``fedagent approve``."""

    install: Consent = Consent.AUTO
    update: Consent = Consent.AUTO
    restart: Consent = Consent.AUTO
    remove: Consent = Consent.AUTO
    adopt: Consent = Consent.AUTO


class TelemetryRules(_Strict):
    """What may leave the site; what is not named is off."""

    inventory: Telemetry = Telemetry.OFF
    findings: Telemetry = Telemetry.OFF


class Policy(_Strict):
    """The policy file. An empty list of names allows every name.

    A key that nothing goes by is refused: in a file about trust it would promise what is not kept.
    """

    namespaces: tuple[str, ...] = Field(default=(), description="Globs of allowed namespaces.")
    charts: tuple[ChartRule, ...] = Field(default=(), description="Charts that may be installed.")
    registries: tuple[str, ...] = Field(
        default=(), description="Globs of image names or registries that may be used."
    )
    actions: Actions = Actions()
    approval: ApprovalRules = ApprovalRules()
    telemetry: TelemetryRules = TelemetryRules()
    is_default: bool = Field(default=False, exclude=True, description="There is no policy file.")


def default_policy() -> Policy:
    """Return what holds without a policy file: everything is allowed and nothing withheld."""
    everything = TelemetryRules(inventory=Telemetry.ON, findings=Telemetry.ON)
    return Policy(telemetry=everything, is_default=True)


@dataclass(frozen=True, slots=True)
class RefusedBy:
    """The rule that forbids it, and a sentence for people."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """A person at the site must consent to this kind of action."""

    kind: ActionKind


@dataclass(frozen=True, slots=True)
class Allowed:
    """Nothing is in the way."""


def decide(policy: Policy, kind: ActionKind) -> Allowed | RefusedBy | NeedsApproval:
    """Return the policy's verdict on one kind of action, whatever the document asks."""
    if kind is ActionKind.NONE:
        return Allowed()
    if getattr(policy.actions, kind.value) is Verdict.DENY:
        return RefusedBy(f"actions.{kind}", f"this site's policy denies actions of kind {kind}")
    if getattr(policy.approval, kind.value) is Consent.MANUAL:
        return NeedsApproval(kind)
    return Allowed()


def parse_policy(tree: object) -> Policy:
    """Make a policy of a parsed file; raise Invalid with the dotted path of every error."""
    try:
        return Policy.model_validate(tree)
    except ValidationError as error:
        errors = tuple(
            FieldError(".".join(str(part) for part in item["loc"]), str(item["msg"]))
            for item in error.errors(include_url=False, include_input=False)
        )
        text = "; ".join(f"{field_error.path}: {field_error.message}" for field_error in errors)
        raise Invalid(f"the policy file cannot be used: {text}", errors=errors) from error


def check_document(policy: Policy, document: Document) -> RefusedBy | None:
    """Return the rule that forbids a document as a whole, if one does."""
    return _check_namespace(policy, document.namespace) or _check_contents(policy, document)


def _check_namespace(policy: Policy, namespace: str) -> RefusedBy | None:
    """Keep out of Kubernetes' own namespaces, unless the policy names one letter by letter."""
    is_system = namespace == "default" or namespace.startswith("kube-")
    if is_system and namespace != _SERVICE_NAMESPACE and namespace not in policy.namespaces:
        return RefusedBy(
            "namespaces.system",
            f"namespace {namespace} belongs to Kubernetes itself, and this site's policy does not"
            " name it",
        )
    if policy.namespaces and not _matches(namespace, policy.namespaces):
        return RefusedBy("namespaces", f"this site's policy does not allow namespace {namespace}")
    return None


def _check_contents(policy: Policy, document: Document) -> RefusedBy | None:
    if isinstance(document, EndpointDocument):
        return _check_images(policy, (document.service_image, document.database_image))
    names = sorted(_texts_of(document.cluster, _NAME_KEYS))
    return (
        _check_chart(policy, document)
        or _check_characters(policy, names)
        or _check_images(policy, images_of(document))
    )


def images_of(document: ParticipantDocument) -> tuple[str, ...]:
    """Return the registry and every image name that cluster.yaml asks for."""
    cluster = document.cluster
    registry = cluster.get("registry") or _DEFAULT_REGISTRY
    return (str(registry), *sorted(_texts_of(cluster, _IMAGE_KEYS)))


def _texts_of(node: Any, keys: frozenset[str]) -> set[str]:
    """Return what stands under ``keys``, in either case, at any depth."""
    texts: set[str] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        if isinstance(current, dict):
            texts |= {str(value) for key, value in current.items() if key.lower() in keys and value}
            stack.extend(current.values())
        elif isinstance(current, list):
            stack.extend(current)
    return texts


def _check_chart(policy: Policy, document: ParticipantDocument) -> RefusedBy | None:
    chart = document.chart
    if not policy.charts:
        return None
    rules = [
        rule
        for rule in policy.charts
        if rule.name == chart.name and fnmatchcase(chart.version, rule.version)
    ]
    if not rules:
        return RefusedBy(
            "charts", f"this site's policy does not allow chart {chart.name} {chart.version}"
        )
    if all(rule.digests and chart.sha256 not in rule.digests for rule in rules):
        return RefusedBy(
            "charts.digests",
            f"this site's policy does not allow this archive of {chart.name} {chart.version}"
            f" (sha256 {chart.sha256 or 'not given'})",
        )
    return None


def _check_characters(policy: Policy, names: Iterable[str]) -> RefusedBy | None:
    """Refuse what could be more than a name once KubeFATE's template has written it into YAML."""
    if not policy.registries:
        return None
    for name in names:
        if not _IMAGE_NAME.fullmatch(name):
            return RefusedBy("registries", f"{name[:80]!r} is no name, tag or registry of an image")
    return None


def _check_images(policy: Policy, images: tuple[str, ...]) -> RefusedBy | None:
    if not policy.registries:
        return None
    for image in images:
        prefixes = [f"{pattern.rstrip('/')}/*" for pattern in policy.registries]
        if image and not _matches(image, (*policy.registries, *prefixes)):
            return RefusedBy("registries", f"this site's policy does not allow images of {image}")
    return None


def _matches(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)
