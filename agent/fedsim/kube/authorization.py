"""Who may do what: the token may do everything, but for what the fault `forbidden` refuses."""

from __future__ import annotations

import hmac

from aiohttp import web

from fedsim.faults import FaultName, Faults, matches
from fedsim.kube.errors import ApiError, bad_request, forbidden
from fedsim.kube.requests import Target
from fedsim.kube.store import Json

ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def authenticate(request: web.Request, token: str) -> None:
    """Check the bearer token; raises 401."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    is_right = hmac.compare_digest(credentials.strip().encode(), token.encode())
    if scheme.lower() != "bearer" or not is_right:
        raise ApiError(401, "Unauthorized", "Unauthorized")


def authorize(faults: Faults, request: web.Request, target: Target) -> None:
    """Check a request against the fault `forbidden`; raises 403."""
    verb = _verb(request, target)
    if _is_refused(faults, verb, target.plural, target.namespace):
        where = f' in the namespace "{target.namespace}"' if target.namespace else ""
        group = f' in API group "{target.resource.group}"'
        why = f'User "simulated" cannot {verb} resource "{target.plural}"{group}{where}'
        raise forbidden(target.resource, target.name, why)


def answer_access_review(faults: Faults, review: object) -> Json:
    """Answer a ``SelfSubjectAccessReview``."""
    spec = review.get("spec") if isinstance(review, dict) else None
    if not isinstance(spec, dict):
        raise bad_request("spec: Required value")
    attributes = spec.get("resourceAttributes") or {}
    parts = (attributes.get("resource"), attributes.get("subresource"))
    is_refused = _is_refused(
        faults,
        attributes.get("verb", ""),
        "/".join(part for part in parts if part),
        attributes.get("namespace", ""),
    )
    return {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {"creationTimestamp": None},
        "spec": spec,
        "status": {"allowed": not is_refused},
    }


def _is_refused(faults: Faults, verb: str, plural: str, namespace: str) -> bool:
    """Return whether a rule ``VERB/RESOURCE[@NAMESPACE]`` of the fault meets a request."""
    for rule in faults.items(FaultName.FORBIDDEN):
        action, _, rule_namespace = rule.partition("@")
        rule_verb, _, rule_plural = action.partition("/")
        if (
            matches(rule_verb, verb)
            and matches(rule_plural or "*", plural)
            and matches(rule_namespace or "*", namespace)
        ):
            return True
    return False


def is_watch(request: web.Request) -> bool:
    """Return whether a GET asks for a watch."""
    return request.query.get("watch") in {"true", "1"}


def _verb(request: web.Request, target: Target) -> str:
    if request.method != "GET":
        return _VERBS.get(request.method, "get")
    if is_watch(request):
        return "watch"
    if target.subresource in {"exec", "portforward"}:
        return "create"
    return "get" if target.name else "list"
