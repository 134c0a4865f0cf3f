"""What every stage means: the whole language, item by item, with no engine, chunks, shards or state.

A stage is a function from the lists of what reaches it to the list of what it
gives. An item travels with its time and with the watermark that its source
partition had before it; that is all that lateness depends on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from jetbridge.kernels.aside import FailedItem
from jetbridge.plan.ends import SinkNode, SourceNode
from jetbridge.plan.keyed import AggregateNode, DistinctNode, GroupNode, RollingNode, SortNode, WindowNode
from jetbridge.plan.side import FailedNode, LateNode
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
            case PeekNode():
                return list(events)
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
            case WindowNode(window=SessionWindow()):
                return self.sessions(node, events)
            case WindowNode():
                return self.windows(node, events)
            case RollingNode():
                return self.rolling(node, events)
            case AggregateNode():
                groups = self.groups(node, events) or ({} if node.key_fn else {None: []})
                results = {key: self.folded(node, [e.item for e in group]) for key, group in groups.items()}
                return [Event((key, result) if node.key_fn else result) for key, result in results.items()]
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

    def folded(self, node, items):
        """The result of some items, one after the other."""
        acc = node.operation.create()
        for item in items:
            acc = node.operation.accumulate(acc, item)
        return acc if node.operation.finish is None else node.operation.finish(acc)

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

    def windows(self, node, events):
        """Tumbling and sliding windows."""
        size, step = node.window.size, node.window.step
        contents = {}
        for key, event in self.each(node, events, lambda event: [(self.key(node, event), event)]):
            first = event.time // step * step + step  # the end of the first window that holds it
            open_ends = [end for end in range(first, first + size, step) if end > event.mark]
            if not open_ends:
                self.put_aside(node, "late_items", event.item)
            for end in open_ends:
                contents.setdefault((end, key), []).append(event.item)
        return [self.window(node, end - size, end, key, items) for (end, key), items in sorted_by_end(contents)]

    def sessions(self, node, events):
        """Session windows: a list of [start, end, numbered items] for each key."""
        gap, by_key = node.window.gap, {}
        keyed = self.each(node, events, lambda event: [(self.key(node, event), event)])
        for number, (key, event) in enumerate(keyed):
            start, end = event.time, event.time + gap
            if end <= event.mark:
                self.put_aside(node, "late_items", event.item)
                continue
            sessions = by_key.setdefault(key, [])
            # One that the watermark has closed before this item came is out of its reach.
            joined = [s for s in sessions if s[0] < end and start < s[1] and s[1] > event.mark]
            by_key[key] = [s for s in sessions if s not in joined]
            items = sorted([pair for s in joined for pair in s[2]] + [(number, event.item)], key=lambda pair: pair[0])
            by_key[key].append([min([start, *(s[0] for s in joined)]), max([end, *(s[1] for s in joined)]), items])
        return [
            self.window(node, start, end, key, [item for _, item in items])
            for key, sessions in by_key.items()
            for start, end, items in sessions
        ]

    def window(self, node, start, end, key, items):
        result = self.folded(node, items)
        keyed = node.key_fn is not None and not node.bare
        item = KeyedWindowResult(start, end, key, result) if keyed else WindowResult(start, end, result)
        return Event(item, end - 1)


def sorted_by_end(contents):
    return sorted(contents.items(), key=lambda entry: entry[0][0])
