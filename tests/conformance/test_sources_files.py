from __future__ import annotations

import gzip
import json

import pytest

from jetbridge import Pipeline, sources

pa = pytest.importorskip("pyarrow", reason="the extra 'files'")
import pyarrow.parquet as pq  # noqa: E402 - after the check

ROWS = [{"id": n, "name": f"żółw {n}", "share": n / 4} for n in range(5)]


def lines_of(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def csv_of(rows):
    return "id,name,share\n" + "".join(f"{row['id']},{row['name']},{row['share']}\n" for row in rows)


class TestText:
    @pytest.mark.parametrize(
        ("content", "lines"),
        [
            ("", []),
            ("one", ["one"]),
            ("one\n", ["one"]),
            ("one\n\nthree\n", ["one", "", "three"]),
            ("a\r\nb\r\n", ["a", "b"]),
            ("żółw\n🐢\n", ["żółw", "🐢"]),
            ("x" * 300_000 + "\ny\n", ["x" * 300_000, "y"]),
        ],
        ids=["empty", "no-end", "one", "blank", "crlf", "unicode", "long"],
    )
    def test_lines_without_their_ends(self, jet, folder, content, lines):
        path = folder / "a.txt"
        path.write_bytes(content.encode())
        assert jet.collect(sources.text(str(path))) == lines

    @pytest.mark.parametrize("parallelism", [1, 2])
    def test_every_line_comes_once_however_the_file_is_cut(self, jet, folder):
        path = folder / "a.txt"
        lines = [f"{n} " + "ż" * (n % 50) for n in range(60_000)]
        path.write_text("\n".join(lines), encoding="utf-8")
        assert jet.collect(sources.text(str(path))) == lines

    @pytest.mark.parametrize("parallelism", [1, 2])
    def test_gzip(self, jet, folder):
        path = folder / "a.txt.gz"
        lines = [f"line {n}" for n in range(30_000)]
        path.write_bytes(gzip.compress("\n".join(lines).encode()))
        assert jet.collect(sources.text(str(path))) == lines

    def test_a_glob_reads_all_files_that_match(self, jet, folder):
        for name in ("b.txt", "a.txt", "a.csv"):
            (folder / name).write_text(f"{name}\n")
        (folder / "empty.txt").write_text("")
        assert sorted(jet.collect(sources.text(str(folder / "*.txt")))) == ["a.txt", "b.txt"]

    def test_a_path_object_will_do(self, jet, folder):
        (folder / "a.txt").write_text("a\n")
        assert jet.collect(sources.text(folder / "a.txt")) == ["a"]

    @pytest.mark.parametrize("parallelism", [1, 2])
    def test_word_count(self, jet, folder):
        (folder / "a.txt").write_text("to be or not to be\n" * 5_000)
        results = jet.collect(
            sources.text(str(folder / "a.txt")),
            lambda s: (
                s.flat_map(str.split)
                .group_by(lambda word: word)
                .aggregate(accumulator=lambda n, _: n + 1, initial=0, combiner=lambda a, b: a + b)
            ),
        )
        assert dict(results) == {"to": 10_000, "be": 10_000, "or": 5_000, "not": 5_000}


class TestRows:
    @pytest.fixture(params=["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])
    def written(self, request, folder):
        """Writes rows in a format and gives its source."""

        def write(name, rows):
            kind = request.param.partition(".")[0]
            path = folder / f"{name}.{request.param}"
            if kind == "parquet":
                columns = pa.schema([("id", pa.int64()), ("name", pa.string()), ("share", pa.float64())])
                pq.write_table(pa.Table.from_pylist(rows, schema=columns), path, row_group_size=1_000)
            else:
                content = (csv_of if kind == "csv" else lines_of)(rows).encode()
                path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
            make = {"csv": sources.csv, "jsonl": sources.json_lines, "parquet": sources.parquet}[kind]
            return make(str(folder / f"*.{request.param}"))

        return write

    def test_rows_are_dicts_with_typed_values(self, jet, written):
        rows = jet.collect(written("a", ROWS))
        assert rows == ROWS
        assert [type(value) for value in rows[1].values()] == [int, str, float]

    def test_no_rows(self, jet, written):
        assert jet.collect(written("a", [])) == []

    @pytest.mark.parametrize("parallelism", [1, 2])
    def test_many_rows_keep_their_order(self, jet, written):
        rows = [{"id": n, "name": f"n{n}", "share": n + 0.5} for n in range(20_000)]
        assert jet.collect(written("a", rows)) == rows

    def test_several_files(self, jet, written):
        written("a", ROWS[:2])
        source = written("b", ROWS[2:])
        assert sorted(jet.collect(source), key=lambda row: row["id"]) == ROWS


def test_missing_values_are_none(jet, folder):
    (folder / "a.csv").write_text("a,b\n1,\n,x\n")
    assert jet.collect(sources.csv(str(folder / "a.csv"))) == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    (folder / "a.jsonl").write_text('{"a": 1, "b": null}\n{"a": null, "b": "x"}\n')
    assert jet.collect(sources.json_lines(str(folder / "a.jsonl"))) == [{"a": 1, "b": None}, {"a": None, "b": "x"}]


def test_quoted_fields(jet, folder):
    (folder / "a.csv").write_text('name,text\nx,"a, ""b"""\n"y, z",plain\n')
    assert jet.collect(sources.csv(str(folder / "a.csv"))) == [
        {"name": "x", "text": 'a, "b"'},
        {"name": "y, z", "text": "plain"},
    ]


def test_files_beside_other_sources(jet, folder):
    (folder / "a.txt").write_text("from a file\n")
    pipeline, results = Pipeline.create(), jet.list()
    file = pipeline.read_from(sources.text(str(folder / "a.txt")))
    file.merge(pipeline.read_from(Pipeline.from_list("n", ["from a list"]))).write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert sorted(results.get_all()) == ["from a file", "from a list"]


def test_a_relative_path_is_the_clients(jet, folder, monkeypatch):
    (folder / "a.txt").write_text("here\n")
    monkeypatch.chdir(folder)
    assert jet.collect(sources.text("a.txt")) == ["here"]
