"""What every kernel with state is: a splitter beside the source, and steps on each shard.

A splitter takes chunks where they arise, on any core, reduces them as far as it
may, and sends each shard its part as a payload of bytes. The kernel itself takes
payloads with the state of their shard, a mutable mapping, and yields chunks. One
that is timed says when it has more to give, and is called when the watermark is
there. Neither knows an engine.
"""

from __future__ import annotations

import abc
import pickle
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jetbridge.errors import KeyTypeError
from jetbridge.kernels.failure import FAILURES, at_hand, item_error
from jetbridge.kernels.keys import canonical, shard_of, shards_of
from jetbridge.times import END

if TYPE_CHECKING:
    from jetbridge.errors import ItemError

State = MutableMapping[Any, Any]
FLUSH_ITEMS = 65_536
"""How many items or keys a splitter holds before it sends them on."""
PLAIN = frozenset({int, str, bytes, bool, type(None)})
"""Types of keys that stand for themselves: none of them is or holds a NaN."""


class Splitter(abc.ABC):
    """Collects the items of one bundle and sends each shard its part.

    Attributes:
        size: How many entries are held; the host flushes at `FLUSH_ITEMS`.
        late: Items that came too late; whoever looks at them takes them out.
    """

    size: int = 0

    @cached_property
    def late(self) -> list[Any]:
        """Made when it is first needed."""
        return []

    @abc.abstractmethod
    def add(self, chunk: list[Any]) -> None:
        """Take a chunk.

        Raises:
            ItemError: When the key function fails or gives a key that cannot be one.
        """

    def check(self, chunk: list[Any]) -> None:
        """Whether a chunk's keys can be keys, where `add` leaves that to `flush`.

        Raises:
            ItemError: When one cannot.
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
        timed: Whether watermarks make it emit: see `due`.
        period: How often it gives early results, in milliseconds of processing time: see `early`; 0 for never.
        entry_bytes: About how many bytes of memory a record takes besides its content, for hosts that bound it.
        last: After `process`: what it added (``(keys, values)``) for a kernel
            that appends, else the keys of the entries that it changed, also
            after `on_watermark` and `early`.
        failed: The items that were left out because of an error, and it; see `be_careful`.
    """

    kind: str
    single: bool = False
    ends: bool = True
    always: bool = False
    appends: bool = False
    timed: bool = False
    period: int = 0
    entry_bytes: int = 100
    last: Any = ()

    def __init__(self, name: str) -> None:
        self.name = name
        self.failed: list[tuple[Any, ItemError]] = []

    def be_careful(self) -> None:
        """Leave out, from now on, the items that a user's function fails on: put them into `failed`."""

    @abc.abstractmethod
    def splitter(self, shards: int, port: int = 0) -> Splitter:
        """A new splitter.

        Args:
            shards: The number of shards.
            port: Which of the stage's inputs it is for.
        """

    def woken(self, shards: int) -> dict[int, bytes]:
        """What reaches shards once, by itself, before the end of the input: payloads, or nothing but a wake-up.

        Args:
            shards: The number of shards.
        """
        return {0: b""} if self.always else {}

    def new_state(self) -> State:
        """The state of a shard that nothing has reached yet."""
        return {}

    @abc.abstractmethod
    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Take one payload of a shard, and yield what is known now."""

    def due(self, state: State) -> int | None:
        """The watermark at which a state has something to emit next; None for a state that waits for none."""
        return None

    def dues(self, state: State, most: int) -> list[int]:
        """The next watermarks at which a state has something to emit, as far as they are known, in order.

        For hosts that are told of one watermark at a time and would otherwise hear late of those that follow it.
        """
        due = self.due(state)
        return [] if due is None else [due]

    def on_watermark(self, state: State, watermark: int) -> Iterator[list[Any]]:
        """Yield what is due by a watermark, in chunks, and remove from the state what was yielded.

        The host may stop after any chunk, keep the state, and call again later.
        """
        return iter(())

    def early(self, state: State) -> Iterator[list[Any]]:
        """Yield the results so far of what is not due yet and has changed since the last call; the state stays.

        The host calls it a `period` after something has changed. One that stops after
        a chunk gets it again. In a state that was read back all counts as changed.
        """
        return iter(())

    def on_end(self, state: State) -> Iterator[list[Any]]:
        """The end of input, the last watermark: yield what is left, as `on_watermark` does."""
        return self.on_watermark(state, END)

    def add(self, state: State, keys: Any, values: Any, gone: Any = ()) -> None:
        """Put stored changes back into a state, in the order in which they were stored.

        Args:
            state: The state.
            keys: The keys of entries.
            values: Their values.
            gone: The keys of entries that are there no more.
        """
        for key, value in zip(keys, values, strict=True):
            state[canonical(key)] = value
        for key in gone:
            state.pop(canonical(key), None)

    def changes(self, state: State, touched: list[Any]) -> tuple[Any, ...]:
        """What to store of entries that were changed, as arguments for `add`.

        Args:
            state: The state.
            touched: The entries' keys, as `last` had them.
        """
        known = [key for key in touched if key in state]
        values = [state[key] for key in known]
        if len(known) == len(touched):
            return known, values
        return known, values, [key for key in touched if key not in state]

    def entries(self, state: State) -> tuple[Any, Any]:
        """All of a state as ``(keys, values)`` for `add`."""
        return list(state), list(state.values())

    def records(self, state: State) -> int:
        """How many records a state holds: keys, or items where it only grows."""
        return len(self.entries(state)[1]) if self.appends else len(state)

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

    def check(self, chunk: list[Any]) -> None:
        """Whether the keys of a chunk can be keys.

        Raises:
            ItemError: When one cannot.
        """
        for item, key in zip(chunk, self.of(chunk), strict=True):
            self.shard(key, item)

    def home(self, key: Any) -> int:
        """The shard of a key.

        Raises:
            KeyTypeError: When it cannot be one.
        """
        return shard_of(key, self.shards)

    def homes(self, keys: list[Any]) -> list[int]:
        """The shards of many."""
        return shards_of(keys, self.shards)

    def one(self, key: Any) -> Any:
        """The representative of a key: see `canonical`."""
        return key if type(key) in PLAIN else canonical(key)

    def plain(self, keys: list[Any]) -> bool:
        """Whether all of them stand for themselves: see `PLAIN`."""
        return set(map(type, keys)) <= PLAIN

    def odd(self, key: Any) -> bool:
        """Whether a key may be or hold a NaN."""
        return is_odd(key)

    def shard(self, key: Any, item: Any) -> int:
        """The shard of the key of an item."""
        try:
            return self.home(key)
        except KeyTypeError as error:
            raise item_error(self.kind, self.name, item, error) from error

    def parted(self, keys: list[Any], values: list[Any]) -> Iterator[tuple[int, bytes]]:
        """Distinct keys with a value each, as ``(shard, payload)`` of ``(keys, values, odd)``.

        Where the values are the keys, the same list may be given twice: then it is sent once.
        """
        for shard, part, their, odd in self.dealt(keys, values):
            yield shard, encode((part, their, odd))

    def dealt(self, keys: list[Any], values: list[Any]) -> Iterator[tuple[int, list[Any], list[Any], bool]]:
        """Distinct keys with a value each, as shards with their keys and values, and whether a key is odd."""
        try:
            shards = self.homes(keys)
        except KeyTypeError:
            shards = [self.shard(key, key) for key in keys]  # raises for the key that cannot be one
        keys_of = self.by_shard(shards, keys)
        values_of = keys_of if values is keys else self.by_shard(shards, values)
        plain = self.plain(keys)
        for shard, (part, their) in enumerate(zip(keys_of, values_of, strict=True)):
            if part:
                yield shard, part, their, not plain and any(map(self.odd, part))

    def by_shard(self, shards: list[int], values: list[Any]) -> list[list[Any]]:
        """Values in a list for each shard."""
        dealt: list[list[Any]] = [[] for _ in range(self.shards)]
        deque(map(list.append, map(dealt.__getitem__, shards), values), 0)  # a loop in C
        return dealt

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
