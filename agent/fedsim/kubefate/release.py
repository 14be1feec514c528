"""Render a chart from a cluster.yaml: the objects that FATE's own charts would create.

The service does not execute the templates of an archive. Whatever an uploaded archive named
``fate`` or ``fate-exchange`` holds, its objects come from the renderers here, which follow the
official charts of 1.8.0.
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
Version = tuple[int, int, int]
_RENDERED: Final = (1, 8)


def chart_version(text: str) -> Version | None:
    """Read ``v1.8.0`` or ``1.8.0-a``; None for what is no version."""
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    if match is None:
        return None
    major, minor, patch = (int(part or 0) for part in match.groups())
    return major, minor, patch


def render(
    chart: str, version: str, spec: Mapping[str, Any] | None, release: str, namespace: str
) -> list[Object]:
    """Return the objects of a release; raise RenderError with the template engine's text."""
    renderer = {FATE: render_party, EXCHANGE: render_exchange}.get(chart)
    if renderer is None or (chart_version(version) or ())[:2] != _RENDERED:
        raise RenderError(f"chart {chart!r} {version} cannot be rendered by the simulated service")
    return renderer(spec or {}, release, namespace)
