from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetbridge import sources
from jetbridge.connectors import files_csv, files_lines
from jetbridge.connectors.conformance import check_source
from jetbridge.connectors.files_csv_rows import OpenQuoteError, RowCutter
from jetbridge.errors import PipelineError, SourceError

UTC = dt.timezone.utc


@pytest.fixture
def csv_file(tmp_path):
    def write(content: str | bytes, name: str = "a.csv") -> Path:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name

    return write


def test_types_are_inferred(csv_file, read_all):
    file = csv_file(
        "i,f,b,s,d,t,z,time,none\n"
        "1,1.5,true,x,2013-01-31,2013-01-31T10:20:30.5,2013-01-31T10:00:00+02:00,10:20:30,\n"
        "NA,nan,,,,,,,\n"
    )
    first, second = read_all(sources.csv(file))
    assert first == {
        "i": 1,
        "f": 1.5,
        "b": True,
        "s": "x",
        "d": dt.date(2013, 1, 31),
        "t": dt.datetime(2013, 1, 31, 10, 20, 30, 500_000),
        "z": dt.datetime(2013, 1, 31, 8, tzinfo=UTC),
        "time": dt.time(10, 20, 30),
        "none": None,
    }
    assert {column: type(value) for column, value in first.items() if value is not None} == {
        "i": int,
        "f": float,
        "b": bool,
        "s": str,
        "d": dt.date,
        "t": dt.datetime,
        "z": dt.datetime,
        "time": dt.time,
    }
    assert set(second.values()) == {None}


def test_types_are_given(csv_file, read_all):
    file = csv_file("zip,n,on,at,when\n00501,1,1,2013-01-31,2013-01-31\n")
    types = {"zip": str, "n": float, "on": bool, "at": dt.date, "when": dt.datetime}
    (row,) = read_all(sources.csv(file, types=types))
    assert row == {
        "zip": "00501",
        "n": 1.0,
        "on": True,
        "at": dt.date(2013, 1, 31),
        "when": dt.datetime(2013, 1, 31),
    }
    assert isinstance(row["n"], float)


def test_a_given_datetime_may_have_a_zone(csv_file, read_all):
    file = csv_file("at\n2013-01-31T10:00:00Z\n")
    assert read_all(sources.csv(file, types={"at": dt.datetime})) == [{"at": dt.datetime(2013, 1, 31, 10, tzinfo=UTC)}]


def test_nulls(csv_file, read_all):
    file = csv_file('a,b\nNA,"NA"\n,""\nnull,x\n-,y\n')
    assert read_all(sources.csv(file)) == [
        {"a": None, "b": "NA"},
        {"a": None, "b": ""},
        {"a": None, "b": "x"},
        {"a": "-", "b": "y"},
    ]
    assert [row["a"] for row in read_all(sources.csv(file, nulls=["-"]))] == ["NA", "", "null", None]


def test_quoted_numbers_may_be_missing(csv_file, read_all):
    file = csv_file('"a","b"\n"1","x"\n"",""\n"3","NA"\n')
    assert read_all(sources.csv(file)) == [{"a": 1, "b": "x"}, {"a": None, "b": None}, {"a": 3, "b": None}]


def test_columns_without_a_header(csv_file, read_all):
    file = csv_file("1,x\n2,y\n")
    assert read_all(sources.csv(file, columns=["n", "s"])) == [{"n": 1, "s": "x"}, {"n": 2, "s": "y"}]


def test_selected_columns_come_in_their_order(csv_file, read_all):
    (row,) = read_all(sources.csv(csv_file("a,b,c\n1,2,3\n"), select=["c", "a"]))
    assert list(row.items()) == [("c", 3), ("a", 1)]


def test_delimiter_quote_and_encoding(csv_file, read_all):
    file = csv_file("ä;b\n'1;2';ü\n".encode("latin-1"))
    assert read_all(sources.csv(file, delimiter=";", quote="'", encoding="latin-1")) == [{"ä": "1;2", "b": "ü"}]
    assert read_all(sources.csv(csv_file('a\tb\n"x\t5" y\n'), delimiter="\t", quote=None)) == [{"a": '"x', "b": '5" y'}]
    assert read_all(sources.csv(csv_file("a,b\n1,é\n".encode("utf-16")), encoding="utf-16")) == [{"a": 1, "b": "é"}]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("columns", [None, ["a", "b"]], ids=["header", "no header"])
def test_byte_order_mark_line_ends_and_empty_lines(csv_file, read_all, bom, ending, columns):
    lines = [b"", b"a,b"] if columns is None else []
    file = csv_file(bom * bool(columns) + ending.join([*lines, b"x,1", b"", b"y,2"]))
    assert read_all(sources.csv(file, columns=columns)) == [{"a": "x", "b": 1}, {"a": "y", "b": 2}]
    if columns is None:
        file = csv_file(bom + ending.join([b'"a",b', b"x,1"]))
        assert read_all(sources.csv(file)) == [{"a": "x", "b": 1}]


