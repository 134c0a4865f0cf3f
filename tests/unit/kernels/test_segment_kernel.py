"""A fused segment against a naive walk over the same graph."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge import aggregations
from jetbridge.connectors.base import BadItem, Sink, Source
from jetbridge.connectors.embedded import ListSink
from jetbridge.errors import ItemError
from jetbridge.kernels.keyed import decode
from jetbridge.kernels.segment import SegmentKernel
from jetbridge.plan.ends import BeamNode, SinkNode, SourceNode
from jetbridge.plan.fuse import fuse
from jetbridge.plan.graph import Plan
from jetbridge.plan.keyed import AggregateNode, DistinctNode
from jetbridge.plan.stateless import FilterNode, FlatMapNode, MapNode, MergeNode, PeekNode


class Nowhere(Source):
    def partitions(self):
        return ["0"]

    def read(self, partition, offset, limit):
        return [], None


class Picky(Sink):
    """Refuses 4711, and breaks on 4712."""

    def prepare(self, items):
        if 4_711 in items:
            raise BadItem(items.index(4_711), "not this one")
        if 4_712 in items:
            raise OSError("broken")
        return super().prepare(items)

    def write(self, chunk):
        raise AssertionError


@dataclass
class Operator:
    """An operator with its naive model."""

    make: object
    model: object


OPERATORS = {
    "map": Operator(lambda **at: MapNode(fn=lambda n: n + 1, **at), lambda n: [n + 1]),
    "filter": Operator(lambda **at: FilterNode(predicate=lambda n: n % 3, **at), lambda n: [n] if n % 3 else []),
    "flat_map": Operator(lambda **at: FlatMapNode(fn=lambda n: [n] * (n % 3), **at), lambda n: [n] * (n % 3)),
    "peek": Operator(lambda **at: PeekNode(**at), lambda n: [n]),
    "merge": Operator(lambda **at: MergeNode(**at), lambda n: [n]),
}


def source(name="source"):
    return SourceNode(id=0, name=name, named=True, inputs=(), source=Nowhere(name))


def sink(number, name, above):
    return SinkNode(id=number, name=name, named=True, inputs=(above,), sink=Picky(name))


@st.composite
def plans(draw, kinds=tuple(OPERATORS)):
    """A source, stages that each read any earlier ones, and a sink at each end."""
    nodes = [source()]
    for number in range(1, draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(kinds))
        most = 3 if kind == "merge" else 1
        inputs = draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=most))
        nodes.append(OPERATORS[kind].make(id=number, name=f"{kind}-{number}", named=True, inputs=tuple(inputs)))
    read = {above for node in nodes for above in node.inputs}
    extra = draw(st.sets(st.integers(0, len(nodes) - 1)))
    for above in range(len(nodes)):
        if above not in read or above in extra:
            nodes.append(sink(len(nodes), f"sink-{above}", above))
    return Plan(tuple(nodes))


def naive(plan, items):
    """What each stage emits, item by item, and how many it received and emitted."""
    emitted = {}
    counts = {}
    for node in plan.nodes:
        received = [item for above in node.inputs for item in emitted[above]]
        model = OPERATORS[node.name.partition("-")[0]].model if node.stateless else lambda item: [item]
        emitted[node.id] = items if node.kind == "source" else [out for item in received for out in model(item)]
        counts[node.name] = [len(received), 0 if node.kind == "sink" else len(emitted[node.id])]
    return {node.name: emitted[node.id] for node in plan.sinks}, counts


def run(plan, chunks, shards=4):
    [segment] = fuse(plan)
    kernel = SegmentKernel(segment, shards, "jetbridge.test")
    arrived = defaultdict(list)
    for chunk in chunks:
        for emission in kernel.feed(chunk):
            items = decode(emission.payload)
            assert emission.number == len(items) > 0
            arrived[segment.exits[emission.exit].target.name] += items
    assert list(kernel.flush()) == []
    return arrived, kernel


@given(plan=plans(), chunks=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), max_size=4))
def test_every_sink_gets_what_a_naive_walk_gives_it(plan, chunks):
    items = [item for chunk in chunks for item in chunk]
    expected, counts = naive(plan, items)
    arrived, kernel = run(plan, chunks)
    assert {name: Counter(arrived[name]) for name in expected} == {n: Counter(out) for n, out in expected.items()}
    assert kernel.take_counts() == {name: [*pair, 0, 0] for name, pair in counts.items()}, "counts are exact"
    assert all(not any(each) for each in kernel.take_counts().values()), "and taken once"


@given(
    plan=plans(kinds=("map", "filter", "flat_map", "peek")),
    chunks=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), max_size=4),
)
def test_without_a_merge_the_order_is_kept(plan, chunks):
    expected, _ = naive(plan, [item for chunk in chunks for item in chunk])
    arrived, _ = run(plan, chunks)
    assert {name: arrived[name] for name in expected} == expected


def test_neighbours_are_fused_and_stages_with_state_are_not():
    nodes = (
        source(),
        MapNode(id=1, name="a", named=True, inputs=(0,), fn=str),
        FilterNode(id=2, name="b", named=True, inputs=(1,), predicate=bool),
        DistinctNode(id=3, name="once", named=True, inputs=(2,), key_fn=None),
        MapNode(id=4, name="c", named=True, inputs=(3,), fn=str),
        BeamNode(id=5, name="beam", named=True, inputs=(4,), transform=None),
        PeekNode(id=6, name="d", named=True, inputs=(5,)),
        sink(7, "out", 6),
    )
    shape = [
        (s.root.name, [step.name for step in s.steps], [e.target.name for e in s.exits]) for s in fuse(Plan(nodes))
    ]
    assert shape == [("source", ["a", "b"], ["once"]), ("once", ["c"], ["beam"]), ("beam", ["d"], ["out"])]


def test_a_stage_below_two_roots_belongs_to_both():
    second = SourceNode(id=1, name="second", named=True, inputs=(), source=Nowhere("second"))
    nodes = (
        source(),
        second,
        MergeNode(id=2, name="both", named=True, inputs=(0, 1)),
        MapNode(id=3, name="after", named=True, inputs=(2,), fn=str),
        sink(4, "out", 3),
    )
    assert [(s.root.name, [step.name for step in s.steps]) for s in fuse(Plan(nodes))] == [
        ("source", ["both", "after"]),
        ("second", ["both", "after"]),
    ]


def test_keyed_stages_get_payloads_at_the_flush_and_beam_stages_chunks():
    operation = aggregations.counting()
    nodes = (
        source(),
        AggregateNode(id=1, name="count", named=True, inputs=(0,), key_fn=lambda n: n % 2, operation=operation),
        BeamNode(id=2, name="beam", named=True, inputs=(0,), transform=None),
        sink(3, "a", 1),
        sink(4, "b", 2),
    )
    segment = fuse(Plan(nodes))[0]
    kernel = SegmentKernel(segment, 128, "jetbridge.test")
    [handed] = kernel.feed([1, 2, 3])
    assert segment.exits[handed.exit].target.name == "beam"
    assert decode(handed.payload) == [1, 2, 3]
    flushed = list(kernel.flush())
    assert {segment.exits[emission.exit].target.name for emission in flushed} == {"count"}
    assert len(flushed) == 2, "one payload for each of two shards"
    assert kernel.take_counts() == {"source": [0, 3, 0, 0], "count": [3, 0, 0, 0], "beam": [3, 0, 0, 0]}


def test_a_hundred_stages_in_a_row_and_a_few_diamonds():
    nodes = [source()]
    for number in range(1, 301):
        nodes.append(MapNode(id=number, name=f"m{number}", named=True, inputs=(number - 1,), fn=lambda n: n + 1))
    nodes.append(sink(301, "sink-300", 300))
    arrived, _ = run(Plan(tuple(nodes)), [[0, 1]])
    assert arrived["sink-300"] == [300, 301]

    nodes = [source()]
    for _ in range(8):
        above = len(nodes) - 1
        nodes += [
            FilterNode(id=above + 1, name=f"f{above + 1}", named=True, inputs=(above,), predicate=lambda n: n % 2),
            FilterNode(id=above + 2, name=f"f{above + 2}", named=True, inputs=(above,), predicate=lambda n: not n % 2),
            MergeNode(id=above + 3, name=f"g{above + 3}", named=True, inputs=(above + 1, above + 2)),
        ]
    nodes.append(sink(len(nodes), "out", len(nodes) - 1))
    arrived, _ = run(Plan(tuple(nodes)), [[0, 1, 2, 3]])
    assert sorted(arrived["out"]) == [0, 1, 2, 3]


def test_flat_maps_in_a_row_stay_lazy():
    nodes = (
        source(),
        FlatMapNode(id=1, name="one", named=True, inputs=(0,), fn=lambda n: range(10_000)),
        FlatMapNode(id=2, name="two", named=True, inputs=(1,), fn=lambda n: range(10_000)),
        sink(3, "out", 2),
    )
    kernel = SegmentKernel(fuse(Plan(nodes))[0], 4, "jetbridge.test")
    steps = kernel.feed([1] * 1_000)
    first = next(steps)
    assert first.number < 10_000, "a thousand million items are not made to give the first chunk"
    steps.close()


@pytest.mark.parametrize(("item", "words"), [(4_711, "not this one"), (4_712, "broken")])
def test_an_item_that_a_sink_refuses_is_named(item, words):
    plan = Plan((source(), sink(1, "picky", 0)))
    with pytest.raises(ItemError, match=words) as caught:
        run(plan, [[1, 2, item, 3]])
    assert (caught.value.stage, caught.value.item) == ("picky", repr(item))
    assert "picky" in str(caught.value)


def test_what_cannot_be_stored_is_refused_in_one_line_and_said_once():
    plan = Plan((source(), SinkNode(id=1, name="out", named=True, inputs=(0,), sink=ListSink("out"))))
    with pytest.raises(ItemError, match="sink 'out' failed on item <function") as caught:
        run(plan, [[1, lambda: 2]])
    [line] = caught.value.user_traceback.splitlines()
    assert line.startswith("jetbridge.errors.SerializationError: cannot store the lambda")


def test_what_cannot_be_stored_because_of_the_users_code_keeps_its_traceback():
    class Odd:
        def __reduce__(self):
            raise ValueError("on purpose")

    plan = Plan((source(), SinkNode(id=1, name="out", named=True, inputs=(0,), sink=ListSink("out"))))
    with pytest.raises(ItemError, match="on purpose") as caught:
        run(plan, [[Odd()]])
    assert "in __reduce__" in caught.value.user_traceback


def test_what_a_sink_raises_itself_keeps_its_traceback():
    with pytest.raises(ItemError) as caught:
        run(Plan((source(), sink(1, "out", 0))), [[4_712]])
    trace = caught.value.user_traceback
    assert "in prepare" in trace
    assert trace.count("Traceback") == 1, "that of the whole chunk is not told besides"


def test_an_error_in_one_branch_names_its_stage():
    nodes = (
        source(),
        MapNode(id=1, name="fine", named=True, inputs=(0,), fn=str),
        MapNode(id=2, name="bad", named=True, inputs=(0,), fn=lambda n: 1 // n),
        sink(3, "a", 1),
        sink(4, "b", 2),
    )
    with pytest.raises(ItemError, match="map 'bad' failed on item 0: ZeroDivisionError") as caught:
        run(Plan(nodes), [[1, 0]])
    assert caught.value.stage == "bad"


def large(plan, chunks):
    """The sizes in items and bytes of what leaves by each exit."""
    [segment] = fuse(plan)
    kernel = SegmentKernel(segment, 4, "jetbridge.test")
    given = [emission for chunk in chunks for emission in kernel.feed(chunk)]
    return [*given, *kernel.flush()]


def test_chunks_of_large_items_have_few_of_them():
    """A bound of items alone would let chunks outgrow memory, and a row of the store."""
    plan = Plan((source(), sink(1, "list", 0)))
    chunks = [[f"{number}-{at}" + "x" * 20_000 for at in range(4_096)] for number in range(2)]
    given = large(plan, [[b"x" * 9_000_000], *chunks, ["small"] * 4_096])
    assert [item for each in given[1:] for item in decode(each.payload)] == [*chunks[0], *chunks[1], *["small"] * 4_096]
    assert len(given[0].payload) > 9_000_000, "one item is not cut"
    assert max(len(each.payload) for each in given[1:]) <= 8 << 20
    assert len(given) < 60, "nor are chunks cut smaller than need be"


def test_what_is_held_for_shards_is_bounded_by_bytes():
    node = AggregateNode(1, "lists", True, (0,), key_fn=len, operation=aggregations.folding(lambda acc, item: acc, 0))
    root, _ = fuse(Plan((source(), node, sink(2, "list", 1))))
    kernel = SegmentKernel(root, 1, "jetbridge.test")

    def chunks_until_it_sends():
        return next(n for n in range(1, 1_000) if list(kernel.feed([f"{at}" + "x" * 4_000 for at in range(1_000)])))

    first, then = chunks_until_it_sends(), chunks_until_it_sends()
    assert (first, then) == (9, 5), "8,192 items as long as their size is not known, then 16 MB"
