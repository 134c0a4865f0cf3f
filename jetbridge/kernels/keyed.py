"""What every kernel with state is: a splitter beside the source, and a process step on each shard.

A splitter takes chunks where they arise, on any core, reduces them as far as it
may, and sends each shard its part as a payload of bytes. The kernel itself takes
payloads with the state of their shard, a mutable mapping, and yields chunks.
Neither knows an engine.
"""

from __future__ import annotations

import abc
import pickle
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from jetbridge.kernels.failure import FAILURES, at_hand, item_error
from jetbridge.kernels.keys import KeyTypeError, canonical, shard_of, shards_of

State = MutableMapping[Any, Any]
FLUSH_ITEMS = 65_536
"""How many items or keys a splitter holds before it sends them on."""


class Splitter(abc.ABC):
    """Collects the items of one bundle and sends each shard its part.

    Attributes:
        size: How many entries are held; the host flushes at `FLUSH_ITEMS`.
    """

    size: int = 0

    @abc.abstractmethod
    def add(self, chunk: list[Any]) -> None:
        """Take a chunk.

        Raises:
            ItemError: When the key function fails or gives a key that cannot be one.
        """

    @abc.abstractmethod
    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The parts as ``(shard, payload)``; afterwards nothing is held."""


class KeyedKernel(abc.ABC):
    """A stage with state, on one shard at a time.

    Attributes:
        kind: The operator, for messages.
        name: The stage's name.
        single: Whether all items go to shard 0.
        ends: Whether the end of the input makes it emit.
        always: Whether shard 0 emits at the end also if nothing reached it.
        appends: Whether state only grows at its end, so that what a payload
            adds can be kept as it is; else state is values by key.
        last: After `process`: what it added (``(keys, values)``) for a kernel
            that appends, else the keys whose values it changed.
    """

    kind: str
    single: bool = False
    ends: bool = True
    always: bool = False
    appends: bool = False
    last: Any = ()

    def __init__(self, name: str) -> None:
        self.name = name

    @abc.abstractmethod
    def splitter(self, shards: int) -> Splitter:
        """A new splitter for a number of shards."""

    @abc.abstractmethod
    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Take one payload of a shard, and yield what is known now."""

    def on_end(self, state: State) -> Iterator[list[Any]]:
        """The end of input: yield what is left in chunks, and remove from the state what was yielded."""
        return iter(())

    def add(self, state: State, keys: Any, values: Any) -> None:
        """Put stored entries back into a state, in the order in which they were stored."""
        for key, value in zip(keys, values, strict=True):
            state[canonical(key)] = value

    def entries(self, state: State) -> tuple[Any, Any]:
        """All of a state as ``(keys, values)`` for `add`."""
        return list(state), list(state.values())

    def progress(self, state: State) -> Any:
        """How far `on_end` is, where that is no matter of what is left in the state; else None."""
        return None

    def go_on(self, state: State, progress: Any) -> None:
        """Make `on_end` go on at a progress."""


def encode(content: Any) -> bytes:
    """A payload of a splitter."""
    return pickle.dumps(content, protocol=5)


def decode(payload: bytes) -> Any:
    """What `encode` was given. Payloads never leave the job's own processes."""
    return pickle.loads(payload)


class Keys:
    """Computes the keys of chunks, and their shards once for each distinct key."""

    def __init__(self, kind: str, name: str, key_fn: Callable[[Any], Any] | None, shards: int) -> None:
        self.kind = kind
        self.name = name
        self.key_fn = key_fn
        self.shards = shards

    def of(self, chunk: list[Any]) -> list[Any]:
        """The keys of a chunk's items."""
        fn = self.key_fn
        if fn is None:
            return chunk
        items = iter(chunk)
        try:
            return [fn(item) for item in items]
        except FAILURES as error:
            raise item_error(f"the key function of {self.kind}", self.name, at_hand(chunk, items), error) from error

    def shard(self, key: Any, item: Any) -> int:
        """The shard of a key."""
        try:
            return shard_of(key, self.shards)
        except KeyTypeError as error:
            raise item_error(self.kind, self.name, item, error) from error

    def parted(self, keys: list[Any], values: list[Any]) -> Iterator[tuple[int, bytes]]:
        """Distinct keys with a value each, as ``(shard, payload)`` of ``(keys, values, odd)``."""
        try:
            shards = shards_of(keys, self.shards)
        except KeyTypeError:
            shards = [self.shard(key, key) for key in keys]  # raises for the key that cannot be one
        by_shard: dict[int, tuple[list[Any], list[Any]]] = {shard: ([], []) for shard in set(shards)}
        for shard, key, value in zip(shards, keys, values, strict=True):
            held = by_shard[shard]
            held[0].append(key)
            held[1].append(value)
        plain = set(map(type, keys)) <= {int, str, bytes, bool, type(None)}
        for shard, (part, their) in by_shard.items():
            yield shard, encode((part, their, not plain and any(map(is_odd, part))))

    def unhashable(self, item: Any, key: Any, error: TypeError) -> Exception:
        """The error for a key that no dict takes."""
        try:
            hash(key)
        except TypeError:
            way_out = "give a key_fn that returns a hashable key" if self.key_fn is None else "return a tuple instead"
            error = KeyTypeError(f"its key must be hashable; got {type(key).__name__} ({error}): {way_out}")
        return item_error(self.kind, self.name, item, error)


def restored(keys: list[Any], odd: bool) -> list[Any]:
    """A payload's keys; NaN loses its identity in a pickle and gets it back here."""
    return [canonical(key) for key in keys] if odd else keys


def is_odd(key: Any) -> bool:
    """Whether a key may be or hold a NaN."""
    return isinstance(key, (float, tuple, frozenset)) or key != key
