"""When a certificate is renewed; free of cryptography, for whoever holds one."""

from __future__ import annotations

from datetime import datetime
from typing import Final

RENEW_AFTER: Final = 2 / 3
"""Share of a certificate's life after which it is renewed."""
RENEW_SPREAD: Final = 0.05
"""Share of the life by which renewals are drawn apart, either way."""


def renew_at(not_before: datetime, not_after: datetime, *, spread: float) -> datetime:
    """Return the time of renewal: 2/3 of life, moved by ``spread`` (-1 to 1) times 5 % of it.

    The holder draws ``spread`` once per certificate, so that a thousand agents that joined together
    do not renew together.
    """
    if not -1.0 <= spread <= 1.0:
        raise ValueError("spread must be from -1 to 1")
    return not_before + (not_after - not_before) * (RENEW_AFTER + RENEW_SPREAD * spread)
