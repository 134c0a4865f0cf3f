"""Stored maps against Python's dicts."""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetbridge.errors import JetbridgeError, KeyTypeError, SerializationError, UnknownTypeError
from jetbridge.store import Database, StoredMap, entries, maps, register_type

counter = itertools.count()


@register_type
class Suit(enum.Enum):
    HEARTS = 1


class Unregistered:
    pass


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    database = Database.open(tmp_path_factory.mktemp("maps") / "data")
    yield database
    database.close()


plain = st.one_of(
    *(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.integers(),
        st.sampled_from([0.0, -0.0, 1.0, 2.5, float("inf")]),
    ),
    *(st.text(max_size=3), st.binary(max_size=3), st.dates(), st.uuids(), st.decimals(-3, 3, places=1)),
)
keys = st.recursive(
    plain, lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=2)), max_leaves=4
)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, st.integers()),
        st.tuples(st.just("set"), keys, st.none()),
        st.tuples(st.just("all"), st.lists(st.tuples(keys, st.integers()), max_size=12)),
        st.tuples(st.just("remove"), keys),
        st.tuples(st.just("clear")),
    ),
    max_size=12,
)


def kinds(found: Any) -> list[str]:
    return sorted(type(key).__name__ + (repr(key) if not isinstance(key, (tuple, frozenset)) else "") for key in found)


@settings(max_examples=150)
@given(actions=actions, page=st.integers(1, 5))
def test_it_is_like_a_dict(shared: Database, actions: Any, page: int) -> None:
    stored = StoredMap(shared, f"map {next(counter)}")
    model: dict[Any, Any] = {}
    for action in actions:
        match action:
            case ("put", key, value):
                assert stored.put(key, value) == model.get(key)
                model[key] = value
            case ("set", key, value):
                stored[key] = value
                model[key] = value
            case ("all", pairs):
                stored.put_all(pairs)
                model.update(pairs)
            case ("remove", key):
                assert stored.remove(key) == model.pop(key, None)
            case _:
                stored.clear()
                model.clear()
    assert len(stored) == stored.size() == len(model)
    assert dict(stored.entry_set()) == dict(stored.items()) == model
    # The key objects too are those that a dict keeps: the first of equal ones.
    assert kinds(stored) == kinds(stored.key_set()) == kinds(model)
    assert sorted(stored.values(), key=repr) == sorted(model.values(), key=repr)
    for key, value in model.items():
        assert key in stored
        assert stored.contains_key(key)
        assert stored[key] == stored.get(key, "none") == value
    asked = [*model, "no such key", *model]
    assert maps.read_values(shared.reader(), stored.name, asked) == [model.get(key) for key in asked]
    paged: list[Any] = []
    after = None
    while True:
        found, after = maps.read_page(shared.reader(), stored.name, after, page)
        paged += found
        if after is None:
            break
    assert dict(paged) == model
    assert len(paged) == len(model)


def test_equal_keys_are_one_and_nan_too(db: Database) -> None:
    stored = StoredMap(db, "m")
    stored.put_all([(1, "a"), (1.0, "b"), (True, "c"), (Decimal(1), "d")])
    assert stored.entry_set() == [(1, "d")]
    assert type(stored.key_set()[0]) is int
    stored.put(float("nan"), 1)
    stored.put(float("nan"), 2)
    assert len(stored) == 2
    assert stored.get(float("nan")) == 2


@pytest.mark.parametrize(
    "key",
    [
        *(None, "", "\ud800", b"", b"\0", 0, -1, 10**4290, 1.0, 2.5, True, (), (1, ("a", None)), frozenset({1})),
        *(dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc), dt.timedelta(1), uuid.UUID(int=3), Suit.HEARTS),
    ],
    ids=lambda key: repr(key)[:30],
)
def test_keys_come_back_exactly(db: Database, key: Any) -> None:
    stored = StoredMap(db, "m")
    stored[key] = None
    assert key in stored
    assert stored[key] is None
    (back,) = stored
    assert back == key
    assert type(back) is type(key)


def test_what_is_not_there(db: Database) -> None:
    stored = StoredMap(db, "m")
    assert stored.get("a") is None
    assert stored.get("a", 3) == 3
    assert stored.remove("a") is None
    assert stored.is_empty()
    assert maps.read_page(db.reader(), "m", None, 5) == ([], None)
    with pytest.raises(KeyError):
        stored["a"]
    with pytest.raises(KeyError):
        del stored["a"]
    stored.clear()
    assert maps.names(db.reader()) == []


