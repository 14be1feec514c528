"""Which texts stay themselves when KubeFATE's text templates write them into YAML.

KubeFATE renders twice: cluster.yaml into a chart's values, and these into manifests. Most values
are written raw both times. A text that YAML reads as anything else than itself (a quoted text with
escapes, a tag, a collection, a comment) can hold a line break by the second time, and then be any
manifest at all, whatever a site's policy says of images. Hub and agent refuse it by one rule.
"""

from __future__ import annotations

import re
from typing import Final

WHOLE_KEYS: Final = frozenset({"ingress"})
"""Top-level keys of cluster.yaml below which the charts write everything by toYaml, quoted."""

_DELETED: Final = "<no value>"
"""Go's word for a missing value: KubeFATE deletes it wherever it stands (pkg/service/config.go)."""
_REFUSED: Final = tuple(
    (re.compile(pattern), fault)
    for pattern, fault in (
        (r"^\s|\s$", "begins or ends with a space; remove it"),
        (r"\\", "holds a backslash, which YAML can read as another character; remove it"),
        (r'"', "holds a double quote, which ends a text in KubeFATE's templates; remove it"),
        (r"(?:^|[\s\[{(,])!", "holds a word that begins with '!', a tag in YAML; remove it"),
        (r"^[\[\]{}&*#|>%@`',]|^[-?:](?:\s|$)", "begins with what is no text in YAML; remove it"),
        (r"\s#", "holds ' #', which begins a comment in YAML; remove the space"),
        (r":(?:\s|$)", "holds a colon before a space or at its end, a mapping in YAML; remove it"),
    )
)


def unsafe_reason(text: str) -> str:
    """Return why ``text`` may not be written raw into YAML, with the cure, or nothing.

    The empty text passes: it renders as no value at all.
    """
    for pattern, fault in _REFUSED:
        if pattern.search(text):
            return fault
    return unsafe_document_reason(text)


def unsafe_document_reason(text: str) -> str:
    """Return why ``text`` may not stand in cluster.yaml at all, or nothing."""
    if _DELETED in text:
        return f"holds {_DELETED!r}, which KubeFATE deletes from everything; remove it"
    return ""