@pytest.mark.parametrize("content", ["", "a,b\n", "a,b", "\n\n"])
def test_files_without_rows(csv_file, read_all, content):
    assert read_all(sources.csv(csv_file(content))) == []


def test_types_hold_for_all_files_whatever_the_first_is_like(csv_file, tmp_path):
    csv_file("", "1.csv")
    csv_file("a,b\n", "2.csv")
    csv_file("a,b\n1,x\n", "3.csv")
    csv_file("b,a\n5,2\n", "4.csv")
    check_source(lambda: sources.csv(tmp_path / "*.csv"), expected=[{"a": 1, "b": "x"}, {"a": 2, "b": "5"}])


def test_a_column_that_is_empty_at_first_is_text(csv_file, read_all, monkeypatch):
    monkeypatch.setattr(files_csv, "_INFERENCE_BLOCK", 8)
    assert read_all(sources.csv(csv_file("a,b\n1,\n2,\n3,7\n"))) == [
        {"a": 1, "b": None},
        {"a": 2, "b": None},
        {"a": 3, "b": "7"},
    ]


def test_files_with_other_columns_are_an_error_unless_columns_are_selected(csv_file, tmp_path, read_all):
    csv_file("a,b\n1,2\n", "1.csv")
    csv_file("a,c\n3,4\n", "2.csv")
    with pytest.raises(SourceError, match=r"2\.csv: the columns differ from those of .*1\.csv: got \['a', 'c'\]"):
        read_all(sources.csv(tmp_path / "*.csv"))
    assert read_all(sources.csv(tmp_path / "*.csv", select=["a"])) == [{"a": 1}, {"a": 3}]
    with pytest.raises(SourceError, match=r"2\.csv: select names the column 'b', but the columns are \['a', 'c'\]"):
        read_all(sources.csv(tmp_path / "*.csv", select=["b"]))


def test_options_are_compared_with_the_header_before_the_job_starts(csv_file):
    file = csv_file("a,b\n1,2\n")
    with pytest.raises(SourceError, match=r"types names the column 'c', but the columns are \['a', 'b'\]"):
        sources.csv(file, types={"c": int}).check()
    with pytest.raises(SourceError, match="select names the column 'c'"):
        sources.csv(file, select=["c"]).check()
    with pytest.raises(SourceError, match=r"names 'a' twice; .*columns="):
        sources.csv(csv_file("a,a\n1,2\n")).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"types": {"a": list}}, "the type of column 'a' must be one of int, float, str, bool, datetime, date"),
        ({"delimiter": ",,"}, "delimiter must be one ASCII character; got ',,'"),
        ({"quote": "ü"}, "quote must be one ASCII character"),
        ({"columns": "abc"}, "columns must be a list of names; got 'abc'"),
        ({"select": []}, "select must name each column once"),
        ({"select": ["a", "a"]}, "select must name each column once"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(PipelineError, match=re.escape(message)):
        sources.csv("a.csv", **options)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("9,9,9", r"a\.csv, line 5004: got 3 fields, expected 2: '9,9,9'; a value that holds ',' must be quoted"),
        ("9", r"line 5004: got 1 fields, expected 2: '9'; is the delimiter ','\?"),
        ("1.5,x", r"line 500\d, column 'a': '1\.5' is not an int \(inferred .*types=\{'a': float\}"),
        ("ten,x", r"line 500\d, column 'a': 'ten' is not an int \(inferred .*types=\{'a': str\}"),
        ('1,"x', r"line 5004: a quote is opened and never closed; .*quote=None"),
        ("99999999999999999999,x", "column 'a': '99999999999999999999' is not an int"),
    ],
)
def test_bad_rows_are_found_where_they_are(csv_file, read_all, monkeypatch, row, message):
    monkeypatch.setattr(files_csv, "_INFERENCE_BLOCK", 1000)
    file = csv_file('a,b\n1,"x\ny"\n' + "2,z\n" * 5000 + row + "\n3,z\n" * 10)
    source = sources.csv(file)
    with pytest.raises(SourceError, match=message):
        list(source.read_range(str(file), 0, None))
    with pytest.raises(SourceError, match=message):
        read_all(source, limit=100)


def test_a_value_against_a_given_type(csv_file, read_all):
    with pytest.raises(SourceError, match=r"column 'a': 'x' is not a datetime \(as told; pass types=\{'a': str\}"):
        read_all(sources.csv(csv_file("a,b\nx,1\n"), types={"a": dt.datetime}))


