from __future__ import annotations

import datetime as dt
import os
import tempfile
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetbridge import sinks, sources
from jetbridge.connectors import BadItem
from jetbridge.connectors.conformance import check_sink, check_source
from jetbridge.errors import SinkError, SourceError

UTC = dt.timezone.utc
ROW = st.fixed_dictionaries(
    {
        "s": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        "i": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.none() | st.floats(allow_nan=False),
        "b": st.none() | st.booleans(),
        "d": st.none() | st.dates(),
        "t": st.none() | st.datetimes(),
        "z": st.none() | st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 1, 1), timezones=st.just(UTC)),
        "bytes": st.none() | st.binary(max_size=4),
        "list": st.none() | st.lists(st.integers(0, 9), max_size=3),
    }
)


@settings(deadline=None, max_examples=80)
@given(chunks=st.lists(st.lists(ROW, max_size=6), max_size=4))
def test_what_is_written_is_read_back(read_all, write_all, chunks):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.parquet")
        write_all(sinks.parquet(path), chunks)
        assert read_all(sources.parquet(path), limit=2) == [row for chunk in chunks for row in chunk]
        assert os.listdir(folder) == ["a.parquet"]


@pytest.mark.parametrize("group", [1, 7, 100, 1000])
def test_the_source_keeps_its_promises(tmp_path, group):
    rows = [{"n": number, "s": None if number % 5 == 0 else f"x{number % 3}"} for number in range(300)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "1.parquet", row_group_size=group)
    pq.write_table(pa.Table.from_pylist(rows[:0], schema=pa.schema([("n", pa.int64())])), tmp_path / "2.parquet")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "3.parquet", row_group_size=group)
    check_source(lambda: sources.parquet(tmp_path / "*.parquet"), expected=rows + rows)
    source = sources.parquet(tmp_path / "1.parquet")
    assert source.size(str(tmp_path / "1.parquet")) == 300
    source.close()


def test_a_large_row_group_is_cut(tmp_path):
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"n": range(80_000)}), path, row_group_size=80_000)
    source = sources.parquet(path)
    end = source.split(path, 0, 100)
    assert end == 10_000
    assert [row["n"] for chunk in source.read_range(path, end, end + 5) for row in chunk] == list(range(end, end + 5))
    source.close()


def test_empty_row_groups_between_others(tmp_path):
    with pq.ParquetWriter(tmp_path / "a.parquet", pa.schema([("n", pa.int64())])) as writer:
        for values in ([1, 2], [], [3], []):
            writer.write_table(pa.table({"n": pa.array(values, pa.int64())}))
    check_source(lambda: sources.parquet(tmp_path / "a.parquet"), expected=[{"n": 1}, {"n": 2}, {"n": 3}])


def test_selected_columns_come_in_their_order(tmp_path, read_all):
    pq.write_table(pa.table({"a": [1], "b": [2], "c": [3]}), tmp_path / "a.parquet")
    (row,) = read_all(sources.parquet(tmp_path / "a.parquet", select=["c", "a"]))
    assert list(row.items()) == [("c", 3), ("a", 1)]
    with pytest.raises(
        SourceError, match=r"a\.parquet: select names the column 'x', but the columns are \['a', 'b', 'c'\]"
    ):
        read_all(sources.parquet(tmp_path / "a.parquet", select=["x"]))


