from __future__ import annotations

import pytest

from fedcore.network import is_ip


@pytest.mark.parametrize("text", ["10.0.0.1", "::1", "2001:db8::7", "::ffff:10.0.0.1"])
def test_literals_are_addresses(text):
    assert is_ip(text)


@pytest.mark.parametrize(
    "text",
    ["ten.example", "", "10.0.0.1:80", "[::1]", "010.0.0.1", "fe80::1%eth0", "2001:db8::7%1"],
)
def test_names_and_what_is_meant_for_one_machine_are_none(text):
    assert not is_ip(text)
