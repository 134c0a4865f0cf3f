"""What every stage means: the whole language, item by item, with no engine, chunks, shards or state.

A stage is a function from the lists of what reaches it to the list of what it
gives. An item travels with its time and with the watermark that its source
partition had before it; that is all that lateness depends on.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any

from jetbridge.kernels.aside import FailedItem
from jetbridge.plan.coaggregate import CoAggregateNode
from jetbridge.plan.ends import SinkNode, SourceNode
from jetbridge.plan.hash_join import BuildNode, HashJoinNode
from jetbridge.plan.joins import AsOfJoinNode, IntervalJoinNode, JoinWindowNode
from jetbridge.plan.keyed import AggregateNode, DistinctNode, GroupNode, RollingNode, SortNode, WindowNode
from jetbridge.plan.services import (
    AsyncServiceNode,
    BatchServiceNode,
    FilterServiceNode,
    FlatMapServiceNode,
    MapLookupNode,
    MapServiceNode,
)
from jetbridge.plan.shape import RebalanceNode
from jetbridge.plan.side import FailedNode, LateNode
from jetbridge.plan.stateful import CustomNode, FilterStatefulNode, FlatMapStatefulNode, MapStatefulNode, StatefulNode
from jetbridge.plan.stateless import FilterNode, FlatMapNode, MapNode, MergeNode, PeekNode
from jetbridge.plan.times import TimestampNode, UntimeNode
from jetbridge.windows import KeyedWindowResult, SessionWindow, WindowResult

NEVER = -math.inf


@dataclass(frozen=True)
class Event:
    """An item with its time and the watermark before it; without a time nothing is known of either."""

    item: Any
    time: int | None = None
    mark: float = NEVER

    def with_item(self, item):
        return Event(item, self.time, self.mark)


class Interpreter:
    """Interprets a plan.

    Args:
        plan: The plan.
        inputs: What each source gives: a list of items for each partition, by the source's stage name.
    """

    def __init__(self, plan, inputs):
        self.plan = plan
        self.inputs = inputs
        self.given = {}  # by stage id: what the stage gives
        self.aside = {}  # by stage id and kind: what it puts aside

    def results(self):
        """What reaches each sink, by stage name."""
        found = {}
        for node in self.plan.nodes:
            reaching = [self.given.get(above, []) for above in node.inputs]
            if isinstance(node, SinkNode):
                found[node.name] = [event.item for event in reaching[0]]
            else:
                self.given[node.id] = self.stage(node, *reaching)
        return found

    def stage(self, node, events=(), *others):
        match node:
            case SourceNode():
                return [Event(item, mark=number) for number, part in enumerate(self.inputs[node.name]) for item in part]
            case MapNode():
                return self.each(node, events, lambda event: [event.with_item(node.fn(event.item))])
            case FilterNode():
                return self.each(node, events, lambda event: [event] if node.predicate(event.item) else [])
            case FlatMapNode():
                return self.each(node, events, lambda event: [event.with_item(item) for item in node.fn(event.item)])
            case PeekNode() | RebalanceNode():
                return list(events)
            case MapServiceNode():
                return self.each(node, events, lambda event: [event.with_item(self.served(node, event))])
            case FilterServiceNode():
                return self.each(node, events, lambda event: [event] if self.served(node, event) else [])
            case FlatMapServiceNode():
                return self.each(node, events, lambda event: map(event.with_item, self.served(node, event)))
            case BatchServiceNode():
                service = node.factory.create(None)
                return self.each(node, events, lambda event: map(event.with_item, node.fn(service, [event.item])))
            case AsyncServiceNode():
                return self.each(node, events, lambda event: [event.with_item(asyncio.run(self.served(node, event)))])
            case MapLookupNode():
                return self.each(node, events, lambda event: [event.with_item(self.looked_up(node, event.item))])
            case MergeNode():
                return [event for part in (events, *others) for event in part]
            case TimestampNode():
                return self.stamped(node, events)
            case UntimeNode():
                return [Event(event.item) for event in events]
            case LateNode() | FailedNode():
                return [Event(item) for item in self.aside.get((node.inputs[0], node.kind), [])]
            case DistinctNode():
                firsts = {}
                for event in self.each(node, events, lambda event: [(self.key(node, event, item=True), event)]):
                    firsts.setdefault(*event)
                return list(firsts.values())
            case SortNode():
                keyed = self.each(node, events, lambda event: [(self.key(node, event, item=True), event.item)])
                ordered = sorted(keyed, key=lambda pair: pair[0], reverse=node.reverse)
                return [Event(item) for _, item in ordered]
            case GroupNode():
                return [Event((key, [e.item for e in group])) for key, group in self.groups(node, events).items()]
            case WindowNode():
                inputs = (events, *others)
                found = (
                    self.sessions(node, inputs)
                    if isinstance(node.window, SessionWindow)
                    else self.windows(node, inputs)
                )
                return [event for place, items in found for event in self.window(node, *place, items)]
            case RollingNode():
                return self.rolling(node, events)
            case CoAggregateNode():
                by_key = {} if any(node.key_fns) else {None: []}
                for key, event in self.ported(node, (events, *others)):
                    by_key.setdefault(key, []).append(event.item)
                results = {key: self.folded(node, items) for key, items in by_key.items()}
                return [Event((key, result) if any(node.key_fns) else result) for key, result in results.items()]
            case AggregateNode():
                groups = self.groups(node, events) or ({} if node.key_fn else {None: []})
                results = {key: self.folded(node, [e.item for e in group]) for key, group in groups.items()}
                return [Event((key, result) if node.key_fn else result) for key, result in results.items()]
            case BuildNode():
                return list(events)
            case HashJoinNode():
                return self.each(node, events, lambda event: self.looked_for(node, event, *others))
            case IntervalJoinNode():
                return self.interval_join(node, events, *others)
            case AsOfJoinNode():
                return self.as_of_join(node, events, *others)
            case CustomNode():
                return self.custom(node, events)
            case StatefulNode():
                return self.stateful(node, events)
        raise NotImplementedError(f"the reference does not know {node.kind}")

    def each(self, node, events, fn):
        """The results of a function for each event; one on which it fails goes aside, where the stage says so."""
        found = []
        for event in events:
            try:
                found += fn(event)
            except Exception as error:
                if node.on_error == "fail":
                    raise
                self.put_aside(
                    node, "on_error", FailedItem(node.name, event.item, f"{type(error).__name__}: {error}", "")
                )
        return found

    def put_aside(self, node, kind, item):
        self.aside.setdefault((node.id, kind), []).append(item)

    def key(self, node, event, *, item=False):
        if node.key_fn is not None:
            return node.key_fn(event.item)
        return event.item if item else None

    def groups(self, node, events):
        """The events of each key, in order."""
        found = {}
        for key, event in self.each(node, events, lambda event: [(self.key(node, event), event)]):
            found.setdefault(key, []).append(event)
        return found

    def ported(self, node, inputs):
        """The key of each event, and the event; with several inputs its item is ``(input, item)``."""
        if len(inputs) == 1:
            return self.each(node, inputs[0], lambda event: [(self.key(node, event), event)])
        found = []
        for port, (events, key_fn) in enumerate(zip(inputs, node.key_fns, strict=True)):
            found += [(key_fn and key_fn(event.item), event.with_item((port, event.item))) for event in events]
        return found

    def fails(self, node, event):
        """Whether an item cannot be folded, and goes aside, where the stage is to go on then."""
        if node.on_error == "fail":
            return False
        fold = node.operation.accumulate
        return not self.each(node, [event], lambda event: [(fold(node.operation.create(), event.item),)])

    def folded(self, node, items):
        """The result of some items, one after the other; with several inputs a tuple of results."""
        if not hasattr(node, "operations"):
            return result_of(node.operation, items)
        sides = [[item for port, item in items if port == number] for number in range(len(node.operations))]
        return tuple(result_of(operation, side) for operation, side in zip(node.operations, sides, strict=True))

    def stamped(self, node, events):
        """Each event with its time, and the watermark that its partition had before it."""
        live = self.is_live(node)
        newest = {}  # by partition, whose number a source has put where the watermark goes

        def stamp(event):
            time = node.fn(event.item)
            before = newest.get(event.mark, NEVER) - node.lag if live else NEVER
            newest[event.mark] = max(newest.get(event.mark, NEVER), time)
            return [Event(event.item, time, before)]

        return self.each(node, events, stamp)

    def is_live(self, node):
        """Whether a stage's items come from a stream: on a batch stage nothing is late."""
        if isinstance(node, SourceNode):
            return not node.source.bounded
        return any(self.is_live(self.plan.node(above)) for above in node.inputs)

    def rolling(self, node, events):
        found, so_far = [], {}
        for key, event in self.each(node, events, lambda event: [(self.key(node, event), event)]):
            so_far.setdefault(key, []).append(event.item)
            result = self.folded(node, so_far[key])
            found.append(event.with_item((key, result) if node.key_fn else result))
        return found

    def windows(self, node, inputs):
        """Tumbling and sliding windows: ``((start, end, key), items)``."""
        size, step = node.window.size, node.window.step
        contents = {}
        for key, event in self.ported(node, inputs):
            first = event.time // step * step + step  # the end of the first window that holds it
            open_ends = [end for end in range(first, first + size, step) if end > event.mark]
            if not open_ends:
                self.put_aside(node, "late_items", event.item if len(inputs) == 1 else event.item[1])
            elif self.fails(node, event):
                continue
            for end in open_ends:
                contents.setdefault((end - size, end, key), []).append(event.item)
        return sorted(contents.items(), key=lambda entry: entry[0][1])

    def sessions(self, node, inputs):
        """Session windows, likewise: a list of [start, end, numbered items] for each key."""
        gap, by_key = node.window.gap, {}
        for number, (key, event) in enumerate(self.ported(node, inputs)):
            start, end = event.time, event.time + gap
            if end <= event.mark:
                self.put_aside(node, "late_items", event.item if len(inputs) == 1 else event.item[1])
                continue
            if self.fails(node, event):
                continue
            sessions = by_key.setdefault(key, [])
            # One that the watermark has closed before this item came is out of its reach.
            joined = [s for s in sessions if s[0] < end and start < s[1] and s[1] > event.mark]
            by_key[key] = [s for s in sessions if s not in joined]
            items = sorted([pair for s in joined for pair in s[2]] + [(number, event.item)], key=lambda pair: pair[0])
            by_key[key].append([min([start, *(s[0] for s in joined)]), max([end, *(s[1] for s in joined)]), items])
        return [
            ((start, end, key), [item for _, item in items])
            for key, sessions in by_key.items()
            for start, end, items in sessions
        ]

    def window(self, node, start, end, key, items):
        """What a window gives."""
        if isinstance(node, JoinWindowNode):
            left, right = ([item for port, item in items if port == number] for number in range(2))
            left = left or ([None] if node.how in ("right", "outer") else [])
            right = right or ([None] if node.how in ("left", "outer") else [])
            values = [(one, other) for one in left for other in right]
        else:
            values = [self.folded(node, items)]
        keyed = node.key_fn is not None and not node.bare
        for value in values:
            item = KeyedWindowResult(start, end, key, value) if keyed else WindowResult(start, end, value)
            yield Event(item, end - 1)

    def served(self, node, event):
        service = node.factory.create(None)
        return node.fn(service, *([] if node.key_fn is None else [node.key_fn(event.item)]), event.item)

    def looked_up(self, node, item):
        key = node.key_fn(item)
        return node.fn(item, node.lookup.get_many([key])[0])

    def looked_for(self, node, event, build):
        """An item with what matches it in the build side."""
        key_fn = self.plan.node(node.inputs[1]).key_fn
        key = node.key_fn(event.item)
        if node.entries:
            matches = [e.item[1] for e in build if e.item[0] == key]
        else:
            matches = [e.item for e in build if key_fn(e.item) == key]
        if not matches and not node.outer:
            return []
        return [event.with_item(node.fn(event.item, m)) for m in ([matches] if node.as_list else matches or [None])]

    def in_time(self, node, events):
        """The events that are not behind their own partition's watermark; the others go aside."""
        for event in events:
            if event.time < event.mark:
                self.put_aside(node, "late_items", event.item)
        return [event for event in events if event.time >= event.mark]

    def interval_join(self, node, events, others):
        """Every pair of a key that is close in time, with the later one's time."""
        key, other_key = node.key_fns
        found, others = [], self.in_time(node, others)
        for event in self.in_time(node, events):
            close = [
                other
                for other in others
                if other_key(other.item) == key(event.item)
                and event.time - node.before <= other.time <= event.time + node.after
            ]
            found += [Event((key(event.item), (event.item, o.item)), max(event.time, o.time)) for o in close]
            if not close and node.how == "left":
                found.append(Event((key(event.item), (event.item, None)), event.time + node.after))
        return found

    def as_of_join(self, node, events, others):
        """Each event with the newest other one of its key at its time; of several the one that came last."""
        key, other_key = node.key_fns
        found, others = [], self.in_time(node, others)
        for event in self.in_time(node, events):
            least = NEVER if node.tolerance is None else event.time - node.tolerance
            before = [o for o in others if other_key(o.item) == key(event.item) and least <= o.time <= event.time]
            if before or node.how == "left":
                match = max(reversed(before), key=lambda o: o.time).item if before else None
                found.append(Event((key(event.item), (event.item, match)), event.time))
        return found

    def stateful(self, node, events):
        """A state for each key, which lives as long as its ttl after the newest of its items."""
        states, found = {}, []  # by key: the state, and the newest time

        def evict(key):
            state, newest = states.pop(key)
            if node.on_evict is not None:
                output = node.on_evict(state, *([] if node.key_fn is None else [key]), newest + node.ttl)
                many = output if isinstance(node, FlatMapStatefulNode) else [output]
                found.extend(Event(item, newest + node.ttl) for item in (many if output is not None else []))

        for event in events if node.ttl is None else self.in_time(node, events):
            key = self.key(node, event)
            if node.ttl is not None and key in states and event.time > states[key][1] + node.ttl:
                evict(key)
            state, newest = states.get(key) or (node.create(), NEVER)
            states[key] = state, max(newest, NEVER if event.time is None else event.time)
            result = node.fn(state, *([] if node.key_fn is None else [key]), event.item)
            if isinstance(node, MapStatefulNode):
                found.append(event.with_item(result))
            elif isinstance(node, FilterStatefulNode):
                found += [event] if result else []
            else:
                found += [event.with_item(item) for item in result]
            if node.delete is not None and node.delete(state):
                del states[key]
        for key in list(states) if node.ttl is not None else []:
            evict(key)
        return found

    def custom(self, node, events):
        """A kernel of the user's gets each item alone, and the watermark at the end."""
        kernel, states, found = node.kernel(), {}, []

        def give(results):
            found.extend(Event(result[1], result[0]) if kernel.gives_times else Event(result) for result in results)

        for event in self.in_time(node, events) if kernel.drops_late else events:
            key = self.key(node, event)
            state = states.setdefault(key, kernel.create())
            give(kernel.process(state, key, [event.item], None if event.time is None else [event.time]))
        for key, state in states.items():
            while (due := kernel.due(state, key)) is not None:
                give(kernel.on_watermark(state, key, due))
        return found


def result_of(operation, items):
    acc = operation.create()
    for item in items:
        acc = operation.accumulate(acc, item)
    return acc if operation.finish is None else operation.finish(acc)
