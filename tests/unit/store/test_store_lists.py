"""Stored lists against Python's lists, and streams, which are built alike."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetbridge.errors import SerializationError, StoreError, UnknownTypeError
from jetbridge.store import Database, StoredList, StoredStream, chunks, encode, lists, streams

counter = itertools.count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    database = Database.open(tmp_path_factory.mktemp("lists") / "data")
    yield database
    database.close()


batches = st.lists(st.lists(st.one_of(st.integers(), st.text(), st.none()), max_size=40), max_size=8)
bounds = st.one_of(st.none(), st.integers(-60, 60))


@settings(max_examples=80)
@given(batches=batches, start=bounds, stop=bounds, step=st.one_of(st.none(), st.integers(-4, 4).filter(bool)))
def test_it_is_like_a_python_list(shared: Database, batches: Any, start: Any, stop: Any, step: Any) -> None:
    stored = StoredList(shared, f"list {next(counter)}")
    model: list[Any] = []
    for batch in batches:
        assert stored.add_all(batch) == bool(batch)
        model += batch
    assert stored.get_all() == list(stored) == model
    assert len(stored) == stored.size() == len(model)
    assert stored.is_empty() == (not model) == (not stored)
    assert stored[start:stop:step] == model[start:stop:step]
    for index in range(-len(model), len(model)):
        assert stored[index] == stored.get(index) == model[index]
    for index in (len(model), -len(model) - 1):
        with pytest.raises(IndexError, match="items; there is none at index"):
            stored[index]
    assert all(item in stored for item in model)
    assert "not in it, surely" not in stored
    stored.clear()
    assert stored.get_all() == []
    stored.add(1)
    assert list(stored) == [1]


def test_many_items_are_few_rows(db: Database) -> None:
    stored = StoredList(db, "numbers")
    stored.add_all(range(100_000))
    assert db.reader().execute("SELECT count(*) FROM chunks").fetchone()[0] < 20
    assert stored[77_777] == 77_777
    assert stored[50_000:50_003] == [50_000, 50_001, 50_002]
    assert stored.get_all() == list(range(100_000))


def test_large_items_make_small_chunks(db: Database) -> None:
    stored = StoredList(db, "blobs")
    items = [bytes([number]) * 700_000 for number in range(40)]
    stored.add_all(items)
    assert db.reader().execute("SELECT max(length(payload)) FROM chunks").fetchone()[0] <= 9 << 20
    assert stored.get_all() == items


def test_items_are_copies(db: Database) -> None:
    stored = StoredList(db, "dicts")
    stored.add({"a": 1})
    stored[0]["a"] = 2
    assert stored.get(0) == {"a": 1}


def test_a_bad_item_is_named_by_index_and_nothing_is_added(db: Database) -> None:
    stored = StoredList(db, "numbers")
    stored.add(1)
    items: list[Any] = list(range(10_000))
    items[4711] = lambda: None
    with pytest.raises(SerializationError, match=r"item 4711: .*lambda"):
        stored.add_all(items)
    assert stored.get_all() == [1]


def test_iteration_sees_the_list_as_it_began(db: Database) -> None:
    stored = StoredList(db, "numbers")
    stored.add_all(range(50_000))
    for item in stored:
        if item % 10_000 == 0:
            stored.add(item)
    assert len(stored) == 50_005


def test_iteration_ends_when_the_list_is_cleared(db: Database) -> None:
    stored = StoredList(db, "numbers")
    stored.add_all(range(200_000))
    seen = 0
    for item in stored:
        if item == 0:
            stored.clear()
        seen += 1
    assert seen < 200_000


@pytest.mark.parametrize("name", ["", None, 3, "\ud800"])
def test_a_name_is_a_text(db: Database, name: Any) -> None:
    with pytest.raises(StoreError, match="name of a list must be"):
        StoredList(db, name)


def test_names_may_be_any_text_and_kinds_are_apart(db: Database) -> None:
    for name in ("a b", "naïve", "x' OR 1=1 --", "a\0b"):
        StoredList(db, name).add(name)
        StoredStream(db, name).publish(name + "!")
        assert StoredList(db, name).get_all() == [name]
        assert list(StoredStream(db, name)) == [name + "!"]
    assert lists.names(db.reader()) == sorted(["a b", "naïve", "x' OR 1=1 --", "a\0b"])
    assert streams.names(db.reader()) == lists.names(db.reader())


def test_handles_cost_nothing_and_cannot_be_pickled(db: Database) -> None:
    stored = StoredList(db, "never written")
    assert stored.blocking() is stored
    assert stored.name == "never written"
    assert "never written" in repr(stored)
    assert len(stored) == 0
    assert lists.names(db.reader()) == []
    with pytest.raises(TypeError, match=r"Pipeline\.to_list"):
        pickle.dumps(stored)


def test_a_malicious_row_runs_nothing(db: Database, tmp_path: Any) -> None:
    target = tmp_path / "pwned"
    payload = b"\x01cos\nsystem\n(V" + f"touch {target}".encode() + b"\ntR."
    with db.transaction() as tx:
        lists.append(tx, "trap", [(1, payload)])
    with pytest.raises(UnknownTypeError, match=r"list 'trap', items 0 to 0: .*os\.system"):
        StoredList(db, "trap").get_all()
    assert not target.exists()


def test_runners_append_numbered_chunks_and_read_ranges(db: Database) -> None:
    encoded = list(chunks.encode_chunks(range(1000)))
    with db.transaction() as tx:
        assert lists.append(tx, "out", encoded, run="r", stage="sink", shard="0", first_sequence=7) == 1000
        assert lists.append(tx, "out", [], run="r") == 0
    rows = db.reader().execute("SELECT run, stage, shard, sequence FROM chunks ORDER BY start").fetchall()
    assert rows == [("r", "sink", "0", 7 + number) for number in range(len(encoded))]
    found = [item for chunk in lists.read(db.reader(), "out", 250, 300) for item in chunk]
    assert found == list(range(250, 300))
    assert list(lists.read(db.reader(), "out", 300, 300)) == list(lists.read(db.reader(), "nothing", 0, 9)) == []
    assert lists.size(db.reader(), "out") == 1000
    with db.transaction() as tx:
        assert lists.size(tx, "out") == 1000
        assert [len(chunk) for chunk in lists.read(tx, "out", 0, 10)] == [10]
        lists.clear(tx, "out")
        lists.clear(tx, "nothing")
    assert lists.size(db.reader(), "out") == 0


def test_a_rolled_back_append_leaves_nothing(db: Database) -> None:
    stored = StoredList(db, "numbers")

    def fail() -> None:
        with db.transaction() as tx:
            lists.append(tx, "numbers", [(1, encode([1]))])
            assert lists.size(tx, "numbers") == 1
            assert len(stored) == 0  # readers do not see what is not committed
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(stored) == 0
    assert lists.names(db.reader()) == []


@settings(max_examples=40)
@given(batches=batches, limit=st.integers(1, 50))
def test_a_stream_is_read_from_any_number_on(shared: Database, batches: Any, limit: int) -> None:
    stream = StoredStream(shared, f"stream {next(counter)}")
    model: list[Any] = []
    for batch in batches:
        stream.publish_all(batch)
        model += batch
    assert list(stream) == stream[:] == model
    assert all(item in stream for item in model)
    assert streams.tail(shared.reader(), stream.name) == len(stream) == stream.size() == len(model)
    found: list[Any] = []
    sequence = 0
    while True:
        items, sequence = streams.read(shared.reader(), stream.name, sequence, limit)
        assert len(items) <= limit
        if not items:
            break
        found += items
    assert found == model
    assert sequence == len(model)
    assert streams.read(shared.reader(), stream.name, len(model) + 5, 3) == ([], len(model) + 5)


@settings(max_examples=40)
@given(batches=batches, start=bounds, stop=bounds, step=st.one_of(st.none(), st.integers(-4, 4).filter(bool)))
def test_a_stream_has_the_indexes_of_a_python_list(
    shared: Database, batches: Any, start: Any, stop: Any, step: Any
) -> None:
    stream = StoredStream(shared, f"stream {next(counter)}")
    model: list[Any] = []
    for batch in batches:
        stream.publish_all(batch)
        model += batch
    assert stream[start:stop:step] == model[start:stop:step]
    assert [stream[index] for index in range(-len(model), len(model))] == model + model
    for index in (len(model), -len(model) - 1):
        with pytest.raises(IndexError, match=rf"stream '.*' has {len(model)} messages; there is none at index {index}"):
            stream[index]


def test_messages_carry_their_time(db: Database) -> None:
    StoredStream(db, "clicks").publish("a")
    (written,) = db.reader().execute("SELECT written FROM chunks").fetchone()
    assert written > 1_600_000_000_000


@pytest.mark.parametrize("text", ["abc", "", b"abc", bytearray(b"abc")])
def test_a_text_is_no_list_of_its_characters(db: Database, text: Any) -> None:
    stored, stream = StoredList(db, "a"), StoredStream(db, "s")
    with pytest.raises(TypeError, match=r"add_all must be given several items; got .*: add\(it\) takes one item"):
        stored.add_all(text)
    with pytest.raises(TypeError, match=r"publish_all must be given several items; got .*: publish\(it\) takes one"):
        stream.publish_all(text)
    assert (len(stored), len(stream)) == (0, 0)
