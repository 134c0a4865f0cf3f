"""What is kept of the bytes that were read: files may grow, and what was read must stay."""

from __future__ import annotations

import gzip

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jetbridge import Pipeline, sources
from jetbridge.connectors import Source, fingerprints
from jetbridge.errors import SnapshotError, SourceError
from jetbridge.plan.matching import described

LINES = [f"{n},line {n}\n" for n in range(40_000)]
MIDDLE = 20_000


def content(lines):
    return "".join(lines).encode()


class Case:
    """A file of some kind, written anew by `write`."""

    def __init__(self, kind, folder, context):
        self.kind, self.context = kind, context
        ending, _, packed = kind.partition(".")
        self.path = folder / f"a.{kind}"
        make = {"csv": sources.csv, "txt": sources.text, "jsonl": sources.json_lines, "parquet": sources.parquet}
        options = {"columns": ["n", "text"]} if ending == "csv" else {"encoding": "utf-16"} if packed == "utf16" else {}
        self.make = lambda: make[ending](self.path, **options)

    def write(self, lines):
        if self.kind == "parquet":
            return pq.write_table(pa.table({"line": lines}), self.path, row_group_size=5_000, compression=None)
        data = content(lines)
        if self.kind == "jsonl":
            data = content(f'"{line[:-1]}"\n' for line in lines)
        if self.kind == "txt.utf16":
            data = data.decode().encode("utf-16")
        self.path.write_bytes(gzip.compress(data, mtime=0) if self.kind.endswith("gz") else data)
        return None

    def read(self, items):
        """Read so many items and more with a source of its own; gives the partition, its offset and what is kept."""
        source = self.make()
        source.open(self.context)
        (partition,) = source.partitions()
        offset, count = source.start(partition), 0
        while count < items:
            got, offset = source.read(partition, offset, 1_000)
            count += len(got)
        kept = fingerprints.kept(source, partition, offset, None)
        source.close()
        return partition, offset, kept

    def check(self, partition, offset, kept):
        """What a later start does."""
        assert kept is not None
        source = self.make()
        source.open(self.context)
        try:
            fingerprints.refuse_changed(source, partition, offset, kept)
        finally:
            source.close()


@pytest.fixture(params=["txt", "csv", "jsonl", "txt.gz", "txt.utf16", "parquet"])
def case(request, tmp_path, context):
    return Case(request.param, tmp_path, context)


def test_as_it_was_and_restored(case):
    case.write(LINES)
    place = case.read(MIDDLE)
    case.check(*place)
    case.write(["other\n", *LINES])
    with pytest.raises(SnapshotError):
        case.check(*place)
    case.write(LINES)
    case.check(*place)


@pytest.mark.parametrize(
    "changed",
    [["-1,a header\n", *LINES], [*LINES[:MIDDLE], "0,one more\n", *LINES[MIDDLE:]], ["0,Line 0\n", *LINES[1:]]],
    ids=["longer", "in-the-middle", "of-the-same-size"],
)
def test_what_was_read_is_another_by_now(case, changed):
    case.write(LINES)
    place = case.read(MIDDLE + 2)
    case.write(changed)
    with pytest.raises(SnapshotError, match=r"(?s)a\..*has changed since it was read.*restore it as it was"):
        case.check(*place)


def test_shorter(case):
    case.write(LINES)
    place = case.read(MIDDLE)
    case.write(LINES[:10])
    with pytest.raises(SnapshotError, match="has become shorter"):
        case.check(*place)


