"""The state of a stage between epochs: shards in memory, and what an epoch changed on its way to the store.

Without a journal state lives in memory alone. With one, each commit appends what
changed to the shards' logs, shards are read back when they are needed, and those
that are too much leave memory: state may be larger than it. An epoch that touches
all shards lets each leave as soon as its step is over, what it changed encoded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from jetbridge.times import END
from jetbridge_direct.shard_logs import ShardLogs

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from jetbridge.kernels.keyed import KeyedKernel
    from jetbridge_direct.shard_logs import Write

CACHE_BYTES = 192 << 20
"""About how much memory one stage's state may take, besides the one shard that is at work."""
_DECODED = 4
"""How many times as many bytes values take in memory as encoded, besides their entries."""

Shard = MutableMapping[Any, Any]


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
        self._journaled = connect is not None
        self._logs = ShardLogs(kernel, job, connect)
        self._shards: OrderedDict[int, Shard] = OrderedDict()
        self._weights: dict[int, int] = {}  # of the shards in memory that have settled
        self._held = 0  # their sum
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
        self._logs.find(segments)
        self._progress = progress
        self.due = dict(due or {})
        self.news = set(news)
        if not keep:
            for number in list(self._logs.sizes):
                self.shard(number)
            self._journaled = False
            self._logs.sizes = {}

    def shard(self, number: int) -> Shard:
        """A shard's state; empty when there is none yet."""
        state = self._shards.get(number)
        if state is None:
            if number in self._logs.sizes and number not in self._dropped:
                state = self._logs.read(number)
                if self._progress is not None:
                    self.kernel.go_on(state, self._progress)
            else:
                state = self.kernel.new_state()
            self._shards[number] = state
        elif self._journaled:
            self._shards.move_to_end(number)
        return state

    def numbers(self) -> list[int]:
        """The shards that have state, in order."""
        return sorted((self._shards.keys() | self._logs.sizes.keys()) - self._dropped)

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
        if not self._journaled:
            return
        last = self.kernel.last
        if self.kernel.appends:
            self._added.setdefault(number, []).append(last)
        else:
            self._touched.setdefault(number, set()).update(last)

    def settle(self, number: int) -> None:
        """Note that an epoch's step on a shard is over: where there is too much in memory the shard leaves it at once.

        It is the one that was used last, since an epoch of a large state touches all shards in the same order: the
        one that was used first is needed next.
        """
        kernel = self.kernel
        # What has changed since the last early results would not be known of a shard that is read back.
        if not self._journaled or kernel.appends or kernel.period or number in self._anew or number not in self._shards:
            return
        weight = kernel.entry_bytes * kernel.records(self._shards[number]) + _DECODED * self._logs.bytes_of(number)
        self._held += weight - self._weights.get(number, 0)
        self._weights[number] = weight
        if self._held <= CACHE_BYTES or len(self._shards) == 1:
            return
        touched = self._touched.pop(number, None)
        if touched is not None:
            write = self._logs.changed(number, self._shards[number], touched)
            if write is not None:
                self._logs.put_ahead(write)
        self._leave(number)

    def _leave(self, number: int) -> None:
        self._shards.pop(number, None)
        self._held -= self._weights.pop(number, 0)

    def drained(self, number: int, *, wholly: bool) -> None:
        """Note that a shard has emitted at the end of the input: all it has, or a part."""
        if wholly:
            self._leave(number)
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
        return self._logs.counts()

    def collect(self, *, whole: bool = False) -> list[Write]:
        """Encode what changed since the last call; before the commit's transaction, so that this stays short.

        Args:
            whole: Take all state, for a job that keeps no journal.
        """
        if whole:
            self._anew = set(self._shards)
        logs = self._logs
        writes = [logs.drop(number) for number in self._dropped]
        writes += logs.take_ahead()
        writes += [logs.base(number, self._shards[number]) for number in self._anew]
        for number, keys in self._touched.items():
            if number not in self._anew:
                write = logs.changed(number, self._shards[number], keys)
                writes += [] if write is None else [write]
        for number, parts in self._added.items():
            if number not in self._anew:
                writes += logs.added(number, self._shards[number], parts)
        self._touched, self._added, self._anew, self._dropped = {}, {}, set(), set()
        return writes

    def write(self, tx: sqlite3.Connection, writes: list[Write]) -> None:
        """Carry out what `collect` gave."""
        self._logs.write(tx, writes)

    def evict(self) -> None:
        """Let shards leave memory that were not used for longest, when all that they hold is in the journal."""
        if not self._journaled:
            return
        held = sum(map(self._weight, self._shards))
        # With AT_LEAST_ONCE most commits write no state, and what has changed since is in memory alone.
        kept = self._touched.keys() | self._added.keys() | self._anew
        for number in [number for number in self._shards if number not in kept]:
            if held <= CACHE_BYTES or len(self._shards) == 1:
                return
            held -= self._weight(number)
            self._leave(number)

    def _weight(self, number: int) -> int:
        """About how many bytes of memory a shard takes; by its log where it has never settled."""
        return self._weights.get(number) or _DECODED * self._logs.bytes_of(number)

    def records(self) -> int:
        """How many entries the shards in memory hold: keys, or items for state that only grows."""
        return sum(map(self.kernel.records, self._shards.values()))
