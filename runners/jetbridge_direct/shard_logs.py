"""The logs of a stage's shards in the journal, and what is encoded for them before its commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from jetbridge.errors import SerializationError
from jetbridge.kernels.failure import stage_error
from jetbridge.store import states, values

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from jetbridge.kernels.keyed import KeyedKernel, State

MOST_SEGMENTS = 32
"""How many segments a shard's log may have."""
_SMALL_BYTES = 16 << 10
_DROP, _BASE, _APPEND, _MERGED = range(4)


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


class ShardLogs:
    """One log for each shard of a stage: a base, and what has changed since.

    Args:
        kernel: The stage's kernel.
        job: The job's id in the journal.
        connect: A connection to read the journal, or None for a job that keeps none.

    Attributes:
        sizes: The bytes of each segment in the log of each shard; the first is the base.
    """

    def __init__(self, kernel: KeyedKernel, job: str, connect: Callable[[], sqlite3.Connection] | None) -> None:
        self._kernel = kernel
        self._job = job
        self._connect = connect
        self.sizes: dict[int, list[int]] = {}
        self._ahead: dict[int, list[Write]] = {}  # of shards that left memory before their commit

    def find(self, expected: dict[int, int] | None) -> None:
        """Find what the journal holds.

        Args:
            expected: How many segments each shard's log has, if it is known.

        Raises:
            CorruptDataError: When segments are missing.
        """
        assert self._connect is not None
        self.sizes = states.shards(self._connect(), self._job, self._kernel.name)
        states.check_counts(self._connect(), self._job, self._kernel.name, expected, self.counts())

    def counts(self) -> dict[int, int]:
        """How many segments each shard's log has."""
        return {number: len(sizes) for number, sizes in self.sizes.items()}

    def bytes_of(self, number: int) -> int:
        """How many bytes a shard's log has."""
        return sum(self.sizes.get(number, ()))

    def read(self, number: int) -> State:
        """A shard as its log has it, with what is not committed yet.

        Raises:
            CorruptDataError: When segments are missing, which a search in a damaged index may pass by.
        """
        assert self._connect is not None
        kernel = self._kernel
        state = kernel.new_state()
        sizes: list[int] = []
        stored = list(states.read(self._connect(), self._job, kernel.name, number))
        for write in self._ahead.get(number, ()):
            stored.append((states.BASE if write.action == _BASE else states.CHANGES, write.payload))
        for kind, payload in stored:
            if kind == states.BASE:
                state = kernel.new_state()
                sizes.clear()
            kernel.add(state, *values.decode(payload))
            sizes.append(len(payload))
        known = self.sizes.get(number, [])
        states.check_counts(self._connect(), self._job, kernel.name, {number: len(known)}, {number: len(sizes)})
        self.sizes[number] = sizes
        return state

    def put_ahead(self, write: Write) -> None:
        """Keep a write for the commit, so that its shard may leave memory."""
        if write.action in (_BASE, _DROP):  # what comes before does not count
            self._ahead[write.shard] = [write]
        else:
            self._ahead.setdefault(write.shard, []).append(write)

    def take_ahead(self) -> list[Write]:
        """The writes that were kept, to be carried out before any later ones."""
        ahead, self._ahead = self._ahead, {}
        return [write for writes in ahead.values() for write in writes]

    def drop(self, number: int) -> Write:
        """Remove a log."""
        self._ahead.pop(number, None)
        self.sizes.pop(number, None)
        return Write(_DROP, number, b"")

    def changed(self, number: int, state: State, touched: Iterable[Any]) -> Write | None:
        """Add a shard's changed entries; None where nothing is left, and there is no log."""
        if state:
            return self.append(number, state, *self._kernel.changes(state, list(touched)))
        if not self.sizes.pop(number, None):
            return None
        return Write(_DROP, number, b"")

    def append(self, number: int, state: State, *changes: Any) -> Write:
        """Add changes; a log that has outgrown its base is written anew."""
        payload = self._encoded(*changes)
        sizes = self.sizes.get(number)
        if not sizes:
            return self._first(number, payload)
        if not self._kernel.appends and (
            len(sizes) >= MOST_SEGMENTS or sum(sizes[1:]) + len(payload) > sizes[0] + _SMALL_BYTES
        ):
            return self.base(number, state)
        sizes.append(len(payload))
        return Write(_APPEND, number, payload)

    def base(self, number: int, state: State) -> Write:
        """Write a log anew."""
        return self._first(number, self._encoded(*self._kernel.entries(state)))

    def added(self, number: int, state: State, parts: list[tuple[Any, Any]]) -> list[Write]:
        """Add what a state that only grows has got."""
        writes = []
        if len(self.sizes.get(number, ())) >= MOST_SEGMENTS:
            writes.append(self._merge(number))
        return [*writes, self.append(number, state, *(parts[0] if len(parts) == 1 else self._joined(parts)))]

    def write(self, tx: sqlite3.Connection, writes: list[Write]) -> None:
        """Carry out writes in a commit's transaction."""
        for action, number, payload in writes:
            place = (self._job, self._kernel.name, number)
            if action == _DROP:
                states.drop(tx, *place)
            elif action == _BASE:
                states.replace(tx, *place, payload)
            else:
                if action == _MERGED:
                    states.drop_last(tx, *place, MOST_SEGMENTS // 2)
                states.append(tx, *place, states.CHANGES, payload)

    def _first(self, number: int, payload: bytes) -> Write:
        self.sizes[number] = [len(payload)]
        return Write(_BASE, number, payload)

    def _merge(self, number: int) -> Write:
        """Make one segment of a log's newer half: so old segments are seldom touched, and there are never many."""
        assert self._connect is not None
        half = MOST_SEGMENTS // 2
        stored = states.last(self._connect(), self._job, self._kernel.name, number, half)
        payload = self._encoded(*self._joined([values.decode(payload) for payload in stored]))
        self.sizes[number][-half:] = [len(payload)]
        return Write(_MERGED, number, payload)

    def _joined(self, parts: list[tuple[Any, Any]]) -> tuple[Any, Any]:
        state = self._kernel.new_state()
        for keys, items in parts:
            self._kernel.add(state, keys, items)
        return self._kernel.entries(state)

    def _encoded(self, *content: Any) -> bytes:
        try:
            return values.encode(content)
        except SerializationError as error:
            kernel = self._kernel
            raise stage_error(kernel.kind, kernel.name, "storing its state", error) from error
