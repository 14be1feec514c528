"""What a URL of the API means: which resource, which object, which subresource."""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.kube.errors import no_such_path
from fedsim.kube.kinds import NAMESPACES, Resource, find_resource


@dataclass(frozen=True, slots=True)
class Target:
    """The object or the collection that a request is about.

    ``namespace`` None is the collection of all namespaces, or a cluster-wide kind.
    """

    resource: Resource
    namespace: str | None
    name: str
    subresource: str
    is_watch: bool = False

    @property
    def space(self) -> str:
        """Return the namespace as the store names it, empty for cluster-wide kinds."""
        return self.namespace or ""


def parse_path(path: str) -> Target:
    """Read ``/api/v1/…`` or ``/apis/GROUP/VERSION/…``; raises 404."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:  # noqa: PLR2004 - api, version, resource
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:  # noqa: PLR2004 - apis, group, version, resource
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise no_such_path()
    is_watch = rest[0] == "watch" and len(rest) > 1
    return _parse_rest(group, version, rest[1:] if is_watch else rest, is_watch=is_watch)


def _parse_rest(group: str, version: str, rest: list[str], *, is_watch: bool) -> Target:
    namespace: str | None = None
    is_inside = (
        rest[0] == NAMESPACES.plural
        and len(rest) > 2  # noqa: PLR2004 - namespaces, name, resource
        and not (group == "" and rest[2] in NAMESPACES.subresources)
    )
    if is_inside:
        namespace, rest = rest[1], rest[2:]
    resource = find_resource(group, version, rest[0])
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""  # noqa: PLR2004 - resource, name, subresource
    if resource is None or len(rest) > 3:  # noqa: PLR2004 - as above
        raise no_such_path()
    if (namespace is not None) is not resource.is_namespaced and (namespace is not None or name):
        raise no_such_path()
    if subresource and subresource not in resource.subresources:
        raise no_such_path()
    return Target(resource, namespace, name, subresource, is_watch)
