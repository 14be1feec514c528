"""Reviews of what the asking user may do: everything, unless a fault forbids it."""

from __future__ import annotations

from fedsim.faults import FaultName, Faults, matches
from fedsim.kube.errors import bad_request
from fedsim.kube.store import Json


def is_forbidden(rule: str, verb: str, plural: str, namespace: str) -> bool:
    """Say whether a rule of the fault `forbidden` meets a request.

    A rule is ``VERB/RESOURCE[@NAMESPACE]``, each part a glob.
    """
    action, _, space = rule.partition("@")
    rule_verb, _, rule_resource = action.partition("/")
    return (
        matches(rule_verb, verb)
        and matches(rule_resource or "*", plural)
        and matches(space or "*", namespace)
    )


def answer_access_review(faults: Faults, review: object) -> Json:
    """Answer a ``SelfSubjectAccessReview``."""
    spec = _spec(review)
    attributes = spec.get("resourceAttributes") or {}
    plural = "/".join(
        part for part in (attributes.get("resource", ""), attributes.get("subresource", "")) if part
    )
    refused = any(
        is_forbidden(rule, attributes.get("verb", ""), plural, attributes.get("namespace", ""))
        for rule in faults.items(FaultName.FORBIDDEN)
    )
    status: Json = {"allowed": not refused}
    if refused:
        status["reason"] = "ordered to refuse"
    return _answer("SelfSubjectAccessReview", spec, status)


def answer_rules_review(review: object) -> Json:
    """Answer a ``SelfSubjectRulesReview``: the administrator's rules."""
    everything: Json = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    urls: Json = {"verbs": ["*"], "nonResourceURLs": ["*"]}
    status: Json = {
        "resourceRules": [everything],
        "nonResourceRules": [urls],
        "incomplete": False,
    }
    return _answer("SelfSubjectRulesReview", _spec(review), status)


def _spec(review: object) -> Json:
    spec = review.get("spec") if isinstance(review, dict) else None
    if not isinstance(spec, dict):
        raise bad_request("spec: Required value")
    return spec


def _answer(kind: str, spec: Json, status: Json) -> Json:
    return {
        "kind": kind,
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {"creationTimestamp": None},
        "spec": spec,
        "status": status,
    }
