"""The methods of stages that use a service, or look values up in a map."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from typing_extensions import Self

from jetbridge.arguments import described, flag, function
from jetbridge.connectors.lookup import StoredMapLookup
from jetbridge.errors import PipelineError
from jetbridge.plan.services import (
    AsyncServiceNode,
    BatchServiceNode,
    FilterServiceNode,
    FlatMapServiceNode,
    MapLookupNode,
    MapServiceNode,
)
from jetbridge.services import Lookup, ServiceFactory
from jetbridge.times import duration

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Sequence

StageT = TypeVar("StageT")
MAX_BATCH = 1024
MAX_CONCURRENT = 16
TTL_MILLIS = 1000
MAX_ENTRIES = 100_000


class Serving(abc.ABC):
    """What a stage can do with a service, which each worker process has its own of."""

    def map_using_service(self, factory: ServiceFactory, fn: Callable[[Any, Any], Any]) -> Self:
        """Replace each item by what a function of a service and the item returns.

        As Jet's ``mapUsingService``.

        Example:
            >>> from jetbridge import Pipeline, services, testing
            >>> words = Pipeline.create().read_from(testing.items("one", "two"))
            >>> table = services.shared_service(lambda context: {"one": "eins", "two": "zwei"})
            >>> testing.run_kernels(words.map_using_service(table, lambda table, word: table[word]))
            ['eins', 'zwei']

        Args:
            factory: Makes the services: see `jetbridge.services.ServiceFactory`.
            fn: ``(service, item) -> result``; None is a result like any other.

        Raises:
            PipelineError: When ``factory`` is none, or ``fn`` is not callable.
        """
        return self._served(MapServiceNode, factory, fn)

    def filter_using_service(self, factory: ServiceFactory, predicate: Callable[[Any, Any], Any]) -> Self:
        """Keep the items for which a function of a service and the item returns something true.

        As Jet's ``filterUsingService``.

        Example:
            >>> from jetbridge import Pipeline, services, testing
            >>> words = Pipeline.create().read_from(testing.items("one", "two"))
            >>> known = services.shared_service(lambda context: {"one"})
            >>> testing.run_kernels(words.filter_using_service(known, lambda known, word: word in known))
            ['one']

        Args:
            factory: As for `map_using_service`.
            predicate: ``(service, item) -> whether to keep it``.

        Raises:
            PipelineError: As for `map_using_service`.
        """
        return self._served(FilterServiceNode, factory, predicate, parameter="predicate")

    def flat_map_using_service(self, factory: ServiceFactory, fn: Callable[[Any, Any], Iterable[Any]]) -> Self:
        """Replace each item by all items of the iterable that a function of a service and the item returns.

        As Jet's ``flatMapUsingService``.

        A generator is drawn from as its items are needed; the service is in use until its last.

        Example:
            >>> from jetbridge import Pipeline, services, testing
            >>> words = Pipeline.create().read_from(testing.items("one", "two"))
            >>> synonyms = services.shared_service(lambda context: {"one": ["single", "sole"]})
            >>> testing.run_kernels(words.flat_map_using_service(synonyms, lambda table, word: table.get(word, [word])))
            ['single', 'sole', 'two']

        Args:
            factory: As for `map_using_service`.
            fn: ``(service, item) -> results``.

        Raises:
            PipelineError: As for `map_using_service`.
        """
        return self._served(FlatMapServiceNode, factory, fn)

    def map_using_service_batched(
        self, factory: ServiceFactory, fn: Callable[[Any, list[Any]], Sequence[Any]], max_batch: int = MAX_BATCH
    ) -> Self:
        """Replace items by what a function of a service and many items returns: what a model or a database wants.

        As Jet's ``mapUsingServiceAsyncBatched``, without the ``Async``.

        A batch is what has come together by then: nothing waits for more items.
        After `on_error` a batch is one item, so that the item which fails is known.

        Example:
            >>> from jetbridge import Pipeline, services, testing
            >>> numbers = Pipeline.create().read_from(testing.items(1, 2))
            >>> model = services.shared_service(lambda context: 10)
            >>> predicted = numbers.map_using_service_batched(model, lambda factor, items: [factor * n for n in items])
            >>> testing.run_kernels(predicted)
            [10, 20]

        Args:
            factory: As for `map_using_service`.
            fn: ``(service, items) -> results``, as many results as items, in the order of the items.
            max_batch: How many items one call gets at most; about 4000 come together at most.

        Raises:
            PipelineError: As for `map_using_service`, or when ``max_batch`` is no number from 1 on.
        """
        most = number("map_using_service_batched", "max_batch", max_batch)
        return self._served(BatchServiceNode, factory, fn, max_batch=most)

    def map_using_service_async(
        self,
        factory: ServiceFactory,
        fn: Callable[[Any, Any], Any],
        max_concurrent: int = MAX_CONCURRENT,
        preserve_order: bool = True,
        timeout: int | dt.timedelta | None = None,
    ) -> Self:
        """Replace each item by what a coroutine function of a service and the item returns, many at a time.

        As Jet's ``mapUsingServiceAsync``.

        Calls go on at the same time for the items that have come together, at most
        some thousands; a worker process takes the next ones when all these are done.
        They run on one event loop of the process, in which the service is also made
        and unmade: its factory may have coroutine functions.

        Example:
            >>> import asyncio
            >>> from jetbridge import Pipeline, services, testing
            >>> async def fetched(session, page):
            ...     return await asyncio.sleep(0.01, result=(session, page))
            >>> pages = Pipeline.create().read_from(testing.items("/a", "/b"))
            >>> session = services.shared_service(lambda context: "me")
            >>> testing.run_kernels(pages.map_using_service_async(session, fetched, timeout=5_000))
            [('me', '/a'), ('me', '/b')]

        Args:
            factory: As for `map_using_service`.
            fn: A coroutine function of ``(service, item)``, or a function that
                returns a ``concurrent.futures.Future``.
            max_concurrent: How many calls go on at the same time at most, in each worker thread.
            preserve_order: Whether results come in the order of their items; else in
                that in which they are there.
            timeout: How long a call may take, in milliseconds or as a timedelta, before
                it is cancelled and its item fails; None for any time.

        Raises:
            PipelineError: As for `map_using_service`, or when another argument is not what it must be.
        """
        operator = "map_using_service_async"
        return self._served(
            AsyncServiceNode,
            factory,
            fn,
            max_concurrent=number(operator, "max_concurrent", max_concurrent),
            preserve_order=flag(operator, "preserve_order", preserve_order),
            timeout=None if timeout is None else duration(operator, "timeout", timeout),
        )

    def map_using_map(
        self,
        map_name: str | Lookup,
        key_fn: Callable[[Any], Any],
        fn: Callable[[Any, Any], Any],
        ttl: int | dt.timedelta = TTL_MILLIS,
        max_entries: int = MAX_ENTRIES,
    ) -> Self:
        """Replace each item by what a function of the item and a stored map's value returns (Jet: ``mapUsingIMap``).

        The keys of items that have come together are looked up at once. What was
        found, and that there was nothing, is kept in each worker process for a while,
        so a change of the map is seen that much later, and by one worker before the
        other. After a restart items may meet other values than they did before. After
        `on_error` keys that are not kept are looked up one by one.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> flights = Pipeline.create().read_from(testing.items(("UA", 1545), ("AA", 1141)))
            >>> named = flights.map_using_map("airlines", lambda flight: flight[0], lambda flight, name: (name, flight))
            >>> named.write_to(Pipeline.to_list("flights of airlines"))
            <SinkStage 'flights of airlines'>

        Args:
            map_name: The name of a map of the embedded store, or of the cluster for
                a client of a Hazelcast cluster (one that nobody has written is
                empty), or a `jetbridge.services.Lookup` for another system.
            key_fn: The key of an item.
            fn: ``(item, value) -> result``; the value is None when the map has none.
                It must not change the value, which other items get too.
            ttl: How long what was looked up is kept, in milliseconds or as a
                timedelta; 0 to look up always.
            max_entries: How many keys are kept at most in a worker process.

        Raises:
            PipelineError: When an argument is not what it must be.
        """
        operator = "map_using_map"
        lookup = map_name if isinstance(map_name, Lookup) else StoredMapLookup(map_name)
        return self._then(
            MapLookupNode,
            operator,
            key_fn=function(operator, "key_fn", key_fn, "item"),
            fn=function(operator, "fn", fn, "item, value"),
            lookup=lookup,
            ttl=duration(operator, "ttl", ttl, least=0),
            max_entries=number(operator, "max_entries", max_entries),
        )

    def _served(self, kind: Any, factory: Any, fn: Any, parameter: str = "fn", **fields: Any) -> Self:
        operator = kind.kind
        arguments = "service, items" if kind is BatchServiceNode else "service, item"
        fields |= {"factory": checked(operator, factory), "fn": function(operator, parameter, fn, arguments)}
        return self._then(kind, operator, **fields)

    @abc.abstractmethod
    def _then(self, kind: Any, name: str, **fields: Any) -> Self:
        """Add a stage behind this one."""


class KeyedServing(abc.ABC, Generic[StageT]):
    """The same after a ``group_by``: the functions get the key, too.

    In Jet, items of one key go to one member for this. Here they stay where they
    are: nothing is moved, and each worker process may see any key.
    """

    def map_using_service(self, factory: ServiceFactory, fn: Callable[[Any, Any, Any], Any]) -> StageT:
        """Replace each item by what a function of a service, the key and the item returns.

        Example:
            >>> from jetbridge import Pipeline, services, testing
            >>> words = Pipeline.create().read_from(testing.items("one", "three")).group_by(len)
            >>> names = services.shared_service(lambda context: {3: "short", 5: "long"})
            >>> testing.run_kernels(words.map_using_service(names, lambda names, key, word: (names[key], word)))
            [('short', 'one'), ('long', 'three')]

        Args:
            factory: Makes the services: see `jetbridge.services.ServiceFactory`.
            fn: ``(service, key, item) -> result``.

        Raises:
            PipelineError: When ``factory`` is none, or ``fn`` is not callable.
        """
        return self._served(MapServiceNode, factory, fn)

    def filter_using_service(self, factory: ServiceFactory, predicate: Callable[[Any, Any, Any], Any]) -> StageT:
        """Keep the items for which a function of a service, the key and the item returns something true.

        Example:
            >>> from jetbridge import Pipeline, services, testing
            >>> words = Pipeline.create().read_from(testing.items("one", "three")).group_by(len)
            >>> allowed = services.shared_service(lambda context: {3})
            >>> testing.run_kernels(words.filter_using_service(allowed, lambda allowed, key, word: key in allowed))
            ['one']

        Args:
            factory: As for `map_using_service`.
            predicate: ``(service, key, item) -> whether to keep it``.

        Raises:
            PipelineError: As for `map_using_service`.
        """
        return self._served(FilterServiceNode, factory, predicate, parameter="predicate")

    def flat_map_using_service(self, factory: ServiceFactory, fn: Callable[[Any, Any, Any], Iterable[Any]]) -> StageT:
        """Replace each item by all items of the iterable that a function of a service, the key and the item returns.

        Example:
            >>> from jetbridge import Pipeline, services, testing
            >>> words = Pipeline.create().read_from(testing.items("ab", "abc")).group_by(len)
            >>> marks = services.shared_service(lambda context: "!")
            >>> testing.run_kernels(words.flat_map_using_service(marks, lambda mark, key, word: [word + mark] * key))
            ['ab!', 'ab!', 'abc!', 'abc!', 'abc!']

        Args:
            factory: As for `map_using_service`.
            fn: ``(service, key, item) -> results``.

        Raises:
            PipelineError: As for `map_using_service`.
        """
        return self._served(FlatMapServiceNode, factory, fn)

    def _served(self, kind: Any, factory: Any, fn: Any, parameter: str = "fn") -> StageT:
        fn = function(kind.kind, parameter, fn, "service, key, item")
        return self._then(kind, kind.kind, factory=checked(kind.kind, factory), fn=fn)

    @abc.abstractmethod
    def _then(self, kind: Any, name: str, **fields: Any) -> StageT:
        """Add a stage that knows the key."""


def checked(operator: str, factory: Any) -> ServiceFactory:
    """What was given as a factory of services.

    Raises:
        PipelineError: When it is none.
    """
    if not isinstance(factory, ServiceFactory):
        hint = ": jetbridge.services.shared_service(create) makes one of a function" if callable(factory) else ""
        raise PipelineError(f"{operator} must be given a ServiceFactory; got {described(factory)}{hint}")
    return factory


def number(operator: str, parameter: str, value: Any) -> int:
    """What was given as a number of things.

    Raises:
        PipelineError: When it is no int from 1 on.
    """
    if type(value) is not int or value < 1:
        raise PipelineError(f"{operator}'s {parameter} must be an int from 1 on; got {described(value)}")
    return value
