"""Looking up the keys of items in a map: the distinct ones of a chunk at once, and none that is in a fresh cache."""

from __future__ import annotations

import copy
import threading
import time
from typing import TYPE_CHECKING, Any

from jetbridge.errors import ItemError, JetbridgeError, KeyTypeError
from jetbridge.kernels.failure import FAILURES, at_hand, describe, item_error, user_traceback
from jetbridge.kernels.keyed import PLAIN, Keys
from jetbridge.kernels.keys import canonical, key_bytes
from jetbridge.services import Lookup, ServiceFactory
from jetbridge.times import TimedItems

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jetbridge.connectors.base import ConnectorContext
    from jetbridge.kernels.services import Services
    from jetbridge.plan.services import MapLookupNode


class CachedLookup:
    """A map whose values are kept for a while: the service of a `map_using_map` stage.

    Example:
        >>> class Counting(Lookup):
        ...     def get_many(self, keys):
        ...         print("asked for", *keys)
        ...         return [key * 10 for key in keys]
        >>> cached = CachedLookup(Counting("tens"), ttl=1000, max_entries=100)
        >>> cached.get_many([1, 2]), cached.get_many([2, 3])
        asked for 1 2
        asked for 3
        ({1: 10, 2: 20}, {2: 20, 3: 30})

    Args:
        lookup: The map.
        ttl: How long values are kept, in milliseconds, from before they were asked for.
        max_entries: How many; those that were asked for longest ago leave.
        clock: The time in seconds.
    """

    def __init__(self, lookup: Lookup, ttl: int, max_entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.lookup = lookup
        self._seconds = ttl / 1000
        self._most = max_entries if ttl else 0
        self._clock = clock
        self._kept: dict[Any, tuple[Any, float]] = {}  # in the order in which values grow old
        self._lock = threading.Lock()

    def get_many(self, keys: Sequence[Any]) -> dict[Any, Any]:
        """The values of distinct keys, None where there is none.

        Raises:
            ValueError: When the map does not give one value for each key.
        """
        now = self._clock()
        found: dict[Any, Any] = {}
        missing = []
        with self._lock:
            kept = self._kept
            for key in keys:
                entry = kept.get(key)
                if entry is None or entry[1] <= now:
                    missing.append(key)
                else:
                    found[key] = entry[0]
        if missing:
            values = self.lookup.get_many(missing)
            if len(values) != len(missing):
                raise ValueError(f"get_many must return one value for each key; got {len(values)} for {len(missing)}")
            found.update(zip(missing, values, strict=True))
            if self._most:
                self._keep(missing, values, now + self._seconds)
        return found

    def _keep(self, keys: Sequence[Any], values: Sequence[Any], until: float) -> None:
        with self._lock:
            kept = self._kept
            for key, value in zip(keys, values, strict=True):
                kept.pop(key, None)
                kept[key] = (value, until)
            while len(kept) > self._most:
                del kept[next(iter(kept))]

    def close(self) -> None:
        """Close the map."""
        self.lookup.close()


class MapLookupKernel:
    """Applies a function to each item and what a map has for its key.

    Args:
        node: The stage.
        services: The services of the job in this process: the map is one.
    """

    def __init__(self, node: MapLookupNode, services: Services) -> None:
        self.kind = node.kind
        self.name = node.name
        self.fn = node.fn
        self.what = f"{node.lookup.kind} '{node.lookup.name}'"
        self._keys = Keys(node.kind, node.name, node.key_fn, 1)

        def opened(context: ConnectorContext) -> CachedLookup:
            lookup = copy.copy(node.lookup)  # another stage may have the same object, and open it, too
            lookup.open(context)
            return CachedLookup(lookup, node.ttl, node.max_entries)

        self.services = services.of(node, ServiceFactory(opened, CachedLookup.close))

    def __call__(self, chunk: list[Any]) -> list[Any]:
        """The results, one for each item."""
        keys = self._keys.of(chunk)
        if not set(map(type, keys)) <= PLAIN:
            keys = [canonical(key) for key in keys]
        fn, items = self.fn, iter(chunk)
        value_of = self._values(chunk, keys)
        try:
            return [fn(item, value_of[key]) for item, key in zip(items, keys, strict=True)]
        except FAILURES as error:
            raise item_error(self.kind, self.name, at_hand(chunk, items), error) from error

    def timed(self, chunk: TimedItems) -> TimedItems:
        """The results, each with the time of its item."""
        return TimedItems(self(chunk), chunk.times)

    def _values(self, chunk: list[Any], keys: list[Any]) -> dict[Any, Any]:
        looked_up = iter(keys)
        try:
            distinct = list(dict.fromkeys(looked_up))
        except TypeError as error:
            raise self._keys.unhashable(at_hand(chunk, looked_up), at_hand(keys, looked_up), error) from error
        with self.services.lease() as cached:
            try:
                found: dict[Any, Any] = cached.get_many(distinct)
            except KeyTypeError as error:
                raise self._blamed(chunk, keys, error) from error
            except FAILURES as error:
                text = str(error) if isinstance(error, JetbridgeError) else describe(error)
                raise ItemError(
                    f"{self.kind} '{self.name}' cannot look {self.what} up: {text}",
                    stage=self.name,
                    user_traceback=user_traceback(error),
                ) from error
        return found

    def _blamed(self, chunk: list[Any], keys: list[Any], error: KeyTypeError) -> ItemError:
        for item, key in zip(chunk, keys, strict=True):
            try:
                key_bytes(key)
            except KeyTypeError as single:
                return item_error(self.kind, self.name, item, single)
        return item_error(self.kind, self.name, chunk[0], error)
