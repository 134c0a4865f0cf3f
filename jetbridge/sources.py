"""Files as sources: text, CSV, JSON lines and Parquet; and structures of a Hazelcast cluster.

Each of the first takes a path or a glob; every file that matches is a partition of its own,
in the order of the paths. Files that end in .gz, .bz2, .xz, .zst, .lz4 or .zip
(of one file) are decompressed as they are read; such a file is read by one
process, while all cores share an uncompressed one. A glob may be a URL that
fsspec can open (``s3://…``).

A job goes on with a file where it stood. The file may have grown by then; one that is
shorter or another where it was read is refused (`SnapshotError`), as far as the first
and the last 64 KiB of that tell: of a compressed file, of all that it had; remote
compressed files are not compared.

They need pyarrow and fsspec, which come with the extra ``files``. Those of Hazelcast
need its client, which comes with the extra ``hazelcast``; without ``cluster`` they read the
cluster of the client that submits, ``jetbridge.connect(hazelcast={...})``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jetbridge.connectors.files_csv import NULLS, CsvSource
from jetbridge.connectors.files_json import JsonLinesSource
from jetbridge.connectors.files_parquet import ParquetSource
from jetbridge.connectors.files_text import TextSource
from jetbridge.connectors.hazelcast.list_source import ListSource as HazelcastListSource
from jetbridge.connectors.hazelcast.map_source import MapSource as HazelcastMapSource
from jetbridge.connectors.hazelcast.stream_source import StreamSource as HazelcastStreamSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = [
    "csv",
    "hazelcast_list",
    "hazelcast_map",
    "hazelcast_reliable_topic",
    "hazelcast_ringbuffer",
    "json_lines",
    "parquet",
    "text",
]

Path = str | os.PathLike[str]


def text(path: Path, *, encoding: str = "utf-8", name: str | None = None) -> TextSource:
    r"""Lines of text files as str, without the line's end.

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name, "words.txt")
    >>> _ = file.write_text("to be\nor not to be\n")
    >>> source = text(file)
    >>> source.name, source.read(str(file), 0, 10)
    ('words.txt', (['to be', 'or not to be'], None))
    >>> folder.cleanup()

    In a pipeline: ``pipeline.read_from(sources.text("logs/*.txt.gz"))``.

    Args:
        path: A path or a glob; ``**`` stands for any number of directories.
        encoding: Any of Python's encodings. A byte order mark is taken off.
        name: The stage's name; by default the last part of the path.

    Returns:
        A source of str. A line ends with ``\n`` or ``\r\n``; a lone ``\r`` does not end one.

    Raises:
        PipelineError: For a path or an encoding that is none.
        SourceError: When the job is submitted and no file matches or one may not be
            read; in the job when bytes are not of that encoding or a file is damaged.
    """
    return TextSource(path, encoding=encoding, name=name)


def csv(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    types: Mapping[str, type] | None = None,
    select: Sequence[str] | None = None,
    delimiter: str = ",",
    quote: str | None = '"',
    nulls: Sequence[str] = NULLS,
    encoding: str = "utf-8",
    name: str | None = None,
) -> CsvSource:
    r"""Rows of CSV files as dicts.

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name, "flights.csv")
    >>> _ = file.write_text("carrier,zip,delay\nUA,07114,2\nAA,11430,NA\n")
    >>> rows, _ = csv(file, types={"zip": str}).read(str(file), 0, 10)
    >>> for row in rows:
    ...     print(row)
    {'carrier': 'UA', 'zip': '07114', 'delay': 2}
    {'carrier': 'AA', 'zip': '11430', 'delay': None}
    >>> folder.cleanup()

    In a pipeline: ``pipeline.read_from(sources.csv("flights-*.csv", select=["carrier", "delay"]))``.

    Types that are not given are inferred from the first megabyte of the first
    file and hold for all files: int, float, bool, datetime, date, time and str;
    a column that is empty there is str. A later value that does not fit is an
    error that says which type to give; nothing is guessed anew.

    Args:
        path: A path or a glob; ``**`` stands for any number of directories. All
            files must have the same columns, in any order, unless ``select`` is given.
        columns: The names of the columns of files without a header.
        types: Types of some or all columns: int, float, str, bool, datetime or date.
            Numbers with leading zeros and codes want ``str``.
        select: The columns to read, in this order; the others cost next to nothing.
        delimiter: One ASCII character.
        quote: The character that quotes values, which may then hold delimiters,
            line ends and the character itself doubled; None if nothing is quoted.
        nulls: What stands for None where it is not quoted; ``["" ]`` makes NA a text.
        encoding: Any of Python's encodings.
        name: The stage's name; by default the last part of the path.

    Returns:
        A source of dicts.

    Raises:
        PipelineError: For options that make no sense.
        SourceError: When the job is submitted and no file matches, one may not be
            read, or the first one lacks a column that ``types`` or ``select`` names; in
            the job for a row with too many or too few fields, a value that does not
            fit its column's type, or a damaged file.
    """
    return CsvSource(
        path,
        columns=columns,
        types=types,
        select=select,
        delimiter=delimiter,
        quote=quote,
        nulls=nulls,
        encoding=encoding,
        name=name,
    )


def json_lines(path: Path, *, encoding: str = "utf-8", name: str | None = None) -> JsonLinesSource:
    r"""One JSON value per line, whatever it is.

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name, "events.jsonl")
    >>> _ = file.write_text('{"id": 1, "tags": ["a"]}\n\n[2, null]\n')
    >>> json_lines(file).read(str(file), 0, 10)
    ([{'id': 1, 'tags': ['a']}, [2, None]], None)
    >>> folder.cleanup()

    In a pipeline: ``pipeline.read_from(sources.json_lines("events/**/*.jsonl.gz"))``.

    Args:
        path: A path or a glob; ``**`` stands for any number of directories.
        encoding: Any of Python's encodings.
        name: The stage's name; by default the last part of the path.

    Returns:
        A source of dicts, lists, str, int, float, bool and None. Empty lines are passed over.

    Raises:
        PipelineError: For a path or an encoding that is none.
        SourceError: When the job is submitted and no file matches or one may not be
            read; in the job for a line that is not one JSON value or a damaged file.
    """
    return JsonLinesSource(path, encoding=encoding, name=name)


def parquet(path: Path, *, select: Sequence[str] | None = None, name: str | None = None) -> ParquetSource:
    """Rows of Parquet files as dicts.

    >>> import pathlib, tempfile
    >>> import pyarrow, pyarrow.parquet
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name, "flights.parquet")
    >>> pyarrow.parquet.write_table(pyarrow.table({"carrier": ["UA", "AA"], "delay": [2, None]}), file)
    >>> source = parquet(file, select=["delay", "carrier"])
    >>> source.read(str(file), 0, 10)
    ([{'delay': 2, 'carrier': 'UA'}, {'delay': None, 'carrier': 'AA'}], None)
    >>> source.close()
    >>> folder.cleanup()

    In a pipeline: ``pipeline.read_from(sources.parquet("flights/*.parquet"))``.

    Args:
        path: A path or a glob; ``**`` stands for any number of directories.
        select: The columns to read, in this order; the others are not read from the disk.
        name: The stage's name; by default the last part of the path.

    Returns:
        A source of dicts. Times finer than microseconds are cut, since datetime holds no more.

    Raises:
        PipelineError: For a path or columns that are none.
        SourceError: When the job is submitted and no file matches or one may not be
            read; in the job when a file is damaged or lacks a selected column.
    """
    return ParquetSource(path, select=select, name=name)


def hazelcast_map(name: str, *, cluster: Mapping[str, Any] | None = None) -> HazelcastMapSource:
    """The entries of a map of a Hazelcast cluster, as ``(key, value)``.

    >>> hazelcast_map("my-map").name
    'my-map'

    It is read by the cluster's partitions, in pages, so that memory does not grow with the map. Entries
    that nobody touches while the job reads come exactly once; one that is put, changed or
    removed meanwhile is seen before or after that.

    Args:
        name: The map's name.
        cluster: Options of ``hazelcast.HazelcastClient``, for another cluster than the client's.

    Returns:
        A batch source; what `jetbridge.Pipeline.from_map` means for a client of a cluster.

    Raises:
        ConfigError: For an option that the client library does not take, or without that library.
        SourceError: When the job is submitted and the name is that of another structure.
        ConnectionError: When the job is submitted and the cluster does not answer.
    """
    return HazelcastMapSource(name, cluster)


def hazelcast_list(name: str, *, cluster: Mapping[str, Any] | None = None) -> HazelcastListSource:
    """The items of a list of a Hazelcast cluster, in their order, as many as it has when the job starts.

    >>> hazelcast_list("my-list").name
    'my-list'

    Args:
        name: The list's name.
        cluster: As for `hazelcast_map`.

    Returns:
        A batch source; what `jetbridge.ListSource` means for a client of a cluster.

    Raises:
        JetbridgeError: As for `hazelcast_map`; in the job when the list becomes shorter while it is read.
    """
    return HazelcastListSource(name, cluster)


def hazelcast_ringbuffer(
    name: str,
    *,
    initial_position: str = "earliest",
    overwritten: str = "fail",
    cluster: Mapping[str, Any] | None = None,
) -> HazelcastStreamSource:
    """The items of a ringbuffer of a Hazelcast cluster, which never ends.

    >>> hazelcast_ringbuffer("events", initial_position="latest").bounded
    False

    Offsets are the ringbuffer's sequence numbers, so that a job with a guarantee goes on where it
    stood, as long as the items are there: a ringbuffer that is full overwrites its oldest ones.

    Args:
        name: The ringbuffer's name.
        initial_position: ``"earliest"`` for all that is there, ``"latest"`` for what is added from the submit on.
        overwritten: What to do about items that were overwritten before they were read: ``"fail"``, with an
            error that names them, or ``"skip"`` them and log a warning.
        cluster: As for `hazelcast_map`.

    Returns:
        A stream source; `jetbridge.StreamSource` means it, or a reliable topic, for a client of a cluster.

    Raises:
        PipelineError: For another position, or another word for ``overwritten``.
        JetbridgeError: As for `hazelcast_map`.
    """
    return HazelcastStreamSource(name, "ringbuffer", initial_position, overwritten, cluster)


def hazelcast_reliable_topic(
    name: str,
    *,
    initial_position: str = "earliest",
    overwritten: str = "fail",
    cluster: Mapping[str, Any] | None = None,
) -> HazelcastStreamSource:
    """The messages of a reliable topic of a Hazelcast cluster, which never ends.

    >>> hazelcast_reliable_topic("news").name
    'news'

    It is read from the ringbuffer that the cluster keeps the topic in; see `hazelcast_ringbuffer`.

    Args:
        name: The topic's name.
        initial_position: ``"earliest"`` for all that is there, ``"latest"`` for what is published from the submit on.
        overwritten: As for `hazelcast_ringbuffer`.
        cluster: As for `hazelcast_map`.

    Returns:
        A stream source.

    Raises:
        PipelineError: For another position, or another word for ``overwritten``.
        JetbridgeError: As for `hazelcast_map`.
    """
    return HazelcastStreamSource(name, "reliable topic", initial_position, overwritten, cluster)
