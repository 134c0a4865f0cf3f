"""A suite that every source and sink must pass; run it on your own.

Both functions raise an AssertionError that says what is wrong::

    from jetbridge.connectors.conformance import check_sink, check_source

    def test_squares():
        check_source(lambda: Squares(1000))

    def test_appender(tmp_path):
        paths = (tmp_path / f"{number}.txt" for number in itertools.count())
        check_sink(
            lambda: Appender(str(next(paths))),
            read_back=lambda sink: pathlib.Path(sink.path).read_text().splitlines(),
        )
"""

from __future__ import annotations

import copy
import pickle
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from jetbridge.connectors.base import BadItem, Sink, Source, SplittableSource
from jetbridge.connectors.conformance_staged import CONTEXT, check_staged, chunk_of, copied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LIMITS = (1, 7, 1000)
_MOST_READS = 100_000
_MOST_REPLAYS = 50  # offsets from which everything is read again; more are sampled evenly

Connector = TypeVar("Connector", bound="Source | Sink")


def check_source(factory: Callable[[], Source], expected: Sequence[Any] | None = None) -> None:
    """Check that a source keeps the promises of `Source` and `SplittableSource`.

    A stream must hold some items and get no new ones while it is checked.

    >>> from jetbridge.connectors import Source
    >>> class Squares(Source):
    ...     def partitions(self):
    ...         return ["0"]
    ...     def read(self, partition, offset, limit):
    ...         start, end = offset or 0, min((offset or 0) + limit, 20)
    ...         return [i * i for i in range(start, end)], end if end < 20 else None
    >>> check_source(lambda: Squares("squares"), expected=[i * i for i in range(20)])

    Args:
        factory: Makes a new source on the same data each time; a few hundred items tell most.
        expected: All items, partition after partition, if they are known.

    Raises:
        AssertionError: Says which promise is broken.
    """
    source = factory()
    assert isinstance(source, Source), f"the factory must make a Source; got {source!r}"
    assert source.name, "a source needs a name"
    assert isinstance(source.name, str), f"a source's name must be a str; got {source.name!r}"
    source.check()
    with _opened(copied(source)) as first, _opened(factory()) as second:
        partitions = list(first.partitions())
        assert len(set(partitions)) == len(partitions), f"partitions must differ; got {partitions}"
        assert all(isinstance(partition, str) for partition in partitions), f"partitions are str; got {partitions}"
        again = list(second.partitions())
        assert again == partitions, f"the partitions must be the same each time; got {partitions}, then {again}"
        everything = []
        for partition in partitions:
            items = _check_reading(first, second, partition)
            everything += items
            if isinstance(first, SplittableSource) and first.splittable(partition):
                assert isinstance(second, SplittableSource)
                for limit in _LIMITS:
                    _check_ranges(first, second, partition, limit, items)
        if expected is not None:
            assert everything == list(expected), f"read {everything!r:.300}, expected {list(expected)!r:.300}"
        reopened = copied(first)  # an open source may be sent to another process
    with _opened(reopened):
        assert list(reopened.partitions()) == partitions, "a source must work again after close and open"
        if partitions:
            _read_all(reopened, partitions[0], reopened.start(partitions[0]), 1000)


def check_sink(
    factory: Callable[[], Any],
    read_back: Callable[[Any], Sequence[Any]],
    *,
    items: Sequence[Any] = ("one", "two", "three", "four", "five"),
    bad_item: Any = None,
    empty: Sequence[Any] = (),
) -> None:
    """Check that a sink keeps the promises of `Sink`.

    A staged sink is also crashed, and opened again at its position in another process.

    >>> from jetbridge.connectors import Sink
    >>> class Collector(Sink):
    ...     written = []
    ...     def write(self, chunk):
    ...         self.written = [*self.written, *chunk.items()]
    >>> check_sink(lambda: Collector("collector"), read_back=lambda sink: sink.written)

    Args:
        factory: Makes a new sink each time, on a target of its own that is empty.
        read_back: Gives what the target of a sink holds, after the sink was completed and closed.
        items: Some items that the sink takes, at least three.
        bad_item: An item that it must refuse by BadItem, if there is one.
        empty: What ``read_back`` gives when nothing was written.

    Raises:
        AssertionError: Says which promise is broken.
    """
    items = list(items)
    _check_prepare(factory(), items, bad_item)

    sink = _written(factory(), [])
    got = list(read_back(sink))
    assert got == list(empty), f"a job without items must leave {list(empty)!r}; got {got!r:.300}"

    sink = _written(factory(), [("0", items[:1]), ("0", []), ("0", items[1:])])
    got = list(read_back(sink))
    assert got == items, f"one shard's chunks must arrive in their order; wrote {items!r:.300}, read {got!r:.300}"

    half = len(items) // 2
    sink = _written(factory(), [("a", items[:1]), ("b", items[half:]), ("a", items[1:half])])
    got = list(read_back(sink))
    assert _same_items(got, items), f"all shards' chunks must arrive once; wrote {items!r:.300}, read {got!r:.300}"
    order = [got.index(item) for item in items[half:]] if _distinct(items) else []
    assert order == sorted(order), f"the order of a shard must be kept; wrote {items[half:]!r:.300}, read {got!r:.300}"

    if factory().staged:
        check_staged(factory, read_back, items)

    failed = copied(factory())  # what a failed job leaves is the sink's affair, but close must work, also twice
    failed.check()
    failed.open(CONTEXT)
    failed.write(chunk_of(failed, "0", 0, items))
    failed.close()
    failed.close()


