"""Session windows: spans of a key's activity, which grow together where less than a gap lies between them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import reduce
from heapq import heapify, heappop, heappush, heapreplace, nsmallest
from itertools import count
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.ended import Ended, results
from jetbridge.kernels.failure import FAILURES, stage_error
from jetbridge.kernels.fold import WHOLE, Folder
from jetbridge.kernels.group import Gathered, append_to
from jetbridge.kernels.keyed import KeyedKernel, Keys, Splitter, State, decode, encode, restored
from jetbridge.kernels.keys import canonical
from jetbridge.kernels.numbered import folded, in_sequence, kept
from jetbridge.kernels.panes import Combining
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.times import BEGINNING, Behind, TimedItems
from jetbridge.windows import SessionWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetbridge.kernels.numbered import Numbered
    from jetbridge.plan.keyed import WindowNode

Span = tuple[int, int, int, Any]
"""Start, end, the watermark behind which sessions are closed to it, and what it holds."""


class SessionSplitter(Splitter):
    """Joins the items of a key that are less than a gap apart, and puts aside those that are late.

    Sends each shard ``(keys, lists of spans, odd)``. Where nothing is combined a span
    holds its items, each with a number that says in which order they came.

    Args:
        keys: The keys.
        folder: What reduces the items of a span.
        gap: The gap, in milliseconds.
        careful: Whether items must be folded as they are added, so that one that fails is known then.
    """

    def __init__(self, keys: Keys, folder: Folder, gap: int, *, careful: bool = False) -> None:
        self.keys = keys
        self.folder = folder
        self.gap = gap
        self.combining = folder.operation.combine is not None
        self.careful = careful and self.combining
        self._reset()

    def _reset(self) -> None:
        self.size = 0
        self._count = count()
        self._items = Gathered()

    def add(self, chunk: list[Any]) -> None:
        """Keep a chunk's items by key."""
        assert isinstance(chunk, TimedItems), f"the items of '{self.keys.name}' have no times"
        chunk = chunk.on_time(self.late, self.gap)
        items: list[Any] = chunk
        if self.careful:
            items = [self.folder.fold(self.folder.create(), [item]) for item in chunk]
        elif not self.combining:
            items = [(next(self._count), item) for item in chunk]
        keys = [WHOLE] * len(chunk) if self.keys.key_fn is None else self.keys.of(list(chunk))
        append_to(self._items, keys, list(zip(chunk.times, items, strict=True)), self.keys)
        self.size += len(chunk)

    def check(self, chunk: list[Any]) -> None:
        """Whether the keys of a chunk can be keys."""
        if self.keys.key_fn is not None:
            self.keys.check(chunk)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The spans of each shard."""
        items = self._items
        self._reset()
        spans = [self._spans(pairs) for pairs in items.values()]
        if self.keys.key_fn is not None:
            yield from self.keys.parted(list(items), spans)
        elif items:
            yield 0, encode(([WHOLE], spans, False))

    def _spans(self, pairs: list[tuple[int, Any]]) -> list[Span]:
        """The spans of one key's items. One behind its watermark stays alone: the shard knows what it may join."""
        gap, reduced = self.gap, self._reduced
        pairs.sort(key=_time)
        first, last = pairs[0][0], pairs[-1][0]
        if last - first < gap and Behind not in {type(time) for time, _ in pairs}:
            return [(first, last + gap, BEGINNING, reduced([item for _, item in pairs]))]
        spans: list[Span] = []
        members: list[Any] = []
        start = end = closed = BEGINNING
        for time, item in pairs:
            behind = time.watermark if isinstance(time, Behind) else BEGINNING
            if members and behind == BEGINNING == closed and time < end:
                members.append(item)
            else:
                if members:
                    spans.append((start, end, closed, reduced(members)))
                start, closed, members = int(time), behind, [item]
            end = int(time) + gap
        spans.append((start, end, closed, reduced(members)))
        return spans

    def _reduced(self, members: list[Any]) -> Any:
        if not self.combining:
            return members
        if not self.careful:
            return self.folder.fold(self.folder.create(), members)
        combine = self.folder.operation.combine
        assert combine is not None
        return reduce(combine, members)


