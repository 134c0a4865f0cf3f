from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tempfile
import zipfile
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetbridge import sinks, sources
from jetbridge.connectors import BadItem, files_bytes, files_lines
from jetbridge.connectors.conformance import check_sink, check_source
from jetbridge.errors import PipelineError, SourceError

LINES = ["to be", "", "or not to be", "naïve ☕ 𝔘", "a\rb", "\u2028 is no line end", "x" * 300, "  "]
CONTENT = "".join(f"{line}\n" for line in LINES).encode()


def _zstd(data: bytes) -> bytes:
    return pyarrow.compress(data, codec="zstd", asbytes=True)


COMPRESSED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": _zstd}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "not ended"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
def test_lines_lose_their_ends(tmp_path, read_all, ending, last, bom):
    file = tmp_path / "lines.txt"
    lines = [line for line in LINES if "\r" not in line]
    file.write_bytes(bom + ending.join([*lines, ""] if last else lines).encode())
    assert read_all(sources.text(file)) == lines


def test_a_carriage_return_without_its_newline_at_the_end_is_dropped(tmp_path, read_all):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\r")
    assert read_all(sources.text(tmp_path / "a.txt")) == ["one", "two"]


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_lines(tmp_path, read_all, content):
    (tmp_path / "empty.txt").write_bytes(content)
    assert read_all(sources.text(tmp_path / "empty.txt")) == []


