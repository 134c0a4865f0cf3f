from __future__ import annotations

import datetime as dt
import enum
import math
import uuid
from collections import defaultdict
from decimal import Decimal
from typing import NamedTuple

import pytest

from jetbridge import Pipeline, register_type


@register_type
class Colour(enum.Enum):
    RED = 1
    GREEN = 2


@register_type
class Level(enum.IntEnum):
    LOW = 1


@register_type
class Point(NamedTuple):
    x: int
    y: int


def groups(items, key_fn):
    """The naive model."""
    model = defaultdict(list)
    for item in items:
        model[key_fn(item)].append(item)
    return dict(model)


@pytest.fixture
def grouped(jet):
    def run(items, key_fn=lambda item: item):
        pairs = jet.collect(items, lambda stage: stage.group_by(key_fn))
        assert all(type(pair) is tuple and type(pair[1]) is list for pair in pairs)
        result = dict(pairs)
        assert len(result) == len(pairs), f"a key came twice: {pairs}"
        return result

    return run


def test_items_of_a_key_come_as_one_list_in_source_order(grouped):
    words = ["pear", "plum", "apple", "peach", "apple"]
    assert grouped(words, lambda word: word[0]) == {"p": ["pear", "plum", "peach"], "a": ["apple", "apple"]}


@pytest.mark.parametrize("items", [[], ["x"], [None], [None, None, 1]], ids=repr)
def test_few_items(grouped, items):
    assert grouped(items) == groups(items, lambda item: item)


def test_duplicates_stay(grouped):
    assert grouped([7, 7, 7], lambda item: "k") == {"k": [7, 7, 7]}


KEYS = [
    None,
    "",
    "a",
    "żółw",
    "🐢",
    "\udc80",
    b"",
    b"a",
    b"\x00\xff",
    0,
    -1,
    2**200,
    -(2**200),
    0.5,
    math.inf,
    -math.inf,
    (),
    (1, 2),
    (1, (2, None)),
    ("a", b"a"),
    frozenset(),
    frozenset({1, 2}),
    frozenset({(1, "x")}),
    dt.datetime(2024, 2, 29, 12, 30),
    dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone.utc),
    dt.date(2024, 2, 29),
    dt.time(12, 30),
    dt.timedelta(days=-1, microseconds=1),
    Decimal("0.1"),
    uuid.UUID(int=1),
    Colour.RED,
    Colour.GREEN,
    Point(3, 4),
]


def test_keys_of_every_kind_are_keys_of_their_own(grouped):
    items = [(key, number) for number in range(3) for key in KEYS]
    assert grouped(items, lambda item: item[0]) == groups(items, lambda item: item[0])


@pytest.mark.parametrize(
    "keys",
    [
        [1, 1.0, True, Decimal(1), Level.LOW],
        [0, -0.0, False],
        [math.nan, float("nan"), math.inf - math.inf],
        [(1, "a"), (1.0, "a"), (True, "a")],
        [(math.nan, 1), (float("nan"), 1)],
        [frozenset({1, 2}), frozenset({2.0, True})],
        [2**53, float(2**53)],
        [Decimal("0.5"), 0.5],
        [
            dt.datetime(2024, 1, 1, 12, tzinfo=dt.timezone.utc),
            dt.datetime(2024, 1, 1, 13, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        ],
        [Point(1, 2), (1, 2)],
    ],
    ids=repr,
)
def test_keys_that_a_dict_takes_for_one_are_one(grouped, keys):
    numbered = list(enumerate(keys))
    result = grouped(numbered, lambda item: item[1])
    assert [[number for number, _ in items] for items in result.values()] == [list(range(len(keys)))]


def test_text_and_bytes_and_numbers_are_different_keys(grouped):
    assert len(grouped(["1", b"1", 1, (1,), "", b"", (), None, "None", frozenset()])) == 10


@pytest.mark.parametrize("shards", [1, 128])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_shards_and_cores_do_not_matter(grouped):
    items = list(range(5_000))
    assert grouped(items, lambda n: n % 501) == groups(items, lambda n: n % 501)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_one_hot_key(grouped):
    items = ["hot"] * 40_000 + ["cold", "cool"]
    result = grouped(items)
    assert {key: len(group) for key, group in result.items()} == {"hot": 40_000, "cold": 1, "cool": 1}


@pytest.mark.parametrize("parallelism", [1, 2])
def test_every_item_has_a_key_of_its_own(grouped):
    assert grouped(range(20_000)) == {n: [n] for n in range(20_000)}


def test_items_need_no_hash(grouped):
    rows = [{"category": "a", "n": 1}, {"category": "b", "n": 2}, {"category": "a", "n": 3}]
    assert grouped(rows, lambda row: row["category"]) == {"a": [rows[0], rows[2]], "b": [rows[1]]}


def test_groups_go_on_through_other_stages(jet):
    results = jet.collect(
        ["a", "bb", "cc", "d"],
        lambda s: (
            s.group_by(len).collect().map(lambda group: (group[0], sorted(group[1]))).filter(lambda group: group[0] > 1)
        ),
    )
    assert results == [(2, ["bb", "cc"])]


def test_groups_can_be_grouped_again(jet):
    results = jet.collect(
        range(12),
        lambda s: (
            s.group_by(lambda n: n % 4)
            .collect()
            .map(lambda group: (group[0] % 2, sum(group[1])))
            .group_by(lambda pair: pair[0])
        ),
    )
    assert {key: sorted(total for _, total in pairs) for key, pairs in results} == {0: [12, 18], 1: [15, 21]}


def test_groups_into_a_map(jet):
    pipeline, target = Pipeline.create(), jet.map()
    source = pipeline.read_from(Pipeline.from_list("words", ["a", "bb", "cc"]))
    source.group_by(len).write_to(Pipeline.to_map(target.name))
    jet.run(pipeline)
    assert dict(target.entry_set()) == {1: ["a"], 2: ["bb", "cc"]}


def test_distinct_by_group(jet):
    results = jet.collect(["apple", "avocado", "banana"], lambda s: s.group_by(lambda w: w[0]).distinct())
    assert sorted(results) == ["apple", "banana"]