class SessionState(dict[Any, list[list[Any]]]):
    """What a shard keeps: for each key its open sessions, ``[start, end, accumulator]``, by start and so by end.

    Args:
        tracking: Whether to know what has changed.

    Attributes:
        number: How many items have come, where their order is kept.
        ends: A heap of ``(end, tie, key)``: each key has an entry that is not behind the end of its first session,
            and is put right when it comes to the top. None when it is to be made anew.
        changed: The sessions of each key that have changed since the last early results.
    """

    __slots__ = ("_ties", "changed", "ends", "number", "tracking")

    def __init__(self, *, tracking: bool = False) -> None:
        super().__init__()
        self.number = 0
        self.ends: list[tuple[int, int, Any]] | None = []
        self.tracking = tracking
        self.changed: dict[Any, list[list[Any]]] = {}
        self._ties = count()

    def note(self, session: list[Any], key: Any, *, new: bool) -> None:
        """A session of a key has changed, or is new."""
        if self.tracking:
            changed = self.changed.setdefault(key, [])
            if not any(session is each for each in changed):
                changed.append(session)
        if new and self.ends is not None and self[key][0] is session:
            heappush(self.ends, (session[1], next(self._ties), key))
            if len(self.ends) > 4 * len(self) + 1_000:
                self.ends = None  # most of it is out of date

    def next_end(self) -> tuple[int, Any] | None:
        """The end and the key of the session that ends first."""
        ends = self.ends
        if ends is None:
            ends = [(sessions[0][1], next(self._ties), key) for key, sessions in self.items() if sessions]
            heapify(ends)
            self.ends = ends
        while ends:
            end, _, key = ends[0]
            sessions = self.get(key)
            if not sessions:
                heappop(ends)
                continue
            first = sessions[0][1]
            if first == end:
                return end, key
            heapreplace(ends, (first, next(self._ties), key))
        return None


