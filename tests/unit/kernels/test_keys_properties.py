"""Keys against the naive model: what a dict does, with one NaN."""

from __future__ import annotations

import datetime as dt
import enum
import math
import os
import subprocess
import sys
import uuid
from collections import OrderedDict
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge.errors import KeyTypeError
from jetbridge.kernels.keys import KEY_TYPES, canonical, key_bytes, shard_of, shards_of


@given(data=st.data())
def test_bytes_are_equal_exactly_when_keys_are(kit, data):
    one = data.draw(kit.keys)
    two = data.draw(st.one_of(kit.keys, st.just(one)))
    equal = kit.norm(one) == kit.norm(two)
    assert (key_bytes(canonical(one)) == key_bytes(canonical(two))) is equal
    if equal:
        assert shard_of(canonical(one), 128) == shard_of(canonical(two), 128)


@given(data=st.data())
def test_many_keys_are_as_many_bytes_as_a_dict_has_keys(kit, data):
    keys = data.draw(st.lists(kit.keys, max_size=12))
    assert len({key_bytes(canonical(key)) for key in keys}) == len({kit.norm(key) for key in keys})
    assert len({canonical(key) for key in keys}) == len({kit.norm(key) for key in keys})


@given(data=st.data(), shards=st.sampled_from([1, 2, 7, 128, 32_768]))
def test_shards_are_in_range(kit, data, shards):
    assert 0 <= shard_of(data.draw(kit.keys), shards) < shards


@given(data=st.data(), shards=st.sampled_from([1, 2, 7, 128, 32_768]))
def test_many_keys_at_once_have_the_shards_of_each(kit, data, shards):
    edges = st.sampled_from([-1, 0, 2**32 - 1, 2**32, 2**61 - 1, 2**61])
    alike = st.one_of(st.integers(0, 2**32 + 2), st.integers(), edges), st.text(), kit.keys
    keys = data.draw(st.one_of(*(st.lists(each, max_size=12) for each in alike)))
    assert shards_of(keys, shards) == [shard_of(key, shards) for key in keys]


@pytest.mark.parametrize("shards", [1, 2, 7, 128, 32_768])
@pytest.mark.parametrize(
    "keys",
    [range(0, 2**32, 2**32 // 999), range(2**32 - 9, 2**33, 2**33 // 999), range(-99, 99), [*map(str, range(999))]],
    ids=["32 bits", "more", "negative", "text"],
)
def test_keys_of_one_type_have_the_shards_of_each(keys, shards):
    keys = list(keys)
    assert shards_of(keys, shards) == [shard_of(key, shards) for key in keys]
    assert shards == 1 or len(set(shards_of(keys, shards))) > min(shards, 100) / 2, "and all shards have some"


@given(data=st.data())
def test_the_representative_is_the_key_itself_but_for_nan(kit, data):
    key = data.draw(kit.keys)
    assert kit.norm(canonical(key)) == kit.norm(key)
    assert canonical(canonical(key)) is canonical(key) or "nan" in repr(key).lower()
    if "nan" not in repr(key).lower():
        assert canonical(key) is key


def test_every_nan_is_one_object():
    assert canonical(math.nan) is canonical(-math.inf + math.inf) is canonical(float("nan"))
    assert canonical((1, float("nan"))) == canonical((1.0, -float("nan")))
    assert canonical(frozenset({float("nan")})) == canonical(frozenset({float("nan")}))


def test_keys_spread_over_the_shards():
    numbers = range(10_000)
    for keys in (numbers, map(str, numbers), [n / 7 for n in numbers], [(n, "a") for n in numbers]):
        counts = [0] * 128
        for key in keys:
            counts[shard_of(key, 128)] += 1
        assert min(counts) > 20, "no shard is left out"
        assert max(counts) < 320, "no shard is overfull"


class Bits(enum.Flag):
    A = 1
    B = 2
    C = 4


class Text(str):
    """A str that is not str."""


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Text("a"), "a"),
        (True, Decimal("1.00")),
        (2**53, 2.0**53),
        (10**30, Decimal(10**30)),
        (math.inf, Decimal("Infinity")),
        (Bits.A | Bits.B, Bits.B | Bits.A),
        (uuid.UUID(int=5), uuid.UUID(int=5)),
        (dt.timedelta(days=1), dt.timedelta(hours=24)),
    ],
    ids=repr,
)
def test_equal_keys_of_different_looks(one, two):
    assert one == two
    assert key_bytes(one) == key_bytes(two)
    assert shard_of(one, 128) == shard_of(two, 128)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("1", 1),
        ("a", b"a"),
        ((), frozenset()),
        (("a", "b"), ("ab",)),
        (("a", ("b",)), (("a",), "b")),
        ((1, 23), (12, 3)),
        (None, "None"),
        ("n", None),
        (Bits.A, Bits.B),
        (Bits.A | Bits.B, Bits.A),
        (Bits.A | Bits.B, Bits.A | Bits.C),
        (Bits.A, 1),
        (dt.datetime(2024, 1, 1), dt.date(2024, 1, 1)),
        (dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)),
        (dt.time(1), dt.timedelta(hours=1)),
        (0, dt.timedelta()),
        (2**53 + 1, 2.0**53),
        (0.1, Decimal("0.1")),
        (uuid.UUID(int=5), 5),
        (frozenset({1, 2}), frozenset({12})),
    ],
    ids=repr,
)
def test_unequal_keys_of_similar_looks(one, two):
    assert one != two
    assert key_bytes(one) != key_bytes(two)


@pytest.mark.parametrize("key", [10**5_000, -(10**5_000), Decimal("1e5000"), Decimal("1e-5000")], ids=lambda k: "huge")
def test_huge_numbers(key):
    assert key_bytes(key) == key_bytes(key)
    assert key_bytes(key) != key_bytes(key * 2)
    assert 0 <= shard_of(key, 128) < 128


@pytest.mark.parametrize(
    "key",
    [1j, [1], {}, object(), object, len, range(2), bytearray(b""), OrderedDict(), (1, [2]), frozenset({1j})],
    ids=lambda key: type(key).__name__,
)
def test_other_types_are_refused_by_name(key):
    with pytest.raises(KeyTypeError) as caught:
        key_bytes(key)
    assert KEY_TYPES in str(caught.value)
    inner = {tuple: "list", frozenset: "complex"}.get(type(key), type(key).__name__)
    assert inner in str(caught.value)
    with pytest.raises(KeyTypeError):
        shard_of(key, 128)


EXAMPLES = """[
    None, True, 0, -1, 2**70, 0.5, float("inf"), float("nan"), "", "żółw", b"\\xff", (1, ("a", None)),
    frozenset({"a", "b", "c", 1, None}), frozenset({("x", 1), ("y", 2)}), Decimal("1.5"),
    dt.datetime(2024, 2, 29, 1), dt.datetime(2024, 2, 29, 1, tzinfo=dt.timezone.utc), dt.date(2024, 2, 29),
    dt.time(1, 2, 3, 4), dt.timedelta(-1, 2, 3), uuid.UUID(int=7), enum.Enum("E", "A B").A,
]"""


def test_bytes_and_shards_are_the_same_in_every_process():
    source = (
        "import datetime as dt, enum, uuid\nfrom decimal import Decimal\n"
        "from jetbridge.kernels.keys import key_bytes, shard_of\n"
        f"print([(key_bytes(key), shard_of(key, 128)) for key in {EXAMPLES}])"
    )
    shown = {
        subprocess.run(
            [sys.executable, "-c", source],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(shown) == 1
