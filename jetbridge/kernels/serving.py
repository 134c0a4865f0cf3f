"""Stateless kernels whose functions are given a service."""

from __future__ import annotations

from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any

from jetbridge.errors import ItemError
from jetbridge.kernels.failure import FAILURES, HERE, at_hand, describe, item_error, short_repr, user_traceback
from jetbridge.kernels.stateless import Chunk, FlatMapKernel
from jetbridge.times import TimedItems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetbridge.kernels.services import Services
    from jetbridge.plan.services import BatchServiceNode, FlatMapServiceNode, ServiceNode


class ServiceKernel:
    """What kernels with a service have in common.

    Args:
        node: The stage.
        services: The services of the job in this process.
    """

    def __init__(self, node: ServiceNode, services: Services) -> None:
        self.kind = node.kind
        self.name = node.name
        self.services = services.of(node, node.factory)
        self.fn = with_key(node)
        self._arguments = "service, item" if node.key_fn is None else "service, key, item"

    def _failed(self, item: Any, error: BaseException) -> ItemError:
        return item_error(self.kind, self.name, item, hinted(error, self._arguments))


def with_key(node: ServiceNode) -> Callable[[Any, Any], Any]:
    """A stage's function as one of a service and an item."""
    fn, key_fn = node.fn, node.key_fn
    return fn if key_fn is None else lambda service, item: fn(service, key_fn(item), item)


def hinted(error: BaseException, arguments: str) -> BaseException:
    """An error; one of a call with a wrong number of arguments says which ones there are."""
    frames, text = error.__traceback__, str(error)
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    here = frames is not None and frames.tb_frame.f_code.co_filename.startswith(HERE)
    if not (here and type(error) is TypeError and "argument" in text):
        return error
    return TypeError(f"{text} (it is called as fn({arguments}))").with_traceback(error.__traceback__)


class MapServiceKernel(ServiceKernel):
    """Applies a function to a service and each item."""

    def __call__(self, chunk: Chunk) -> Chunk:
        """The results, one for each item."""
        fn, items = self.fn, iter(chunk)
        with self.services.lease() as service:
            try:
                return [fn(service, item) for item in items]
            except FAILURES as error:
                raise self._failed(at_hand(chunk, items), error) from error

    def timed(self, chunk: TimedItems) -> TimedItems:
        """The results, each with the time of its item."""
        return TimedItems(self(chunk), chunk.times)


class FilterServiceKernel(ServiceKernel):
    """Keeps the items for which a predicate of a service and the item is true."""

    def __call__(self, chunk: Chunk) -> Chunk:
        """The items that are kept."""
        fn, items = self.fn, iter(chunk)
        with self.services.lease() as service:
            try:
                return [item for item in items if fn(service, item)]
            except FAILURES as error:
                raise self._failed(at_hand(chunk, items), error) from error

    def timed(self, chunk: TimedItems) -> TimedItems:
        """The items that are kept, with their times."""
        fn, items = self.fn, iter(chunk)
        with self.services.lease() as service:
            try:
                kept = [fn(service, item) for item in items]
                return TimedItems(compress(chunk, kept), list(compress(chunk.times, kept)))
            except FAILURES as error:
                raise self._failed(at_hand(chunk, items), error) from error


class FlatMapServiceKernel(FlatMapKernel):
    """Replaces each item by any number of items, which a function of a service and the item gives."""

    def __init__(self, node: FlatMapServiceNode, services: Services) -> None:
        self._of_both = with_key(node)
        super().__init__(node.name, partial(self._of_both, None))
        self.kind = node.kind
        self.services = services.of(node, node.factory)

    def explode(self, chunk: Chunk) -> Iterator[Chunk]:
        """The results as chunks; the service is in use until all are drawn."""
        with self.services.lease() as service:
            self.fn = partial(self._of_both, service)
            yield from super().explode(chunk)

    def explode_timed(self, chunk: TimedItems) -> Iterator[TimedItems]:
        """The results as chunks, each result with the time of its item."""
        with self.services.lease() as service:
            self.fn = partial(self._of_both, service)
            yield from super().explode_timed(chunk)


class BatchServiceKernel(ServiceKernel):
    """Applies a function to a service and many items at once."""

    def __init__(self, node: BatchServiceNode, services: Services) -> None:
        super().__init__(node, services)
        self.max_batch = node.max_batch

    def __call__(self, chunk: Chunk) -> Chunk:
        """The results, one for each item."""
        size, out = self.max_batch, []
        with self.services.lease() as service:
            for at in range(0, len(chunk), size):
                # A copy: other branches read the same chunk, and the function may change its list.
                out += self._results(service, chunk[at : at + size])
        return out

    def timed(self, chunk: TimedItems) -> TimedItems:
        """The results, each with the time of its item."""
        return TimedItems(self(chunk), chunk.times)

    def _results(self, service: Any, batch: Chunk) -> Chunk:
        count, first = len(batch), batch[0]
        try:
            given = self.fn(service, batch)
            try:
                results = given if type(given) is list else list(given)
            except TypeError as error:
                if iter_fails(given):
                    raise TypeError(f"its function must return a list of results; got {short_repr(given)}") from error
                raise
            if len(results) != count:
                raise ValueError(f"its function must return one result for each item; got {len(results)} for {count}")
        except FAILURES as error:
            if count == 1:
                raise self._failed(first, error) from error
            shown = short_repr(first)
            raise ItemError(
                f"{self.kind} '{self.name}' failed on a batch of {count} items that begins with {shown}: "
                f"{describe(error)}",
                stage=self.name,
                item=shown,
                user_traceback=user_traceback(error),
            ) from error
        return results


def iter_fails(value: Any) -> bool:
    """Whether something cannot be iterated."""
    try:
        iter(value)
    except TypeError:
        return True
    return False
