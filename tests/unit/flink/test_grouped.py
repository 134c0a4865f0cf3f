from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from jetbridge_flink.grouped import in_order, stamped

if TYPE_CHECKING:
    import random


@given(
    parts=st.dictionaries(st.text(max_size=8), st.lists(st.binary(min_size=1, max_size=4), max_size=6), max_size=5),
    seed=st.randoms(use_true_random=False),
    empty=st.integers(0, 2),
)
def test_what_came_from_one_place_keeps_its_order(parts: dict[str, list[bytes]], seed: random.Random, empty: int):
    arrived = [stamped(place, number, each) for place, all_ in parts.items() for number, each in enumerate(all_)]
    arrived += [b""] * empty
    seed.shuffle(arrived)
    expected = [each for place in sorted(parts, key=lambda place: place.encode()) for each in parts[place]]
    assert list(in_order(arrived)) == expected