def test_values_are_pythons_own(tmp_path, read_all):
    at = dt.datetime(2013, 1, 31, 10, 20, 30, 123456)
    table = pa.table(
        {
            "ns": pa.array([at, None], pa.timestamp("ns")),
            "ns utc": pa.array([at, None], pa.timestamp("ns", "UTC")),
            "zone": pa.array([at, None], pa.timestamp("ns", "+02:00")),
            "date64": pa.array([at.date(), None], pa.date64()),
            "dictionary": pa.array(["x", None]).dictionary_encode(),
            "decimal": pa.array([Decimal("1.50"), None]),
            "duration": pa.array([dt.timedelta(seconds=1), None], pa.duration("ns")),
            "struct": pa.array([{"a": 1}, None]),
            "float": pa.array([1.5, 2.5], pa.float32()),
            "times": pa.array([at, at], pa.timestamp("s")).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    first, second = read_all(sources.parquet(tmp_path / "a.parquet"))
    assert [type(value) for value in first.values()] == [
        *[dt.datetime] * 3, dt.date, str, Decimal, dt.timedelta, dict, float, dt.datetime,
    ]  # fmt: skip
    assert first["ns"] == at
    assert first["ns utc"] == first["zone"] == at.replace(tzinfo=UTC)
    assert (first["duration"], first["dictionary"]) == (dt.timedelta(seconds=1), "x")
    assert [value for column, value in second.items() if column not in ("float", "times")] == [None] * 8


@pytest.mark.parametrize("content", [b"", b"PAR1 is not enough", b"\0" * 1000])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, read_all, content):
    (tmp_path / "bad.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=r"bad\.parquet: the file cannot be read, it may be damaged"):
        read_all(sources.parquet(tmp_path / "bad.parquet"))


def test_damage_inside_is_an_error_that_names_the_file(tmp_path, read_all):
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"s": [os.urandom(20) for _ in range(2000)]}), path)
    data = bytearray(path.read_bytes())
    data[4:400] = b"\xff" * 396
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"bad\.parquet"):
        read_all(sources.parquet(path))


def test_a_column_of_none_takes_the_type_of_later_values(tmp_path, read_all, write_all):
    chunks = [[{"a": None, "b": 1}], [{"b": 2.5, "a": "x"}], [{"a": None, "b": 3}]]
    write_all(sinks.parquet(tmp_path / "a.parquet"), chunks)
    assert read_all(sources.parquet(tmp_path / "a.parquet")) == [
        {"a": None, "b": 1.0},
        {"a": "x", "b": 2.5},
        {"a": None, "b": 3.0},
    ]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"a": "x", "b": 1}, "column 'a' held int64 so far and now holds string; map its values to one type"),
        ({"a": 1}, r"lacks \['b'\]: the row \{'a': 1\}"),
    ],
)
def test_chunks_that_do_not_fit_fail_and_leave_nothing(tmp_path, write_all, second, message):
    with pytest.raises(SinkError, match=message):
        write_all(sinks.parquet(tmp_path / "a.parquet"), [[{"a": 1, "b": 1}], [second]])
    assert list(tmp_path.iterdir()) == []


def test_an_int_that_float_cannot_hold_is_an_error(tmp_path, write_all):
    with pytest.raises(SinkError, match="column 'a' became double"):
        write_all(sinks.parquet(tmp_path / "a.parquet"), [[{"a": 2**53 + 1}], [{"a": 0.5}]])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["x", 2**70, object()])
def test_values_that_do_not_fit_their_column_are_refused(value):
    with pytest.raises(BadItem, match="column 'b' cannot hold") as caught:
        sinks.parquet("a.parquet").prepare([{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": value}, {"a": 1, "b": 3}])
    assert caught.value.index == 2


def test_many_chunks_become_few_row_groups(tmp_path, write_all):
    write_all(sinks.parquet(tmp_path / "a.parquet"), [[{"n": number}] * 50 for number in range(100)])
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert (metadata.num_rows, metadata.num_row_groups) == (5000, 1)


def test_the_sink_keeps_its_promises(tmp_path, read_all):
    paths = iter(tmp_path / f"{number}.parquet" for number in range(100))
    check_sink(
        lambda: sinks.parquet(next(paths)),
        read_back=lambda sink: read_all(sources.parquet(sink.path)),
        items=[{"n": number, "s": f"x{number}"} for number in range(9)],
        bad_item={"n": 1},
    )
