"""What the hand-written Beam pipelines are made of: element by element, with a source and a sink as jetbridge's are."""

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apache_beam as beam
import jobs
from apache_beam import coders
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from live import work

from flink.numbered import PARTS, part
from flink.timing import Moment

SINK = "to a table"


class Noted(beam.DoFn):
    """Passes everything on, and notes when the first element came."""

    def __init__(self, first: str) -> None:
        self.first = first

    def start_bundle(self) -> None:
        Moment(self.first).note()

    def process(self, element: Any) -> Iterator[Any]:
        yield element


class Parts(beam.DoFn):
    """The numbers of a partition, one by one."""

    def __init__(self, items: int, first: str) -> None:
        self.items = items
        self.first = first

    def process(self, number: int) -> Iterable[int]:
        Moment(self.first).note()
        return part(number, self.items)


class RollingSum(beam.DoFn):
    """The running sum of a key, in Beam's state."""

    TOTAL = ReadModifyWriteStateSpec("total", coders.VarIntCoder())

    def process(self, pair: tuple[int, int], total: Any = beam.DoFn.StateParam(TOTAL)) -> Iterator[tuple[int, int]]:  # noqa: B008
        key, x = pair
        now = work.add(total.read() or 0, x)
        total.write(now)
        yield key, now


class ToTable(beam.DoFn):
    """Writes rows to a table of SQLite, in one transaction for each bundle, and when that was."""

    def __init__(self, path: str) -> None:
        self.path = path

    def setup(self) -> None:
        self.connection = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA synchronous = OFF")

    def start_bundle(self) -> None:
        self.rows: list[Any] = []

    def process(self, row: Any) -> None:
        self.rows.append(row)

    def finish_bundle(self) -> None:
        if not self.rows:
            return
        rows = self.rows if isinstance(self.rows[0], tuple) else [(row, None) for row in self.rows]
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany("INSERT INTO results VALUES (?, ?)", rows)
        self.connection.execute("INSERT INTO written VALUES (?, ?)", (len(rows), time.monotonic()))
        self.connection.execute("COMMIT")
        self.rows = []

    def teardown(self) -> None:
        self.connection.close()


class Table:
    """The table, as the benchmark's own process sees it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE results (item INTEGER, value INTEGER)")
            connection.execute("CREATE TABLE written (count INTEGER, moment REAL)")
            connection.commit()

    def written(self) -> tuple[int, float]:
        """How many rows there are, and when the last of them came."""
        with closing(sqlite3.connect(self.path, timeout=60)) as connection:
            found = connection.execute("SELECT coalesce(sum(count), 0), coalesce(max(moment), 0) FROM written")
            count, moment = found.fetchone()
            return int(count), float(moment)

    def rows(self) -> list[tuple[int, int | None]]:
        """All rows."""
        with closing(sqlite3.connect(self.path, timeout=60)) as connection:
            return connection.execute("SELECT item, value FROM results ORDER BY rowid").fetchall()


def documented(pipeline: beam.Pipeline, items: int, first: str) -> Any:
    """The numbers as Beam's documentation has them."""
    return pipeline | beam.Create(range(items)) | "first" >> beam.ParDo(Noted(first)).with_output_types(int)


def tuned(pipeline: beam.Pipeline, items: int, first: str) -> Any:
    """The numbers out of a few elements, so that they need no shuffle of their own."""
    return pipeline | beam.Create(range(PARTS)) | "parts" >> beam.ParDo(Parts(items, first)).with_output_types(int)


def worked(numbers: Any, letter: str) -> Any:
    """The bounded job a or b."""
    if letter == "a":
        return numbers | beam.Map(jobs.triple) | beam.Filter(jobs.keep) | beam.FlatMap(jobs.pair)
    return numbers | "key" >> beam.Map(_keyed) | beam.CombinePerKey(sum)


def summed(numbers: Any, keys: int) -> Any:
    """Running sums by key."""
    key = work.key_of(keys)
    pairs = numbers | "key" >> beam.Map(lambda x: (key(x), x)).with_output_types(tuple[int, int])
    return pairs | "sums" >> beam.ParDo(RollingSum()).with_output_types(tuple[int, int])


def _keyed(x: int) -> tuple[int, int]:
    return jobs.key_100(x), x
