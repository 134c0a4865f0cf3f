"""Files as sinks: text, CSV, JSON lines and Parquet.

A batch job writes one file. It appears at its path, whole, when the job
completes; until then the rows wait in a hidden file beside it, which a job that
fails takes away again. A path that exists is refused when the job is submitted
and again at its end, unless ``overwrite=True``. Missing directories are made.
Suspended and recovered jobs go on in the hidden file where their last commit was;
a job that starts from a snapshot writes a file of its own.

A stream writes a directory of parts at the path, ``part-<run>-<number>`` with an
extension. A part ends when it has 64 MB or is 10 seconds old, and appears, whole,
with the commit that holds its end; it never changes again. Parts that are there
already stay, so ``overwrite`` means nothing to a stream. One that is cancelled or
fails leaves every row that was committed.

Paths that end in .gz, .bz2 or .xz are compressed. Parquet needs pyarrow:
``pip install "jetbridge[files]"``.
"""

from __future__ import annotations

import os

from jetbridge.connectors.files_csv_sink import CsvSink
from jetbridge.connectors.files_json import JsonLinesSink
from jetbridge.connectors.files_parquet_sink import ParquetSink
from jetbridge.connectors.files_text import TextSink

__all__ = ["csv", "json_lines", "parquet", "text"]

Path = str | os.PathLike[str]


def text(path: Path, *, overwrite: bool = False, name: str | None = None) -> TextSink:
    r"""Items of type str as lines of UTF-8 text.

    >>> text("words.txt.gz").name
    'words.txt.gz'
    >>> text("words.txt").prepare(["to be", "or not to be"])
    b'to be\nor not to be\n'

    In a pipeline: ``stage.map(str).write_to(sinks.text("numbers.txt"))``.

    Args:
        path: The file to write; for a stream the directory.
        overwrite: Whether an existing file may be replaced.
        name: The stage's name; by default the file's name.

    Returns:
        A sink that takes str; an item that is none fails the job.

    Raises:
        PipelineError: For a path that is none.
        SinkError: When the job is submitted and the file exists or its directory may not be written.
    """
    return TextSink(path, overwrite=overwrite, name=name)


def csv(path: Path, *, delimiter: str = ",", overwrite: bool = False, name: str | None = None) -> CsvSink:
    r"""Dicts as rows under a header, which `jetbridge.sources.csv` reads back.

    >>> sink = csv("delays.csv")
    >>> sink.format([{"carrier": "UA", "delay": 2.5}, {"delay": None, "carrier": "A, A"}])
    b'UA,2.5\n"A, A",\n'

    In a pipeline: ``stage.write_to(sinks.csv("delays.csv"))``, after a map that makes dicts.

    The columns are those of the first row; a row with others fails the job.
    None becomes an empty field and an empty text a pair of quotes; texts that would be
    read as None (NA) are quoted.

    Args:
        path: The file to write; for a stream the directory.
        delimiter: One ASCII character.
        overwrite: Whether an existing file may be replaced.
        name: The stage's name; by default the file's name.

    Returns:
        A sink that takes dicts of None, bool, numbers, str, dates, times, Decimal and UUID.

    Raises:
        PipelineError: For a path or a delimiter that is none.
        SinkError: When the job is submitted and the file exists or its directory may not be written.
    """
    return CsvSink(path, delimiter=delimiter, overwrite=overwrite, name=name)


def json_lines(path: Path, *, overwrite: bool = False, name: str | None = None) -> JsonLinesSink:
    r"""Each item as JSON on a line of its own.

    >>> json_lines("delays.jsonl").prepare([{"carrier": "UA", "delay": None}, ("x", [1, 2])])
    b'{"carrier":"UA","delay":null}\n["x",[1,2]]\n'

    In a pipeline: ``stage.write_to(sinks.json_lines("delays.jsonl.gz"))``.

    Args:
        path: The file to write; for a stream the directory.
        overwrite: Whether an existing file may be replaced.
        name: The stage's name; by default the file's name.

    Returns:
        A sink that takes what JSON can hold; tuples become lists. Other items fail the job.

    Raises:
        PipelineError: For a path that is none.
        SinkError: When the job is submitted and the file exists or its directory may not be written.
    """
    return JsonLinesSink(path, overwrite=overwrite, name=name)


def parquet(path: Path, *, overwrite: bool = False, name: str | None = None) -> ParquetSink:
    """Dicts as rows of a Parquet file.

    >>> parquet("delays.parquet").name
    'delays.parquet'

    In a pipeline: ``stage.write_to(sinks.parquet("delays.parquet"))``.

    The columns are those of the first row; a row with others fails the job. The
    types are inferred by Arrow over all rows: a column of None takes the type of
    later values, and int and float together become float; other mixtures fail
    the job, with the column's name.

    Args:
        path: The file to write; for a stream the directory.
        overwrite: Whether an existing file may be replaced.
        name: The stage's name; by default the file's name.

    Returns:
        A sink that takes dicts.

    Raises:
        PipelineError: For a path that is none.
        SinkError: When the job is submitted and the file exists, its directory may not be
            written, or pyarrow is missing.
    """
    return ParquetSink(path, overwrite=overwrite, name=name)
