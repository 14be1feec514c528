"""Render a chart from a cluster.yaml: the objects that FATE's own charts would create.

The service does not execute the templates of an archive. Whatever an uploaded archive named
``fate`` or ``fate-exchange`` holds, its objects come from the renderers here, which follow the
official charts: 1.8 throughout, from 1.9 on their changed shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from fedsim.kubefate.exchange import render_exchange
from fedsim.kubefate.objects import Object
from fedsim.kubefate.party import render_party
from fedsim.kubefate.values import RenderError

FATE: Final = "fate"
EXCHANGE: Final = "fate-exchange"
UPGRADE_MANAGER: Final = "fate-upgrade-manager"
UPGRADE_JOB: Final = "fate-mysql-upgrade-job"
Version = tuple[int, int, int]


def chart_version(text: str) -> Version | None:
    """Read ``v1.8.0`` or ``1.8.0-a``; None for what is no version."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    if found is None:
        return None
    major, minor, patch = (int(part or 0) for part in found.groups())
    return major, minor, patch


def render(
    chart: str, version: str, spec: Mapping[str, Any] | None, release: str, namespace: str
) -> list[Object]:
    """Return the objects of a release; raise RenderError with the template engine's text."""
    numbers = chart_version(version) or (1, 8, 0)
    tag = ".".join(str(number) for number in numbers) + "-release"
    given = spec or {}
    if chart == FATE:
        is_stateful = numbers >= (1, 9, 0)
        return render_party(given, release, namespace, tag, is_stateful=is_stateful)
    if chart == EXCHANGE:
        return render_exchange(given, release, namespace, tag)
    if chart == UPGRADE_MANAGER:
        return [_upgrade_job(given, release, namespace)]
    raise RenderError(f"chart {chart!r} cannot be rendered by the simulated service")


def _upgrade_job(spec: Mapping[str, Any], release: str, namespace: str) -> Object:
    labels = {"name": release, "owner": "kubefate", "release": release}
    variables = [
        {"name": name.upper(), "value": str(spec.get(name) or "")} for name in ("start", "target")
    ]
    container = {
        "name": "upgrade",
        "image": "federatedai/fate-upgrade-manager:latest",
        "env": variables,
    }
    pod = {"containers": [container], "restartPolicy": "Never"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": UPGRADE_JOB, "namespace": namespace, "labels": labels},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": pod}, "backoffLimit": 0},
    }
