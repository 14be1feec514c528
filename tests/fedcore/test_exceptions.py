"""The errors inside groups."""

from __future__ import annotations

from fedcore.exceptions import first_leaf, leaves


def test_the_errors_inside_groups_come_out_in_order() -> None:
    errors = [ValueError("a"), ValueError("b"), ValueError("c")]
    group = ExceptionGroup("outer", [ExceptionGroup("inner", errors[:2]), errors[2]])
    assert list(leaves(group)) == errors
    assert first_leaf(group) is errors[0]
    assert first_leaf(errors[1]) is errors[1]