def test_bytes_of_another_encoding(csv_file, read_all):
    with pytest.raises(SourceError, match=r"byte b'\\xe9' at offset 7 is not utf-8 .*latin-1"):
        read_all(sources.csv(csv_file(b"a,b\ncaf\xe9,1\n")))


def test_a_truncated_gzip(csv_file, read_all):
    data = gzip.compress(b"a,b\n" + os.urandom(50_000).hex().encode() + b",1\n")
    with pytest.raises(SourceError, match=r"cut\.csv\.gz: the file cannot be read, .*cut short"):
        read_all(sources.csv(csv_file(data[:-2000], "cut.csv.gz")))


FIELDS = st.text(st.sampled_from('ab,"\n\r 5'), max_size=6)


def _written(rows: list[list[str]], quoting: int, ending: str) -> str:
    buffer = io.StringIO()
    if any("\r" in field for row in rows for field in row):
        quoting = csv.QUOTE_ALL  # the module leaves a lone \r unquoted, which to others ends a row
    csv.writer(buffer, quoting=quoting, lineterminator=ending).writerows(rows)
    return buffer.getvalue()


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(st.tuples(FIELDS, FIELDS), max_size=12),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    ending=st.sampled_from(["\n", "\r\n"]),
    compressed=st.booleans(),
    block=st.integers(1, 30),
)
def test_quoted_line_ends_with_tiny_blocks(rows, quoting, ending, compressed, block):
    """Against Python's own csv module; every row is read whatever the cuts."""
    content = _written([["h\n1", "h,2"], *map(list, rows)], quoting, ending).encode()
    expected = [{"h\n1": one, "h,2": two} for one, two in rows]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for module in (files_lines, files_csv):
            patch.setattr(module, "BLOCK", block)
        patch.setattr(files_csv, "_HEADER_BLOCK", block)
        patch.setattr(files_lines, "_SAMPLE", block)
        path = os.path.join(folder, "a.csv.gz" if compressed else "a.csv")
        Path(path).write_bytes(gzip.compress(content, 1) if compressed else content)
        check_source(
            lambda: sources.csv(path, types={"h\n1": str, "h,2": str}, nulls=[]),
            expected=expected,
        )


ROWS = st.lists(
    st.lists(
        st.sampled_from(["a", "", '5" x', 'in"ch', '"q"', '"q\nr"', '"d""d"', '"tail"s', '""']), min_size=2, max_size=2
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=100)
@given(rows=ROWS, block=st.integers(1, 25))
def test_quotes_in_the_middle_of_values_cut_as_pyarrow_reads_them(rows, block):
    content = "".join(",".join(row) + "\n" for row in rows)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = os.path.join(folder, "a.csv")
        Path(path).write_text(content)
        options = {"columns": ["a", "b"], "types": {"a": str, "b": str}, "nulls": []}
        whole = [row for chunk in sources.csv(path, **options).read_range(path, 0, None) for row in chunk]
        for module in (files_lines, files_csv):
            patch.setattr(module, "BLOCK", block)
        check_source(lambda: sources.csv(path, **options), expected=whole)


def test_the_cutter_finds_row_ends():
    cutter = RowCutter(",", '"')
    assert cutter.cut(b"a,b\nc", last=False) == 4
    assert cutter.cut(b"a,b\nc", last=True) == 5
    assert cutter.cut(b'a,"b\nc', last=False) == 0
    assert cutter.cut(b'x\na,"b\nc', last=False) == 2
    assert cutter.cut(b'a,"b\n"\nc', last=False) == 7
    assert cutter.cut(b'5",b\nc,d\ne', last=False) == 9
    assert cutter.first_end(b'a,"\n"\nb\n') == 6
    with pytest.raises(OpenQuoteError) as caught:
        cutter.cut(b'a,b\nc,"d\n', last=True)
    assert caught.value.at == 6


def test_a_quote_that_is_never_closed_is_not_read_to_the_end_of_a_huge_file(monkeypatch):
    monkeypatch.setattr("jetbridge.connectors.files_csv_rows._LONGEST_ROW", 100)
    with pytest.raises(OpenQuoteError):
        RowCutter(",", '"').cut(b'a,"' + b"\n" * 200, last=False)


def test_the_source_keeps_its_promises(csv_file, tmp_path):
    rows = [{"n": number, "s": None if number % 7 == 0 else f"x{number % 5}", "f": number / 4} for number in range(700)]
    text = "n,s,f\n" + "".join(f"{row['n']},{row['s'] or ''},{row['f']}\n" for row in rows)
    csv_file(text, "1.csv")
    csv_file(gzip.compress(text.encode()), "2.csv.gz")
    check_source(lambda: sources.csv(tmp_path / "*.csv*"), expected=rows + rows)