def _check_reading(first: Source, second: Source, partition: str) -> list[Any]:
    start = first.start(partition)
    items, offsets, counts = _read_all(first, partition, start, 10)
    for limit in _LIMITS:
        others, _, _ = _read_all(second, partition, start, limit)
        assert others == items, f"{partition}: a limit of {limit} gives other items than one of 10"
    size = first.size(partition)
    before = -1
    for offset in offsets:
        assert _copy_of(offset) == offset, f"{partition}: the offset {offset!r} is not the same after pickling"
        position = first.position(partition, offset)
        if position is not None:
            assert size is None or position <= size, f"{partition}: position {position} lies behind the size {size}"
            assert position >= before, f"{partition}: position went back from {before} to {position}"
            before = position
    step = -(-len(offsets) // _MOST_REPLAYS)
    # from the back, so that no reader simply stands in the right place
    for offset, count in list(zip(offsets, counts, strict=True))[::step][::-1]:
        rest, _, _ = _read_all(second, partition, _copy_of(offset), 13)
        assert rest == items[count:], f"{partition}: reading again from the offset {offset!r} gives other items"
    return items


def _read_all(source: Source, partition: str, offset: Any, limit: int) -> tuple[list[Any], list[Any], list[int]]:
    """All items from an offset on, every offset on the way, and how many items lie before it."""
    items: list[Any] = []
    offsets, counts = [offset], [0]
    for _ in range(_MOST_READS):
        got, after = source.read(partition, offset, limit)
        assert isinstance(got, list), f"{partition}: read must return a list of items; got {type(got).__name__}"
        items += got
        if after is None:
            assert source.bounded, f"{partition}: a stream does not end, so its offset is never None"
            return items, offsets, counts
        if not got and after == offset:
            assert not source.bounded, f"{partition}: read makes no progress at the offset {offset!r}"
            return items, offsets, counts
        offset = after
        offsets.append(offset)
        counts.append(len(items))
    raise AssertionError(f"{partition}: no end after {_MOST_READS} reads")


def _check_ranges(
    first: SplittableSource, second: SplittableSource, partition: str, limit: int, items: list[Any]
) -> None:
    ranges: list[tuple[Any, Any]] = []
    start = first.start(partition)
    while not ranges or ranges[-1][1] is not None:
        assert len(ranges) <= _MOST_READS, f"{partition}: no end after {_MOST_READS} splits"
        end = first.split(partition, start, limit)
        if end == start and not first.bounded:
            break  # a stream that has nothing new
        assert end != start or end is None, f"{partition}: split makes no progress at the offset {start!r}"
        ranges.append((start, end))
        start = end
    if not ranges:
        assert not items, f"{partition}: split finds nothing where read does"
        return
    # in reverse and by another instance: a range must not depend on those before it
    parts = [_range(second, partition, low, high) for low, high in reversed(ranges)][::-1]
    got = [item for part in parts for item in part]
    assert got == items, f"{partition}: the ranges of a limit of {limit} do not cover exactly what read gives"
    middle = len(ranges) // 2
    joined = _range(first, partition, ranges[0][0], ranges[middle][1])
    assert joined == [item for part in parts[: middle + 1] for item in part], (
        f"{partition}: a range must hold what the ranges inside it hold"
    )


def _range(source: SplittableSource, partition: str, start: Any, end: Any) -> list[Any]:
    chunks = list(source.read_range(partition, _copy_of(start), _copy_of(end)))
    assert all(isinstance(chunk, list) for chunk in chunks), f"{partition}: read_range must yield lists"
    return [item for chunk in chunks for item in chunk]


def _check_prepare(sink: Any, items: list[Any], bad_item: Any) -> None:
    assert isinstance(sink, Sink), f"the factory must make a Sink; got {sink!r}"
    assert sink.name, "a sink needs a name"
    assert len(items) >= 3, "the suite needs at least three items"
    before = copy.deepcopy(items)
    payload = sink.prepare(items)
    assert isinstance(payload, bytes), f"prepare must return bytes; got {type(payload).__name__}"
    assert items == before, "prepare must not change the items"
    sink.prepare(items[:1])
    assert sink.prepare(items) == payload, "prepare must be pure: the same items gave other bytes"
    assert copied(sink).prepare(items) == payload, "prepare must be pure: a copy of the sink gave other bytes"
    if bad_item is not None:
        refused = _refusal(sink, [items[0], bad_item])
        assert refused is not None, f"prepare must raise BadItem for {bad_item!r}"
        assert refused.index == 1, f"BadItem must carry the item's index, 1; got {refused.index}"
        assert str(refused), "BadItem must say what is wrong"


def _refusal(sink: Any, items: list[Any]) -> BadItem | None:
    try:
        sink.prepare(items)
    except BadItem as refused:
        return refused
    return None


def _written(sink: Any, writes: list[tuple[str, list[Any]]]) -> Any:
    sink.check()
    with _opened(copied(sink)) as target:
        sequences: dict[str, int] = {}
        for shard, items in writes:
            sequence = sequences.get(shard, 0)
            sequences[shard] = sequence + 1
            target.write(chunk_of(sink, shard, sequence, items))  # prepared by another copy than the one that writes
            target.flush()
        target.complete()
    return target


def _copy_of(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@contextmanager
def _opened(connector: Connector) -> Iterator[Connector]:
    connector.open(CONTEXT)
    try:
        yield connector
    finally:
        connector.close()


def _distinct(items: list[Any]) -> bool:
    return all(items.count(item) == 1 for item in items)


def _same_items(left: list[Any], right: list[Any]) -> bool:
    rest = list(right)
    for item in left:
        if item not in rest:
            return False
        rest.remove(item)
    return not rest
