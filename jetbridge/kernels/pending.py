"""Kernels whose results become many: what a host has not asked for yet is kept."""

from __future__ import annotations

import abc
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.keyed import KeyedKernel, Splitter, State
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.times import TimedItems

if TYPE_CHECKING:
    from collections.abc import Iterator


class PendingState(MutableMapping[Any, Any]):
    """The state of a kernel within, and its results that are not wholly given.

    Attributes:
        inner: That state.
        pending: The results, last one first, each with its time.
    """

    def __init__(self, inner: State) -> None:
        self.inner = inner
        self.pending: list[tuple[Any, int]] = []

    def __getitem__(self, key: Any) -> Any:
        return self.inner[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.inner[key] = value

    def __delitem__(self, key: Any) -> None:
        del self.inner[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.inner)

    def __len__(self) -> int:
        return len(self.inner) + bool(self.pending)


class PendingKernel(KeyedKernel):
    """Gives, for each result of a timed kernel, as many items as there are in it.

    Args:
        inner: The kernel within.
    """

    timed = True

    def __init__(self, inner: KeyedKernel) -> None:
        super().__init__(inner.name)
        self.inner = inner
        self.single = inner.single
        self.entry_bytes = inner.entry_bytes

    @abc.abstractmethod
    def taken(self, result: Any) -> tuple[list[Any], Any]:
        """Some items of a result, and the rest of it as a result; None when nothing is left."""

    def be_careful(self) -> None:
        """As the kernel within."""
        self.inner.failed = self.failed
        self.inner.be_careful()

    def splitter(self, shards: int, port: int = 0) -> Splitter:
        """That of the kernel within."""
        return self.inner.splitter(shards, port)

    def new_state(self) -> State:
        """That of the kernel within, and no results."""
        return PendingState(self.inner.new_state())

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """As the kernel within, which gives nothing yet."""
        assert isinstance(state, PendingState)
        yield from self.inner.process(state.inner, payload)
        self.last = [(name,) for name in self.inner.last]

    def due(self, state: State) -> int | None:
        """When the next result is due; at once while one is not wholly given."""
        assert isinstance(state, PendingState)
        return state.pending[-1][1] + 1 if state.pending else self.inner.due(state.inner)

    def on_watermark(self, state: State, watermark: int) -> Iterator[list[Any]]:
        """Give the items of the results that are due."""
        assert isinstance(state, PendingState)
        self.inner.last = []
        self.last = _Touched(self.inner)
        yield from self._given(state)
        for chunk in self.inner.on_watermark(state.inner, watermark):
            assert isinstance(chunk, TimedItems)
            state.pending = list(zip(reversed(chunk), reversed(chunk.times), strict=True))
            yield from self._given(state)

    def _given(self, state: PendingState) -> Iterator[TimedItems]:
        out = TimedItems()
        pending = state.pending
        while pending:
            result, time = pending.pop()
            items, rest = self.taken(result)
            if rest is not None:
                pending.append((rest, time))
            out += items
            out.times += [time] * len(items)
            if len(out) >= CHUNK_ITEMS:
                yield out
                out = TimedItems()
        if out:
            yield out

    def entries(self, state: State) -> tuple[Any, Any]:
        """What the kernel within has, and the results."""
        assert isinstance(state, PendingState)
        names, values = self.inner.entries(state.inner)
        return [*((name,) for name in names), ()], [*values, state.pending]

    def changes(self, state: State, touched: list[Any]) -> tuple[Any, ...]:
        """What to store of entries that were changed; the results always."""
        assert isinstance(state, PendingState)
        names, values, *gone = self.inner.changes(state.inner, [name[0] for name in touched])
        changed = [*((name,) for name in names), ()], [*values, state.pending]
        return (*changed, [(name,) for name in gone[0]]) if gone else changed

    def add(self, state: State, keys: Any, values: Any, gone: Any = ()) -> None:
        """Put stored entries back."""
        assert isinstance(state, PendingState)
        names, theirs = [], []
        for name, value in zip(keys, values, strict=True):
            if name:
                names.append(name[0])
                theirs.append(value)
            else:
                state.pending = list(value)
        self.inner.add(state.inner, names, theirs, [name[0] for name in gone])

    def records(self, state: State) -> int:
        """What the kernel within holds, and the results."""
        assert isinstance(state, PendingState)
        return self.inner.records(state.inner) + len(state.pending)


class _Touched:
    """The entries that a step of the kernel within has touched by the time that they are asked for."""

    def __init__(self, inner: KeyedKernel) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[Any]:
        return iter([(name,) for name in self._inner.last])
