"""Files as sinks: text, CSV, JSON lines and Parquet; and structures of a Hazelcast cluster.

Of files: a batch job writes one. It appears at its path, whole, when the job
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

Paths that end in .gz, .bz2 or .xz are compressed. Parquet needs pyarrow,
which comes with the extra ``files``.

Those of Hazelcast need its client, which comes with the extra ``hazelcast``. Without ``cluster``
they are structures of the cluster of the client that submits, ``jetbridge.connect(hazelcast={...})``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jetbridge.connectors.files_csv_sink import CsvSink
from jetbridge.connectors.files_json import JsonLinesSink
from jetbridge.connectors.files_parquet_sink import ParquetSink
from jetbridge.connectors.files_text import TextSink
from jetbridge.connectors.hazelcast.appending import ListSink, ReliableTopicSink, RingbufferSink
from jetbridge.connectors.hazelcast.map_sink import MapSink
from jetbridge.connectors.hazelcast.sinks import SetSink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = [
    "csv",
    "hazelcast_list",
    "hazelcast_map",
    "hazelcast_reliable_topic",
    "hazelcast_ringbuffer",
    "hazelcast_set",
    "json_lines",
    "parquet",
    "text",
]

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
        A sink that takes str without line breaks; another item fails the job.

    Raises:
        PipelineError: For a path that is none, or an ``overwrite`` that is no bool.
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
        PipelineError: For a path, a delimiter or an ``overwrite`` that is none.
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
        A sink that takes what JSON can hold; tuples become lists. Other items fail the job, such as NaN and keys
        of dicts that are no str.

    Raises:
        PipelineError: For a path that is none, or an ``overwrite`` that is no bool.
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
        PipelineError: For a path that is none, or an ``overwrite`` that is no bool.
        SinkError: When the job is submitted and the file exists, its directory may not be
            written, or pyarrow is missing.
    """
    return ParquetSink(path, overwrite=overwrite, name=name)


def hazelcast_map(
    name: str,
    *,
    merge: Callable[[Any, Any], Any] | None = None,
    update: Callable[[Any, Any], Any] | None = None,
    cluster: Mapping[str, Any] | None = None,
) -> MapSink:
    """Puts ``(key, value)`` items into a map of a Hazelcast cluster; the last write of a key wins.

    >>> hazelcast_map("totals", merge=lambda old, new: old + new).name
    'totals'

    A value of None removes the key. Each guarantee gives the same map, since writing again does no
    harm; with a function that holds for EXACTLY_ONCE, and nobody else may write those keys meanwhile.

    Args:
        name: The map's name.
        merge: Makes one value of the one that is there and the new one, if there is one; None removes the key.
        update: Makes a value of the one that is there, or None, and the new one; None removes the key.
        cluster: Options of ``hazelcast.HazelcastClient``, for another cluster than the client's.

    Returns:
        A sink; without functions what `jetbridge.Pipeline.to_map` means for a client of a cluster.

    Raises:
        PipelineError: When both functions are given, or one is not callable.
        ConfigError: For an option that the client library does not take, or without that library.
        ConnectionError: When the job is submitted and the cluster does not answer.
    """
    return MapSink(name, merge, update, cluster)


def hazelcast_list(name: str, *, clear: bool = False, cluster: Mapping[str, Any] | None = None) -> ListSink:
    """Appends items to a list of a Hazelcast cluster.

    >>> hazelcast_list("results", clear=True).clear
    True

    With EXACTLY_ONCE each item is there once, whatever dies; while a job recovers nobody else may remove
    items from the list, or append the very same ones.

    Args:
        name: The list's name.
        clear: Empty the list at a fresh start of the job.
        cluster: As for `hazelcast_map`.

    Returns:
        A sink; what `jetbridge.Pipeline.to_list` means for a client of a cluster.

    Raises:
        JetbridgeError: As for `hazelcast_map`.
    """
    return ListSink(name, clear, cluster)


def hazelcast_set(name: str, *, cluster: Mapping[str, Any] | None = None) -> SetSink:
    """Adds items to a set of a Hazelcast cluster, where each is once, with every guarantee.

    >>> hazelcast_set("seen").name
    'seen'

    Args:
        name: The set's name.
        cluster: As for `hazelcast_map`.

    Returns:
        A sink.

    Raises:
        JetbridgeError: As for `hazelcast_map`.
    """
    return SetSink(name, cluster)


def hazelcast_ringbuffer(
    name: str, *, when_full: str = "overwrite", cluster: Mapping[str, Any] | None = None
) -> RingbufferSink:
    """Adds items to a ringbuffer of a Hazelcast cluster.

    >>> hazelcast_ringbuffer("events").when_full
    'overwrite'

    With EXACTLY_ONCE each item is added once, whatever dies; nobody else may add the very same ones at that moment.

    Args:
        name: The ringbuffer's name.
        when_full: ``"overwrite"`` the oldest items, or ``"wait"`` until some have expired.
        cluster: As for `hazelcast_map`.

    Returns:
        A sink.

    Raises:
        PipelineError: For another word for ``when_full``.
        JetbridgeError: As for `hazelcast_map`.
    """
    return RingbufferSink(name, when_full, cluster)


def hazelcast_reliable_topic(
    name: str, *, when_full: str = "wait", cluster: Mapping[str, Any] | None = None
) -> ReliableTopicSink:
    """Publishes items to a reliable topic of a Hazelcast cluster.

    >>> hazelcast_reliable_topic("news").when_full
    'wait'

    With EXACTLY_ONCE each item is published once; see `hazelcast_ringbuffer`, since a topic is kept in one.

    Args:
        name: The topic's name.
        when_full: ``"wait"`` until messages have expired, or ``"overwrite"`` the oldest ones.
        cluster: As for `hazelcast_map`.

    Returns:
        A sink.

    Raises:
        PipelineError: For another word for ``when_full``.
        JetbridgeError: As for `hazelcast_map`.
    """
    return ReliableTopicSink(name, when_full, cluster)