@settings(deadline=None, max_examples=150)
@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=20)),
    ending=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    block=st.integers(1, 40),
)
def test_every_pair_of_byte_positions_covers_exactly(lines, ending, last, block):
    content = ending.join([*lines, ""] if last else lines).encode()
    expected = [] if not content else [*lines] if last or lines[-1] else lines[:-1]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files_lines, "BLOCK", block)
        patch.setattr(files_lines, "_SAMPLE", block)
        path = os.path.join(folder, "lines.txt")
        Path(path).write_bytes(content)
        source = sources.text(path)
        if expected and expected[0].startswith("\ufeff"):
            expected[0] = expected[0][1:]
        positions = sorted({0, *range(0, len(content), max(1, len(content) // 12))})
        ends = [*positions[1:], None]
        ranges = [
            [line for chunk in source.read_range(path, start, end) for line in chunk]
            for start, end in zip(positions, ends, strict=True)
        ]
        assert [line for part in ranges for line in part] == expected
        for limit in (1, 2, 5):
            got, offset = [], 0
            while offset is not None:
                items, offset = source.read(path, offset, limit)
                got += items
            assert got == expected


def test_a_line_may_be_longer_than_many_blocks(tmp_path, read_all, monkeypatch):
    monkeypatch.setattr(files_lines, "BLOCK", 1000)
    lines = ["short", "ü" * 50_000, "short again", "y" * 70_000]
    (tmp_path / "long.txt").write_text("\n".join(lines), encoding="utf-8")
    check_source(lambda: sources.text(tmp_path / "long.txt"), expected=lines)


def test_a_position_inside_a_long_line_belongs_to_the_range_where_the_line_begins(tmp_path):
    path = str(tmp_path / "long.txt")
    Path(path).write_text("a" * 100 + "\nb\n")
    source = sources.text(path)
    assert list(source.read_range(path, 0, 50)) == [["a" * 100]]
    assert list(source.read_range(path, 50, 101)) == []
    assert list(source.read_range(path, 101, None)) == [["b"]]


@pytest.mark.parametrize("extension", ["", *COMPRESSED])
def test_the_source_keeps_its_promises(tmp_path, extension):
    lines = [f"line {number} {'·' * (number % 17)}" for number in range(500)]
    content = "".join(f"{line}\n" for line in lines).encode()
    for name, part in (("b", content), ("a", b""), ("c", content)):
        data = COMPRESSED[extension](part) if extension else part
        (tmp_path / f"{name}.txt{extension and '.' + extension}").write_bytes(data)
    check_source(lambda: sources.text(tmp_path / "*.txt*"), expected=lines + lines)


@pytest.mark.parametrize("extension", COMPRESSED)
def test_compressed_members_may_follow_one_another(tmp_path, read_all, extension):
    file = tmp_path / f"two.txt.{extension}"
    file.write_bytes(COMPRESSED[extension](CONTENT) + COMPRESSED[extension](CONTENT))
    assert read_all(sources.text(file)) == LINES + LINES
    assert read_all(sources.text(file), limit=1) == LINES + LINES


@pytest.mark.parametrize("extension", COMPRESSED)
@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_a_truncated_compressed_file_is_an_error_that_names_it(tmp_path, read_all, extension, keep):
    data = COMPRESSED[extension](os.urandom(200_000).hex().encode())
    file = tmp_path / f"cut.txt.{extension}"
    file.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(SourceError, match=rf"cut\.txt\.{extension}: the file cannot be read, .*cut short"):
        read_all(sources.text(file))


@pytest.mark.parametrize("extension", [*COMPRESSED, "zip"])
def test_what_is_not_compressed_as_its_name_says_is_an_error(tmp_path, read_all, extension):
    (tmp_path / f"plain.{extension}").write_bytes(CONTENT)
    with pytest.raises(SourceError, match=rf"plain\.{extension}: the file cannot be read"):
        read_all(sources.text(tmp_path / f"plain.{extension}"))


def test_a_zip_of_one_file_is_read_and_one_of_two_is_refused(tmp_path, read_all):
    with zipfile.ZipFile(tmp_path / "one.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/words.txt", CONTENT)
    assert read_all(sources.text(tmp_path / "one.zip")) == LINES
    with zipfile.ZipFile(tmp_path / "one.zip", "a") as archive:
        archive.writestr("more.txt", CONTENT)
    with pytest.raises(SourceError, match=r"one\.zip holds 2 files; only a zip of one file can be read"):
        read_all(sources.text(tmp_path / "one.zip"))


def test_a_compressed_file_is_read_on_from_where_the_reader_stands(tmp_path, monkeypatch):
    path = str(tmp_path / "many.txt.gz")
    Path(path).write_bytes(gzip.compress(b"".join(b"%d\n" % number for number in range(20_000))))
    opened = []
    monkeypatch.setattr(files_bytes.ByteStream, "skip", lambda self, count: opened.append(count))
    source = sources.text(path)
    offset, items = 0, []
    while offset is not None:
        assert source.position(path, offset) is not None
        got, offset = source.read(path, offset, 500)
        items += got
    assert items == [str(number) for number in range(20_000)]
    assert opened == [0]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "utf-8-sig", "shift_jis"])
def test_other_encodings(tmp_path, encoding):
    lines = ["日本 ぁ" if encoding == "shift_jis" else "näive café", "", "z" * 99]
    (tmp_path / "a.txt").write_bytes("".join(f"{line}\r\n" for line in lines).encode(encoding))
    check_source(lambda: sources.text(tmp_path / "a.txt", encoding=encoding), expected=lines)


@pytest.mark.parametrize("compressed", [False, True])
def test_bytes_of_another_encoding_are_an_error_that_says_where(tmp_path, read_all, compressed):
    content = b"fine\n" * 300_000 + b"caf\xe9\n"
    file = tmp_path / ("a.txt.gz" if compressed else "a.txt")
    file.write_bytes(gzip.compress(content, 1) if compressed else content)
    with pytest.raises(SourceError, match=rf"{file.name}: byte b'\\xe9' at offset 1500003 is not utf-8 .*latin-1"):
        read_all(sources.text(file))


def test_an_incomplete_last_character_is_an_error(tmp_path, read_all):
    (tmp_path / "a.txt").write_bytes("ab\n".encode("utf-16")[:-1])
    with pytest.raises(SourceError, match="is not utf-16"):
        read_all(sources.text(tmp_path / "a.txt", encoding="utf-16"))


def test_an_unknown_encoding_is_refused_at_once():
    with pytest.raises(PipelineError, match="unknown encoding 'klingon'"):
        sources.text("a.txt", encoding="klingon")


@pytest.mark.parametrize("extension", ["", ".gz", ".bz2", ".xz"])
def test_the_sink_keeps_its_promises(tmp_path, read_all, extension):
    paths = iter(tmp_path / f"{number}.txt{extension}" for number in range(100))
    check_sink(
        lambda: sinks.text(next(paths)),
        read_back=lambda sink: read_all(sources.text(sink.path)),
        items=["a", "", "naïve", "ends with a space ", "e"],
        bad_item=7,
    )
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])))))
def test_what_is_written_is_read_back(read_all, write_all, chunks):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.txt.gz")
        write_all(sinks.text(path), chunks)
        lines = [line for chunk in chunks for line in chunk]
        if lines and lines[0].startswith("\ufeff"):
            lines[0] = lines[0][1:]  # a byte order mark, to every reader
        assert read_all(sources.text(path)) == lines


@pytest.mark.parametrize(
    ("item", "message"), [(b"x", r"takes str items; got bytes: add \.map\(str\)"), ("\ud800", "UTF-8")]
)
def test_items_that_are_no_text_are_refused(item, message):
    with pytest.raises(BadItem, match=message) as caught:
        sinks.text("a.txt").prepare(["fine", item])
    assert caught.value.index == 1


@pytest.mark.parametrize("text", ["a\nb", "a\n", "\n"])
def test_a_text_of_several_lines_is_refused(text):
    with pytest.raises(BadItem, match="has a line for each item") as caught:
        sinks.text("a.txt").prepare(["one", "", text])
    assert caught.value.index == 2
