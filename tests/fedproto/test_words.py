from __future__ import annotations

import pytest

from fedcore.words import Phase, TableKind
from fedproto.words import HUB_ONLY, WIRE_ENUMS, from_wire, to_wire


@pytest.mark.parametrize("words_of", WIRE_ENUMS, ids=lambda kind: kind.__name__)
def test_every_word_has_a_number_and_every_number_but_zero_a_word(words_of):
    numbers = {to_wire(word) for word in words_of if word not in HUB_ONLY}
    assert numbers == set(WIRE_ENUMS[words_of].values()) - {0}
    assert all(
        from_wire(words_of, to_wire(word)) is word for word in words_of if word not in HUB_ONLY
    )


def test_an_unknown_number_is_no_word():
    assert from_wire(Phase, 0) is None
    assert from_wire(Phase, 999) is None
    assert from_wire(TableKind, 999) is None


@pytest.mark.parametrize("phase", sorted(HUB_ONLY))
def test_the_hubs_own_phases_never_leave_it(phase):
    with pytest.raises(KeyError):
        to_wire(phase)
