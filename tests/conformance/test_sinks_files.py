from __future__ import annotations

import csv
import gzip
import json

import pytest

from jetbridge import JobFailedError, Pipeline, SinkError, sinks, sources

pq = pytest.importorskip("pyarrow.parquet", reason="the extra 'files'")

ROWS = [{"id": n, "name": f"żółw {n}", "share": n / 4} for n in range(5)]
FORMATS = {
    "txt": (sinks.text, lambda path: path.read_text(encoding="utf-8").splitlines()),
    "csv": (sinks.csv, lambda path: list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))),
    "jsonl": (sinks.json_lines, lambda path: list(map(json.loads, path.read_text(encoding="utf-8").splitlines()))),
    "parquet": (sinks.parquet, lambda path: pq.read_table(path).to_pylist()),
}


def items_for(kind, rows):
    return [row["name"] for row in rows] if kind == "txt" else rows


def expected_of(kind, rows):
    if kind == "csv":
        return [{key: str(value) for key, value in row.items()} for row in rows]
    return items_for(kind, rows)


@pytest.fixture
def write(jet):
    def run(items, sink, build=lambda stage: stage):
        pipeline = Pipeline.create()
        build(pipeline.read_from(Pipeline.from_list("items", items))).write_to(sink)
        return jet.run(pipeline)

    return run


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("parallelism", [1, 2])
def test_one_file_at_the_path_in_source_order(write, folder, kind):
    make, read = FORMATS[kind]
    rows = [{"id": n, "name": f"n{n}", "share": n + 0.5} for n in range(12_000)]
    path = folder / f"out.{kind}"
    write(items_for(kind, rows), make(str(path)))
    assert read(path) == expected_of(kind, rows)
    assert [each.name for each in folder.iterdir()] == [path.name], "nothing else is left there"


@pytest.mark.parametrize("kind", FORMATS)
def test_no_items_give_an_empty_file(write, folder, kind):
    make, read = FORMATS[kind]
    path = folder / f"out.{kind}"
    write([], make(str(path)))
    assert path.exists()
    assert read(path) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_what_was_written_can_be_read(jet, write, folder, kind):
    make, _ = FORMATS[kind]
    path = folder / f"out.{kind}"
    write(items_for(kind, ROWS), make(str(path)))
    source = {"txt": sources.text, "csv": sources.csv, "jsonl": sources.json_lines, "parquet": sources.parquet}[kind]
    assert jet.collect(source(str(path))) == items_for(kind, ROWS)


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
def test_gzip_by_the_name(jet, write, folder, kind):
    make, _ = FORMATS[kind]
    path = folder / f"out.{kind}.gz"
    write(items_for(kind, ROWS), make(str(path)))
    assert gzip.decompress(path.read_bytes())
    source = {"txt": sources.text, "csv": sources.csv, "jsonl": sources.json_lines}[kind]
    assert jet.collect(source(str(path))) == items_for(kind, ROWS)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_existing_file_is_refused(write, folder, kind):
    make, _ = FORMATS[kind]
    path = folder / f"out.{kind}"
    path.write_bytes(b"precious")
    with pytest.raises(SinkError, match="overwrite=True") as caught:
        write(items_for(kind, ROWS), make(str(path)))
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("kind", FORMATS)
def test_unless_it_may_be_overwritten(write, folder, kind):
    make, read = FORMATS[kind]
    path = folder / f"out.{kind}"
    path.write_bytes(b"old")
    write(items_for(kind, ROWS), make(str(path), overwrite=True))
    assert read(path) == expected_of(kind, ROWS)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_failed_job_leaves_no_file_and_the_old_one_as_it_was(write, folder, kind):
    make, _ = FORMATS[kind]
    path, old = folder / f"out.{kind}", folder / f"old.{kind}"
    old.write_bytes(b"precious")

    def break_late(item):
        if (item if isinstance(item, str) else item["name"]) == "n9999":
            raise ValueError("late")
        return item

    rows = [{"id": n, "name": f"n{n}", "share": 0.5} for n in range(10_000)]
    for target, options in ((path, {}), (old, {"overwrite": True})):
        with pytest.raises(JobFailedError, match="late"):
            write(items_for(kind, rows), make(str(target), **options), lambda stage: stage.map(break_late))
    assert not path.exists()
    assert old.read_bytes() == b"precious"
    assert sorted(each.name for each in folder.iterdir()) == [old.name]


def test_the_columns_are_those_of_the_first_row(write, folder):
    path = folder / "out.csv"
    with pytest.raises(JobFailedError, match="column") as caught:
        write([{"a": 1, "b": 2}, {"a": 1, "c": 3}], sinks.csv(str(path)))
    assert "c" in str(caught.value)
    assert not path.exists()


def test_folders_are_made(write, folder):
    path = folder / "deep" / "er" / "out.txt"
    write(["a"], sinks.text(str(path)))
    assert path.read_text() == "a\n"


def test_a_folder_that_is_a_file(write, folder):
    (folder / "taken").write_text("")
    with pytest.raises(SinkError) as caught:
        write(["a"], sinks.text(str(folder / "taken" / "out.txt")))
    assert str(folder / "taken") in str(caught.value)


def test_sinks_of_several_kinds(jet, folder):
    pipeline, results = Pipeline.create(), jet.list()
    rows = pipeline.read_from(Pipeline.from_list("rows", ROWS))
    rows.write_to(sinks.csv(str(folder / "a.csv")))
    rows.write_to(sinks.parquet(str(folder / "a.parquet")))
    rows.map(lambda row: row["name"]).write_to(sinks.text(str(folder / "a.txt")))
    rows.write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert len(FORMATS["csv"][1](folder / "a.csv")) == 5
    assert FORMATS["parquet"][1](folder / "a.parquet") == results.get_all() == ROWS
    assert FORMATS["txt"][1](folder / "a.txt") == [row["name"] for row in ROWS]
