from __future__ import annotations

import datetime as dt
import decimal
import gzip
import math
import os
import re
import tempfile
import uuid

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetbridge import sinks, sources
from jetbridge.connectors import BadItem
from jetbridge.connectors.conformance import check_sink
from jetbridge.errors import PipelineError, SinkError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["", "NA", "nan", '"', '""', ",", "\n", "\r\n", "\r", " x ", "\ufeff", "1", "true"]
)
ROW = st.fixed_dictionaries(
    {
        "text, quoted": st.none() | TEXT,
        "i": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.none() | st.floats(allow_nan=False),
        "b": st.none() | st.booleans(),
        "d": st.none() | st.dates(dt.date(1, 1, 1)),
        "t": st.none() | st.datetimes(dt.datetime(1, 1, 1)),
    }
)
TYPES = {"text, quoted": str, "i": int, "f": float, "b": bool, "d": dt.date, "t": dt.datetime}


@settings(deadline=None, max_examples=80)
@given(chunks=st.lists(st.lists(ROW, max_size=6), max_size=3), extension=st.sampled_from(["", ".gz"]))
def test_what_is_written_is_read_back(read_all, write_all, chunks, extension):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"a.csv{extension}")
        write_all(sinks.csv(path), chunks)
        rows = [row for chunk in chunks for row in chunk]
        assert read_all(sources.csv(path, types=TYPES if rows else None), limit=2) == rows


@settings(deadline=None, max_examples=60)
@given(values=st.lists(st.none() | TEXT, min_size=1))
def test_a_single_column_of_text_or_nothing_is_read_back(read_all, write_all, values):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.csv")
        write_all(sinks.csv(path, delimiter=";"), [[{"only": value} for value in values]])
        assert [row["only"] for row in read_all(sources.csv(path, delimiter=";", types={"only": str}))] == values


def test_not_a_number_is_read_back(tmp_path, read_all, write_all):
    write_all(sinks.csv(tmp_path / "a.csv"), [[{"f": math.nan, "g": math.inf}, {"f": 1.5, "g": None}]])
    first, second = read_all(sources.csv(tmp_path / "a.csv"))
    assert math.isnan(first["f"])
    assert (first["g"], second) == (math.inf, {"f": 1.5, "g": None})


def test_pandas_reads_the_file(tmp_path, write_all):
    rows = [{"s": 'say "a, b"\nc', "n": 1}, {"s": "", "n": None}]
    write_all(sinks.csv(tmp_path / "a.csv"), [rows])
    frame = pd.read_csv(tmp_path / "a.csv", keep_default_na=False)
    assert frame["s"].tolist() == ['say "a, b"\nc', ""]
    assert frame["n"].tolist() == ["1", ""]


def test_values_of_other_types(tmp_path):
    key = uuid.UUID(int=5)
    row = {
        "money": decimal.Decimal("1.50"),
        "key": key,
        "np": np.int64(7),
        "npf": np.float32(0.5),
        "at": dt.datetime(2013, 1, 31, 10, tzinfo=dt.timezone.utc),
        "time": dt.time(10, 20),
    }
    assert (
        sinks.csv(tmp_path / "a.csv").format([row]) == f"1.50,{key},7,0.5,2013-01-31T10:00:00+00:00,10:20:00\n".encode()
    )


def test_the_columns_are_those_of_the_first_row_whatever_the_order(tmp_path, write_all):
    chunks = [[{"a": 1, "b": "x"}, {"b": 'y"', "a": 2}], [{"b": "z,\n", "a": 3}, {"a": None, "b": ""}]]
    for name in ("a.csv", "a.csv.gz"):
        write_all(sinks.csv(tmp_path / name), chunks)
    expected = b'a,b\n1,x\n2,"y"""\n3,"z,\n"\n,""\n'
    assert (tmp_path / "a.csv").read_bytes() == expected
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == expected


def test_a_chunk_with_other_columns_fails_and_leaves_nothing(tmp_path, write_all):
    with pytest.raises(SinkError, match=r"lacks \['b'\] and has \['c'\] besides: the row \{'a': '2', 'c': '3'\}"):
        write_all(sinks.csv(tmp_path / "a.csv"), [[{"a": 1, "b": 2}], [{"a": 2, "c": 3}]])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"a": 1}, "lacks ['b']: the row {'a': 1}"),
        ({"a": 1, "b": 2, "c": 3}, "has ['c'] besides"),
        (("k", 1), "takes dicts; got tuple ('k', 1): add a map before the sink"),
        ({"a": [1], "b": 2}, "column 'a' holds list, which is no CSV value"),
        ({"a": "\ud800", "b": 2}, "cannot be written as UTF-8"),
    ],
)
def test_items_that_are_no_rows_are_refused(item, message):
    with pytest.raises(BadItem, match=re.escape(message)) as caught:
        sinks.csv("a.csv").prepare([{"a": 1, "b": 2}, item])
    assert caught.value.index == 1


def test_the_first_row_needs_columns():
    with pytest.raises(BadItem, match="at least one column"):
        sinks.csv("a.csv").prepare([{}])
    with pytest.raises(BadItem, match="names that are str"):
        sinks.csv("a.csv").prepare([{1: 2}])


@pytest.mark.parametrize("delimiter", [",,", "", ".", "1", '"', "\n", None])
def test_delimiters_that_would_break_values_are_refused(delimiter):
    with pytest.raises(PipelineError, match="the delimiter must"):
        sinks.csv("a.csv", delimiter=delimiter)


def test_the_sink_keeps_its_promises(tmp_path, read_all):
    paths = iter(tmp_path / f"{number}.csv" for number in range(100))
    check_sink(
        lambda: sinks.csv(next(paths)),
        read_back=lambda sink: read_all(sources.csv(sink.path)),
        items=[{"n": number, "s": f"x{number}"} for number in range(9)],
        bad_item={"n": 1},
    )
