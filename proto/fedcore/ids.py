"""Identifiers and their syntax."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Final, NewType
from uuid import UUID

SiteId = NewType("SiteId", str)
AgentId = NewType("AgentId", str)
FederationId = NewType("FederationId", str)
ResourceId = NewType("ResourceId", str)
"""An endpoint or a participant: what a site has a document for."""
Serial = NewType("Serial", str)
"""A certificate's serial number, hexadecimal."""
Epoch = NewType("Epoch", int)
"""The number of an agent's session at the hub; a higher one fences every lower one."""
Generation = NewType("Generation", int)
"""The number of a resource's document; a changed document has the next one."""

NAME_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
"""DNS-1123 label: names of sites, federations and namespaces."""

_NAME = re.compile(NAME_PATTERN)
_DOMAIN_LABEL = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
_MAX_DOMAIN: Final = 253


def new_id(clock_ms: Callable[[], int] | None = None) -> str:
    """Make a UUIDv7 (RFC 9562 §5.7): sorts by the time it was made.

    ``clock_ms`` gives milliseconds since 1970 and is for tests.
    """
    now_ms = clock_ms() if clock_ms is not None else time.time_ns() // 1_000_000
    value = (now_ms & ((1 << 48) - 1)) << 80
    value |= int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(UUID(int=value))


def is_name(text: str) -> bool:
    """Return whether ``text`` is a DNS-1123 label."""
    return _NAME.fullmatch(text) is not None


def is_domain(text: str) -> bool:
    """Return whether ``text`` is a lower-case DNS name of two labels or more, no number as TLD."""
    labels = text.split(".")
    return (
        len(text) <= _MAX_DOMAIN
        and len(labels) > 1
        and all(_DOMAIN_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()
    )
