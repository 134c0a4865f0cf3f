"""Sorting: sorted runs beside the source, one merge at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.kernels.failure import FAILURES, stage_error
from jetbridge.kernels.keyed import KeyedKernel, Keys, Splitter, State, decode, encode
from jetbridge.kernels.stateless import CHUNK_ITEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def arranged(name: str, keys: list[Any] | None, items: list[Any], reverse: bool) -> tuple[list[Any] | None, list[Any]]:
    """Keys and items in the order of the keys; without keys the items' own order. Stable."""
    try:
        if keys is None:
            return None, sorted(items, reverse=reverse)
        order = sorted(range(len(items)), key=keys.__getitem__, reverse=reverse)
    except TypeError as error:
        kinds = sorted({type(key).__name__ for key in (items if keys is None else keys)})
        mixed = TypeError(
            f"{error}; the {'items are' if keys is None else 'keys are'} of type {' and '.join(kinds)}: "
            "give a key_fn whose results compare with each other"
        )
        raise stage_error("sort", name, "comparing", mixed) from error
    except FAILURES as error:
        raise stage_error("sort", name, "comparing", error) from error
    return [keys[i] for i in order], [items[i] for i in order]


class SortSplitter(Splitter):
    """Sends shard 0 sorted runs: ``(keys or None, items)``."""

    def __init__(self, keys: Keys, reverse: bool) -> None:
        self.keys = keys
        self.reverse = reverse
        self.items: list[Any] = []
        self.sort_keys: list[Any] = []

    def add(self, chunk: list[Any]) -> None:
        """Keep a chunk with its keys."""
        if self.keys.key_fn is not None:
            self.sort_keys += self.keys.of(chunk)
        self.items += chunk
        self.size = len(self.items)

    def check(self, chunk: list[Any]) -> None:
        """Whether the key function takes a chunk's items."""
        self.keys.of(chunk)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """One sorted run."""
        keys: list[Any] | None = self.sort_keys
        items, self.items, self.sort_keys, self.size = self.items, [], [], 0
        if self.keys.key_fn is None:
            keys = None
        if items:
            yield 0, encode(arranged(self.keys.name, keys, items, self.reverse))


class SortKernel(KeyedKernel):
    """Keeps the runs, and emits all items in order at the end.

    Timsort finds the sorted runs again and merges them, so the last step costs
    a few comparisons an item; equal keys keep the order of arrival.
    """

    kind = "sort"
    single = True
    appends = True

    def __init__(self, name: str, key_fn: Callable[[Any], Any] | None, reverse: bool) -> None:
        super().__init__(name)
        self.key_fn = key_fn
        self.reverse = reverse

    def splitter(self, shards: int, port: int = 0) -> SortSplitter:
        """A splitter that makes sorted runs."""
        return SortSplitter(Keys(self.kind, self.name, self.key_fn, shards), self.reverse)

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Keep a run."""
        keys, items = self.last = decode(payload)
        self.add(state, keys, items)
        return iter(())

    def add(self, state: State, keys: Any, values: Any, gone: Any = ()) -> None:
        """Keep sorted items behind those that are there."""
        if "items" not in state:
            state["keys"], state["items"] = None if keys is None else [], []
        state["items"] += values
        if keys is not None:
            state["keys"] += keys

    def entries(self, state: State) -> tuple[Any, Any]:
        """All items with their keys."""
        return state.get("keys"), state.get("items", [])

    def progress(self, state: State) -> Any:
        """How many items were emitted."""
        return state.get("at")

    def go_on(self, state: State, progress: Any) -> None:
        """Leave out what was emitted."""
        state["at"] = progress

    def on_end(self, state: State) -> Iterator[list[Any]]:
        """Emit the items in order."""
        if "items" in state:
            _, state["sorted"] = arranged(self.name, state.pop("keys"), state.pop("items"), self.reverse)
            state.setdefault("at", 0)
        if "sorted" not in state:
            return
        items = state["sorted"]
        while (at := state["at"]) < len(items):
            state["at"] = at + CHUNK_ITEMS
            yield items[at : at + CHUNK_ITEMS]
        state.clear()