class SessionKernel(KeyedKernel):
    """Emits a result for each session, or for each key and session, when the watermark reaches its end."""

    kind = "window"
    timed = True
    entry_bytes = 300

    def __init__(self, node: WindowNode) -> None:
        super().__init__(node.name)
        assert isinstance(node.window, SessionWindow)
        self.node = node
        self.gap = node.window.gap
        self.single = node.key_fn is None
        self.period = node.early
        self._folding = Folder(node.name, node.operation)
        self.numbering = node.operation.combine is None
        self.folder = Folder(node.name, in_sequence()) if self.numbering else self._folding
        self._combining = Combining(self.folder.operation)

    def be_careful(self) -> None:
        """Leave out the items that cannot be folded."""
        self._folding.failed = self.failed

    def splitter(self, shards: int, port: int = 0) -> SessionSplitter:
        """A splitter that joins what is close together."""
        keys, folder = Keys(self.kind, self.name, self.node.key_fn, shards), Folder(self.name, self.node.operation)
        return SessionSplitter(keys, folder, self.gap, careful=self._folding.failed is not None)

    def new_state(self) -> State:
        """No sessions."""
        return SessionState(tracking=self.period > 0)

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Let spans join the sessions of their keys."""
        assert isinstance(state, SessionState)
        keys, spans_of, odd = decode(payload)
        keys = self.last = restored(keys, odd)
        base = state.number
        for key, spans in zip(keys, spans_of, strict=True):
            sessions = state.setdefault(key, [])
            for start, end, closed, acc in spans:
                acc = self._taken(state, base, acc)
                self._join(state, key, sessions, [start, end, acc], closed)
        return iter(())

    def _taken(self, state: SessionState, base: int, acc: Any) -> Any:
        """What a span holds, as it is kept: where nothing can be combined its items get their numbers in the shard."""
        return renumbered(state, base, acc) if self.numbering else acc

    def _join(self, state: SessionState, key: Any, sessions: list[list[Any]], new: list[Any], closed: int) -> None:
        combine = self.folder.operation.combine
        assert combine is not None
        first = bisect_right(sessions, new[0], key=_end)
        last = bisect_left(sessions, new[1], key=_start)
        joined = [session for session in sessions[first:last] if session[1] > closed]
        if not joined:
            sessions.insert(bisect_right(sessions, new[0], key=_start), new)
            state.note(new, key, new=True)
            return
        mine = joined[0]
        try:
            for other in joined[1:]:
                mine[2] = combine(mine[2], other[2])
                mine[1] = max(mine[1], other[1])
                sessions.remove(other)
            mine[2] = combine(mine[2], new[2])
        except FAILURES as error:
            raise stage_error(self.kind, self.name, "combining sessions", error) from error
        mine[0], mine[1] = min(mine[0], new[0]), max(mine[1], new[1])
        state.note(mine, key, new=False)

    def due(self, state: State) -> int | None:
        """The end of the next session."""
        assert isinstance(state, SessionState)
        following = state.next_end()
        return None if following is None else following[0]

    def dues(self, state: State, most: int) -> list[int]:
        """The ends of the next sessions, as they are now."""
        assert isinstance(state, SessionState)
        return sorted(set(nsmallest(most, (session[1] for sessions in state.values() for session in sessions))))

    def on_watermark(self, state: State, watermark: int) -> Iterator[list[Any]]:
        """Emit the sessions that end by the watermark."""
        assert isinstance(state, SessionState)
        touched: list[Any] = []
        self.last = touched
        over = Ended()
        while True:
            following = state.next_end()
            if over and (following is None or following[0] > watermark or len(over) >= CHUNK_ITEMS):
                yield results(self.node, self._folding, over)
                over = Ended()
                following = state.next_end()
            if following is None or following[0] > watermark:
                return
            _, key = following
            sessions = state[key]
            # Those of a sole key together: to take the first out of a long list again and again would take long.
            ended = min(bisect_right(sessions, watermark, key=_end), CHUNK_ITEMS) if len(state) == 1 else 1
            for session in sessions[:ended]:
                self._finish(over, key, session)
            del sessions[:ended]
            if not sessions:
                del state[key]
            touched.append(key)

    def _finish(self, over: Ended, key: Any, session: list[Any], *, going: bool = False) -> None:
        """Add a session to those that are over, or are looked at; not where all its items had to be left out."""
        start, end, acc = session
        if self.numbering:
            numbered = acc
            if not numbered:  # all were left out for an early result
                return
            acc, bad = folded(self._folding, numbered)
            if bad:
                session[2] = kept(numbered, bad)
                if not session[2]:
                    return
        elif going:
            acc = self._combining.own(acc)
        over.add_one(start, end, key, acc)

    def early(self, state: State) -> Iterator[list[Any]]:
        """The results so far of the sessions that have changed since the last time."""
        assert isinstance(state, SessionState)
        self.last = list(state.changed)  # items may have been left out
        so_far = Ended()
        for key, changed in state.changed.items():
            for session in state.get(key, ()):
                if any(session is each for each in changed):
                    self._finish(so_far, key, session, going=True)
            if len(so_far) >= CHUNK_ITEMS:
                yield results(self.node, self._folding, so_far, early=True)
                so_far = Ended()
        if so_far:
            yield results(self.node, self._folding, so_far, early=True)
        state.changed = {}

    def entries(self, state: State) -> tuple[Any, Any]:
        """All sessions."""
        assert isinstance(state, SessionState)
        known, values, _ = self.changes(state, list(state))
        return known, values

    def changes(self, state: State, touched: list[Any]) -> tuple[Any, ...]:
        """What to store of keys whose sessions were changed."""
        assert isinstance(state, SessionState)
        known = [key for key in touched if key in state]
        values = [state[key] for key in known]
        return [*known, _NUMBER], [*values, state.number], [key for key in touched if key not in state]

    def add(self, state: State, keys: Any, values: Any, gone: Any = ()) -> None:
        """Put stored sessions back."""
        assert isinstance(state, SessionState)
        for key in gone:
            state.pop(canonical(key), None)
        for key, sessions in zip(keys, values, strict=True):
            if type(key) is list:
                state.number = sessions
            else:
                state[canonical(key)] = sessions
                if state.tracking:
                    state.changed[canonical(key)] = list(sessions)
        state.ends = None

    def records(self, state: State) -> int:
        """How many sessions are open."""
        return sum(map(len, state.values()))


def renumbered(state: SessionState, base: int, numbered: Numbered) -> Numbered:
    """Items that a splitter has numbered, with numbers behind those of all that came before.

    Args:
        state: The shard's state.
        base: How many had come before the payload.
        numbered: The items.
    """
    state.number = max(state.number, base + 1 + max(number for number, _ in numbered))  # they are by time
    return [(base + number, item) for number, item in numbered]


_NUMBER: list[Any] = []
"""Names the entry that is no key's: a list is no key."""


def _time(pair: tuple[int, Any]) -> int:
    return pair[0]


def _start(session: list[Any]) -> int:
    return int(session[0])


def _end(session: list[Any]) -> int:
    return int(session[1])
