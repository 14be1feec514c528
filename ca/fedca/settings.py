"""What the operator decides about the authority; checked once, when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fedcore.errors import FieldError, Invalid
from fedcore.ids import is_domain, is_name
from fedcore.network import is_ip

DEFAULT_TRUST_DOMAIN: Final = "federation.internal"
MAX_HUB_NAMES: Final = 32
_MAX_TRUST_DOMAIN: Final = 180
"""Leaves room for ``<site>.agents.`` within the 253 characters of a DNS name."""


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """The product's own domain and the public names and addresses of the hub.

    ``trust_domain`` is the root of all names that are not a federation's; it needs no entry in any
    DNS. The hub's certificate bears ``hub.<trust_domain>`` and everything listed here. Raises
    ``Invalid`` with the field's path.
    """

    trust_domain: str = DEFAULT_TRUST_DOMAIN
    hub_dns_names: tuple[str, ...] = ()
    hub_ip_addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        errors = [*_domain_errors(self.trust_domain), *self._name_errors(), *self._ip_errors()]
        if errors:
            where = ", ".join(field_error.path for field_error in errors)
            raise Invalid(f"the authority's settings are wrong: {where}", errors=tuple(errors))

    @property
    def hub_name(self) -> str:
        """The hub's name in the trust domain; agents verify it."""
        return f"hub.{self.trust_domain}"

    @property
    def agents_domain(self) -> str:
        """The domain that all agents' names are in."""
        return f"agents.{self.trust_domain}"

    def _name_errors(self) -> list[FieldError]:
        errors = []
        if len(self.hub_dns_names) + len(self.hub_ip_addresses) > MAX_HUB_NAMES:
            errors.append(FieldError("hub_dns_names", f"more than {MAX_HUB_NAMES} names"))
        for index, name in enumerate(self.hub_dns_names):
            path = f"hub_dns_names.{index}"
            if not (is_name(name) or is_domain(name)):
                errors.append(FieldError(path, "not a lower-case DNS name without wildcard"))
            elif is_within(name, self.agents_domain):
                errors.append(FieldError(path, f"names under {self.agents_domain} are agents'"))
        return errors

    def _ip_errors(self) -> list[FieldError]:
        return [
            FieldError(f"hub_ip_addresses.{index}", "not an IP address without zone")
            for index, text in enumerate(self.hub_ip_addresses)
            if not is_ip(text)
        ]


def is_within(name: str, domain: str) -> bool:
    """Tell whether ``name`` is ``domain`` or below it."""
    return name == domain or name.endswith(f".{domain}")


def _domain_errors(text: str) -> list[FieldError]:
    if not is_domain(text) or len(text) > _MAX_TRUST_DOMAIN:
        return [FieldError("trust_domain", "not a lower-case domain of two labels or more")]
    return []