def test_mappings_and_large_batches(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "_COMMIT_ENTRIES", 1000)
    stored = StoredMap(db, "m")
    data = {f"key {number}": number for number in range(5321)}
    stored.put_all(data)
    stored.put_all({key: value * 2 for key, value in data.items()})
    assert dict(stored) == {key: value * 2 for key, value in data.items()}
    assert len(stored) == len(data)


def test_bad_entries_are_named(db: Database) -> None:
    stored = StoredMap(db, "m")
    with pytest.raises(SerializationError, match=r"entry 1: a map takes \(key, value\) pairs; got 'ab'"):
        stored.put_all([("a", 1), "ab"])  # type: ignore[list-item]
    with pytest.raises(SerializationError, match=r"entry 1, key 'b': .*lambda"):
        stored.put_all([("a", 1), ("b", lambda: 1)])
    with pytest.raises(KeyTypeError, match="list"):
        stored.put([], 1)
    assert len(stored) == 0


def test_a_bad_key_is_an_error_of_jetbridges_and_a_type_error(db: Database) -> None:
    stored = StoredMap(db, "m")
    for call in (lambda: stored.put([1], 2), lambda: [1] in stored, lambda: stored.get({}), lambda: stored.remove([])):
        for kind in (JetbridgeError, TypeError):
            with pytest.raises(kind, match=r"a key must be one of .*; got (\[1\]|\[\]|\{\}) \((list|dict)\)"):
                call()


def test_values_of_unknown_classes_are_named_and_can_be_replaced(db: Database) -> None:
    stored = StoredMap(db, "m")
    stored["a"] = Unregistered()
    for read in (lambda: stored["a"], stored.values, stored.entry_set, lambda: stored.put("a", 1)):
        with pytest.raises(UnknownTypeError, match=r"map 'm'.*Unregistered"):
            read()
    assert stored.key_set() == ["a"]
    stored["a"] = 1
    assert stored["a"] == 1
    del stored["a"]
    assert len(stored) == 0


def test_runners_prepare_and_apply(db: Database) -> None:
    payload = maps.prepare_entries([("b", 1), ("a", 2), ("b", 3)])
    with db.transaction() as tx:
        assert maps.apply_entries(tx, "m", payload) == 2
        assert maps.apply_entries(tx, "m", maps.prepare_entries([])) == 0
        assert maps.apply_entries(tx, "m", maps.prepare_entries([("c", 4), ("a", 5)])) == 2
        assert maps.size(tx, "m") == 3
    assert maps.read_page(db.reader(), "m", None, 2)[0] == [("a", 5), ("b", 3)]
    with db.transaction() as tx:
        maps.clear(tx, "m")
    assert maps.size(db.reader(), "m") == 0


def test_many_prepared_payloads_are_written_as_one_after_the_other(db: Database) -> None:
    batches: list[list[tuple[Any, Any]]] = [[(1, "a"), ("x", 1)], [(True, "b"), (2, "c")], [(1.0, "d"), ("x", None)]]
    payloads = [maps.prepare_entries(batch) for batch in batches]
    with db.transaction() as tx:
        assert maps.apply_entries(tx, "together", *payloads) == 3
        for payload in payloads:
            maps.apply_entries(tx, "apart", payload)
    for name in ("together", "apart"):
        stored = maps.StoredMap(db, name)
        assert dict(stored.items()) == {1: "d", "x": None, 2: "c"}
        assert [type(key) for key in stored if key == 1] == [int], "the first key object stays"
    with db.transaction() as tx:
        assert maps.apply_entries(tx, "together", *payloads[::-1]) == 3
        assert maps.apply_entries(tx, "together") == 0
    assert dict(maps.StoredMap(db, "together").items()) == {1: "a", "x": 1, 2: "c"}


def test_it_may_change_while_it_is_read(db: Database) -> None:
    stored = StoredMap(db, "m")
    stored.put_all({number: number for number in range(1000)})
    for key in stored:
        stored.remove(key)
    assert len(stored) == 0


def test_many_values_are_read_at_once(db: Database) -> None:
    stored = StoredMap(db, "numbers")
    assert maps.read_values(db.reader(), "numbers", [1, 2]) == [None, None], "a map that nobody has written"
    stored.put_all({n: str(n) for n in range(3000)})
    asked = list(range(-1000, 4000))
    assert maps.read_values(db.reader(), "numbers", asked) == [stored.get(n) for n in asked]
    assert maps.read_values(db.reader(), "numbers", []) == []
    assert maps.read_values(db.reader(), "numbers", [True, 1.0, float("nan")]) == ["1", "1", None]
    with pytest.raises(KeyTypeError, match="a key must be one of"):
        maps.read_values(db.reader(), "numbers", [1, object()])
