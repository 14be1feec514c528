"""Words of addresses that several components read the same way."""

from __future__ import annotations

import ipaddress


def is_ip(text: str) -> bool:
    """Return whether ``text`` is an IPv4 or IPv6 literal that means the same on every machine.

    One with a scope (``fe80::1%eth0``) names an interface of one machine, and is none.
    """
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