def test_a_client_looks_at_what_has_not_ended(case):
    case.write(LINES)
    partition, offset, kept = case.read(MIDDLE)
    case.write(["other\n", *LINES])
    pipeline = Pipeline.create()
    pipeline.read_from(case.make()).set_name("read").write_to(Pipeline.to_list("r"))
    plan = pipeline.plan()
    body = described(plan)
    for place in ([offset, False], [offset, False, {}], [offset, False, {}, None], [None, True, {}, kept]):
        body["sources"]["read"]["partitions"] = {partition: place}
        assert not fingerprints.has_fingerprints(body)
        fingerprints.refuse_changed_sources(body, plan)
    body["sources"]["read"]["partitions"] = {partition: [offset, False, {}, kept]}
    assert fingerprints.has_fingerprints(body)
    with pytest.raises(SnapshotError, match=r"source 'read' cannot go on: partition '.*a\..*has changed"):
        fingerprints.refuse_changed_sources(body, plan)
    case.path.unlink()
    with pytest.raises(SnapshotError, match=r"source 'read' cannot go on: .*does not exist"):
        fingerprints.refuse_changed_sources(body, plan)
    body["sources"]["read"]["kind"] = "another"
    fingerprints.refuse_changed_sources(body, plan)


def test_gone(case):
    case.write(LINES)
    place = case.read(MIDDLE)
    case.path.unlink()
    with pytest.raises(SourceError, match="does not exist"):
        case.check(*place)


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
def test_lines_may_follow_and_what_was_not_read_may_change(kind, tmp_path, context):
    case = Case(kind, tmp_path, context)
    case.write(LINES)
    place = case.read(MIDDLE)
    case.write([*LINES, "1,more\n"])
    case.check(*place)
    case.write([*LINES[:-1], "1,another\n"])
    case.check(*place)


def test_a_gzip_may_get_another_member(tmp_path, context):
    case = Case("txt.gz", tmp_path, context)
    case.write(LINES)
    place = case.read(MIDDLE)
    with case.path.open("ab") as file:
        file.write(gzip.compress(b"more\n"))
    case.check(*place)


def test_a_parquet_file_may_get_more_row_groups(tmp_path, context):
    case = Case("parquet", tmp_path, context)
    case.write(LINES)
    place = case.read(MIDDLE)
    case.write([*LINES, *LINES])
    case.check(*place)


def test_a_file_of_another_file_system(context):
    fs = fsspec.filesystem("memory")
    source = sources.text("memory://fingerprints/a.txt")
    try:
        fs.pipe_file("/fingerprints/a.txt", content(LINES))
        source.open(context)
        (partition,) = source.partitions()
        _, offset = source.read(partition, 0, MIDDLE)
        kept = fingerprints.kept(source, partition, offset, None)
        fingerprints.refuse_changed(source, partition, offset, kept)
        fs.pipe_file("/fingerprints/a.txt", content(["x\n", *LINES]))
        with pytest.raises(SnapshotError, match="are not those that they were"):
            fingerprints.refuse_changed(source, partition, offset, kept)
    finally:
        fs.rm("/fingerprints", recursive=True)


def test_nothing_is_kept_before_anything_was_read_and_of_a_file_that_is_gone(tmp_path, context):
    case = Case("txt.gz", tmp_path, context)
    case.write(LINES)
    assert case.read(0)[2] is None
    source = case.make()
    assert source.fingerprint(str(tmp_path / "nowhere.txt"), 7) is None


def test_the_same_offset_is_not_looked_at_twice(tmp_path, context):
    case = Case("txt", tmp_path, context)
    case.write(LINES)
    partition, offset, kept = case.read(MIDDLE)
    case.path.unlink()
    assert fingerprints.kept(case.make(), partition, offset, kept) is kept


def test_little_is_read_of_a_large_file(tmp_path):
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # all of it would take minutes
    count, digest = sources.text(path).fingerprint(str(path), 1 << 40)
    assert (count, len(digest)) == (1 << 40, 32)


class Numbers(Source):
    """A source of one's own, with no more than a fingerprint."""

    def partitions(self):
        return ["0"]

    def read(self, partition, offset, limit):
        return [], None

    def fingerprint(self, partition, offset):
        return f"{self.name} {offset}"


def test_a_source_of_ones_own_is_compared_where_the_fingerprint_was_taken():
    kept = fingerprints.kept(Numbers("a"), "0", 7, None)
    fingerprints.refuse_changed(Numbers("a"), "0", 9, kept)
    with pytest.raises(SnapshotError, match="partition '0' has changed since it was read: what was read is not as it"):
        fingerprints.refuse_changed(Numbers("b"), "0", 9, kept)
