"""The suite for connectors finds what is wrong with a connector."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest

from jetbridge.connectors import BadItem, Sink, SinkChunk, Source, SplittableSource
from jetbridge.connectors.conformance import check_sink, check_source

if TYPE_CHECKING:
    import pathlib


class Numbers(SplittableSource):
    def __init__(self, count: int = 50, **faults: Any) -> None:
        super().__init__("numbers")
        self.count = count
        self.faults = faults
        self.reads = 0

    def partitions(self):
        return ["0"]

    def start(self, partition):
        return 0

    def split(self, partition, offset, limit):
        end = offset + limit
        return end if end < self.count else None

    def read_range(self, partition, start, end):
        end = self.count if end is None else end
        yield list(range(start, end))


class Overlapping(Numbers):
    def read_range(self, partition, start, end):
        yield list(range(start, min(self.count, (self.count if end is None else end) + 1)))

    def read(self, partition, offset, limit):
        end = self.split(partition, offset, limit)
        return list(range(offset, self.count if end is None else end)), end


class Forgetful(Numbers):
    position_of_reader = 0

    def read(self, partition, offset, limit):
        if offset == 0:
            self.position_of_reader = 0
        start, self.position_of_reader = self.position_of_reader, self.position_of_reader + limit
        items = list(range(start, min(self.count, start + limit)))
        return items, start + limit if start + limit < self.count else None


class Stuck(Numbers):
    def read(self, partition, offset, limit):
        return [], offset


class Unpicklable(Numbers):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class Backwards(Numbers):
    def position(self, partition, offset):
        return None if offset is None else self.count - offset


COUNTS = itertools.count(40)


class Stream(Source):
    bounded = False

    def partitions(self):
        return ["a", "b"]

    def start(self, partition):
        return 0

    def read(self, partition, offset, limit):
        end = min(20, offset + limit)
        return list(range(offset, end)), end


class EndingStream(Stream):
    def read(self, partition, offset, limit):
        return [], None


def test_good_sources_pass():
    check_source(Numbers, expected=list(range(50)))
    check_source(lambda: Numbers(0), expected=[])
    check_source(lambda: Stream("stream"), expected=[*range(20), *range(20)])


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (Overlapping, "do not cover exactly"),
        (Forgetful, "reading again from the offset"),
        (Stuck, "makes no progress at the offset 0"),
        (Unpicklable, "must survive pickling"),
        (Backwards, "position went back"),
        (lambda: EndingStream("stream"), "a stream does not end"),
        (lambda: Numbers(3), "expected"),
        (lambda: "text", "must make a Source"),
        (lambda: Numbers(next(COUNTS)), "other items|do not cover"),
    ],
)
def test_broken_sources_are_told_what_is_wrong(factory, message):
    with pytest.raises(AssertionError, match=message):
        check_source(factory, expected=list(range(50)))


class Lines(Sink):
    def __init__(self, path: pathlib.Path) -> None:
        super().__init__("lines")
        self.path = path

    def prepare(self, items):
        for index, item in enumerate(items):
            if not isinstance(item, str):
                raise BadItem(index, "no text")
        return "".join(f"{item}\n" for item in items).encode()

    def write(self, chunk: SinkChunk) -> None:
        with self.path.open("ab") as file:
            file.write(chunk.payload)


class Shuffling(Lines):
    def write(self, chunk):
        with self.path.open("ab") as file:
            file.write(b"".join(reversed(chunk.payload.splitlines(keepends=True))))


class Losing(Lines):
    def write(self, chunk):
        if chunk.sequence == 0:
            super().write(chunk)


class Counting(Lines):
    calls = 0

    def prepare(self, items):
        self.calls += 1
        return super().prepare(items) + b"%d" % self.calls


class Changing(Lines):
    def prepare(self, items):
        payload = super().prepare(items)
        items.clear()
        return payload


class Lax(Lines):
    def prepare(self, items):
        return super().prepare([str(item) for item in items])


class WrongIndex(Lines):
    def prepare(self, items):
        try:
            return super().prepare(items)
        except BadItem as error:
            raise BadItem(0, str(error)) from None


def _read(sink: Lines) -> list[str]:
    return sink.path.read_text().splitlines() if sink.path.exists() else []


def test_a_good_sink_passes(tmp_path):
    numbers = itertools.count()
    check_sink(lambda: Lines(tmp_path / str(next(numbers))), _read, bad_item=5)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Shuffling, "chunks must arrive in their order"),
        (Losing, "chunks must arrive in their order"),
        (Counting, "must be pure"),
        (Changing, "must not change the items"),
        (Lax, "must raise BadItem for 5"),
        (WrongIndex, "must carry the item's index, 1; got 0"),
    ],
)
def test_broken_sinks_are_told_what_is_wrong(tmp_path, kind, message):
    numbers = itertools.count()
    with pytest.raises(AssertionError, match=message):
        check_sink(lambda: kind(tmp_path / str(next(numbers))), _read, bad_item=5)
