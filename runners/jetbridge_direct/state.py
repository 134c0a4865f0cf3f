"""The state of a stage between epochs: shards in memory, and what an epoch changed on its way to the store.

Without a journal state lives in memory alone. With one, each commit appends what
changed to the shards' logs, shards are read back when they are needed, and those
that were not used for long leave memory: state may be larger than it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

from jetbridge.errors import SerializationError
from jetbridge.kernels.failure import stage_error
from jetbridge.store import states, values
from jetbridge.times import END

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from jetbridge.kernels.keyed import KeyedKernel

CACHE_BYTES = 64 << 20
"""How much of one stage's state, as it is encoded, stays in memory; decoded it takes several times as much."""
_MOST_SEGMENTS = 32
_SMALL_BYTES = 16 << 10

_HALF = _MOST_SEGMENTS // 2
_DROP, _BASE, _APPEND, _MERGED = range(4)

Shard = MutableMapping[Any, Any]


class Write(NamedTuple):
    """Something to be written to a shard's log.

    Attributes:
        action: What to do.
        shard: The shard.
        payload: The segment, encoded.
    """

    action: int
    shard: int
    payload: bytes


class StageState:
    """The shards of one stage.

    Args:
        kernel: The stage's kernel.
        job: The job's id in the journal.
        connect: A connection to read the journal, or None for a job that keeps none.

    Attributes:
        due: The watermark at which a shard has something to emit, by shard.
        news: The shards that have changed since their last early results.
    """

    def __init__(self, kernel: KeyedKernel, job: str, connect: Callable[[], sqlite3.Connection] | None) -> None:
        self.kernel = kernel
        self._job = job
        self._connect = connect
        self._shards: OrderedDict[int, Shard] = OrderedDict()
        self._sizes: dict[int, list[int]] = {}  # the bytes of each segment in the log; the first is the base
        self._touched: dict[int, set[Any]] = {}
        self._added: dict[int, list[tuple[Any, Any]]] = {}
        self._anew: set[int] = set()
        self._dropped: set[int] = set()
        self._progress: Any = None
        self.due: dict[int, int] = {}
        self.news: set[int] = set()

    def restore(
        self,
        progress: Any,
        *,
        segments: dict[int, int] | None = None,
        due: dict[int, int] | None = None,
        news: Iterable[int] = (),
        keep: bool = True,
    ) -> None:
        """Find what the journal holds.

        Args:
            progress: What `progress` gave at the checkpoint.
            segments: What `segments` gave then, if it is known.
            due: What `due` was then.
            news: What `news` was then.
            keep: False reads all of it now, and keeps no journal from here on.

        Raises:
            CorruptDataError: When segments are missing.
        """
        assert self._connect is not None
        self._sizes = states.shards(self._connect(), self._job, self._name)
        states.check_counts(self._connect(), self._job, self._name, segments, self.segments())
        self._progress = progress
        self.due = dict(due or {})
        self.news = set(news)
        if not keep:
            for number in list(self._sizes):
                self.shard(number)
            self._connect, self._sizes = None, {}

    def shard(self, number: int) -> Shard:
        """A shard's state; empty when there is none yet."""
        state = self._shards.get(number)
        if state is None:
            state = self._read(number) if number in self._sizes and number not in self._dropped else self._new()
            self._shards[number] = state
        elif self._connect is not None:
            self._shards.move_to_end(number)
        return state

    def numbers(self) -> list[int]:
        """The shards that have state, in order."""
        return sorted((self._shards.keys() | self._sizes.keys()) - self._dropped)

    def next_due(self) -> int:
        """The watermark at which a shard has something to emit next; behind the end for a stage that has nothing."""
        return min(self.due.values(), default=END + 1)

    def due_by(self, watermark: int) -> list[int]:
        """The shards that have something to emit by a watermark, in order."""
        return sorted(number for number, due in self.due.items() if due <= watermark)

    def changed(self, number: int) -> None:
        """Note what the kernel's last step changed."""
        if self.kernel.timed:
            due = self.kernel.due(self._shards[number])
            if due is None:
                self.due.pop(number, None)
            else:
                self.due[number] = due
        if self.kernel.period:
            self.news.add(number)
        self._note(number)

    def told(self, number: int) -> None:
        """Note that a shard has given its early results."""
        self.news.discard(number)
        self._note(number)

    def _note(self, number: int) -> None:
        if self._connect is None:
            return
        last = self.kernel.last
        if self.kernel.appends:
            self._added.setdefault(number, []).append(last)
        else:
            self._touched.setdefault(number, set()).update(last)

    def drained(self, number: int, *, wholly: bool) -> None:
        """Note that a shard has emitted at the end of the input: all it has, or a part."""
        if wholly:
            self._shards.pop(number, None)
            self._touched.pop(number, None)
            self._added.pop(number, None)
            self._anew.discard(number)
            self._dropped.add(number)
            self.due.pop(number, None)
            self.news.discard(number)
            return
        progress = self.kernel.progress(self._shards[number])
        if progress is None:
            self._anew.add(number)
        self._progress = progress

    def progress(self) -> Any:
        """How far the end of the input is worked off, for the checkpoint; None where the journal says it."""
        return self._progress

    def segments(self) -> dict[int, int]:
        """How many segments each shard's log has, for the checkpoint: when one is lost that is found."""
        return {number: len(sizes) for number, sizes in self._sizes.items()}

    def collect(self, *, whole: bool = False) -> list[Write]:
        """Encode what changed since the last call; before the commit's transaction, so that this stays short.

        Args:
            whole: Take all state, for a job that keeps no journal.
        """
        if whole:
            self._anew = set(self._shards)
        writes = [Write(_DROP, number, b"") for number in self._dropped]
        for number in self._dropped:
            self._sizes.pop(number, None)
        for number in self._anew:
            writes.append(self._base(number))
        for number, keys in self._touched.items():
            if number in self._anew:
                continue
            state = self._shards[number]
            if state:
                writes.append(self._append(number, *self.kernel.changes(state, list(keys))))
            elif self._sizes.pop(number, None):  # nothing is left of it
                writes.append(Write(_DROP, number, b""))
        for number, parts in self._added.items():
            if number not in self._anew:
                if len(self._sizes.get(number, ())) >= _MOST_SEGMENTS:
                    writes.append(self._merge(number))
                writes.append(self._append(number, *(parts[0] if len(parts) == 1 else self._joined(parts))))
        self._touched, self._added, self._anew, self._dropped = {}, {}, set(), set()
        return writes

    def write(self, tx: sqlite3.Connection, writes: list[Write]) -> None:
        """Carry out what `collect` gave."""
        for action, number, payload in writes:
            place = (self._job, self._name, number)
            if action == _DROP:
                states.drop(tx, *place)
            elif action == _BASE:
                states.replace(tx, *place, payload)
            else:
                if action == _MERGED:
                    states.drop_last(tx, *place, _HALF)
                states.append(tx, *place, states.CHANGES, payload)

    def evict(self) -> None:
        """Let shards leave memory that were not used for longest, when all that they hold is in the journal."""
        if self._connect is None:
            return
        held = sum(sum(self._sizes.get(number, ())) for number in self._shards)
        # With AT_LEAST_ONCE most commits write no state, and what has changed since is in memory alone.
        kept = self._touched.keys() | self._added.keys() | self._anew
        for number in [number for number in self._shards if number not in kept]:
            if held <= CACHE_BYTES or len(self._shards) == 1:
                return
            del self._shards[number]
            held -= sum(self._sizes.get(number, ()))

    def records(self) -> int:
        """How many entries the shards in memory hold: keys, or items for state that only grows."""
        return sum(map(self.kernel.records, self._shards.values()))

    @property
    def _name(self) -> str:
        return self.kernel.name

    def _read(self, number: int) -> Shard:
        assert self._connect is not None
        state = self._new()
        sizes: list[int] = []
        for kind, payload in states.read(self._connect(), self._job, self._name, number):
            if kind == states.BASE:
                state = self._new()
                sizes.clear()
            self.kernel.add(state, *values.decode(payload))
            sizes.append(len(payload))
        self._sizes[number] = sizes
        if self._progress is not None:
            self.kernel.go_on(state, self._progress)
        return state

    def _new(self) -> Shard:
        return self.kernel.new_state()

    def _append(self, number: int, *changes: Any) -> Write:
        payload = self._encoded(*changes)
        sizes = self._sizes.get(number)
        if not sizes:
            return self._first(number, payload)
        if not self.kernel.appends and (
            len(sizes) >= _MOST_SEGMENTS or sum(sizes[1:]) + len(payload) > sizes[0] + _SMALL_BYTES
        ):
            return self._base(number)
        sizes.append(len(payload))
        return Write(_APPEND, number, payload)

    def _base(self, number: int) -> Write:
        return self._first(number, self._encoded(*self.kernel.entries(self._shards[number])))

    def _first(self, number: int, payload: bytes) -> Write:
        self._sizes[number] = [len(payload)]
        return Write(_BASE, number, payload)

    def _merge(self, number: int) -> Write:
        """Make one segment of a log's newer half: so old segments are seldom touched, and there are never many."""
        assert self._connect is not None
        stored = states.last(self._connect(), self._job, self._name, number, _HALF)
        payload = self._encoded(*self._joined([values.decode(payload) for payload in stored]))
        self._sizes[number][-_HALF:] = [len(payload)]
        return Write(_MERGED, number, payload)

    def _joined(self, parts: list[tuple[Any, Any]]) -> tuple[Any, Any]:
        state = self._new()
        for keys, items in parts:
            self.kernel.add(state, keys, items)
        return self.kernel.entries(state)

    def _encoded(self, *changes: Any) -> bytes:
        try:
            return values.encode(changes)
        except SerializationError as error:
            raise stage_error(self.kernel.kind, self._name, "storing its state", error) from error
