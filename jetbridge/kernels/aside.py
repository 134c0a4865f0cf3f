"""What a kernel puts aside: late items, and items that a user's function failed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from jetbridge.errors import ItemError
from jetbridge.kernels.keyed import Splitter
from jetbridge.kernels.stateless import FlatMapKernel
from jetbridge.times import Held, TimedItems, cut

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from jetbridge.kernels.keyed import KeyedKernel


class FailedItem(NamedTuple):
    """An item that a user's function failed on.

    Example:
        >>> from jetbridge import Pipeline, testing
        >>> pipeline, seen = Pipeline.create(), []
        >>> texts = pipeline.read_from(testing.items("1", "two")).map(int).on_error(Pipeline.to_list("bad"))
        >>> _ = texts.write_to(Pipeline.to_list("good"))
        >>> [bad] = testing.run_kernels(pipeline)["bad"]
        >>> bad.stage, bad.item, bad.error
        ('map', 'two', "ValueError: invalid literal for int() with base 10: 'two'")

    Attributes:
        stage: The stage's name.
        item: The item.
        error: The exception, as one line.
        traceback: Its traceback, as text.
    """

    stage: str
    item: Any
    error: str
    traceback: str


class Aside(list[Any]):
    """A chunk that goes aside: late items, or a `FailedItem` for each item that a function failed on.

    Attributes:
        kind: Of the node that gets it: "late_items" or "on_error".
    """

    __slots__ = ("kind",)

    def __init__(self, kind: str, items: list[Any]) -> None:
        super().__init__(items)
        self.kind = kind


def failed(stage: str, item: Any, error: ItemError) -> FailedItem:
    """What is put aside of an item."""
    cause = error.cause_type or type(error.__cause__ or error).__name__
    text = str(error.__cause__ or error)
    return FailedItem(stage, item, f"{cause}: {text}" if text else cause, error.user_traceback or "")


class Careful:
    """A stateless kernel that leaves out the items on which the user's function fails.

    Args:
        kernel: The kernel; it gets one item at a time, unless it has a method ``carefully`` for many.

    Attributes:
        failed: What was left out; whoever looks at it takes it away.
    """

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.name: str = kernel.name
        self.failed: list[FailedItem] = []
        self._together = hasattr(kernel, "carefully")

    def __call__(self, chunk: list[Any]) -> list[Any]:
        """The results of the items that do not fail."""
        if self._together:
            return self._all(chunk)
        held = Held()
        for item in chunk:
            try:
                held.add(self._one([item]))
            except ItemError as error:
                self._leave(item, error)
        return held.take()

    def timed(self, chunk: TimedItems) -> TimedItems:
        """The same, with times."""
        if self._together:
            return self._all(chunk)  # type: ignore[return-value]
        out = TimedItems()
        for piece in cut(chunk, 1):
            assert isinstance(piece, TimedItems)
            try:
                result = self._one_timed(piece)
            except ItemError as error:
                self._leave(piece[0], error)
            else:
                out += result
                out.times += result.times
        return out

    def _leave(self, item: Any, error: ItemError) -> None:
        if error.item is None:
            raise error  # of the stage, such as a service that cannot be made, and not of this item
        self.failed.append(failed(self.name, item, error))

    def _all(self, chunk: list[Any]) -> list[Any]:
        results: list[Any]
        results, errors = self.kernel.carefully(chunk)
        for item, error in errors:
            self._leave(item, error)
        return results

    def _one(self, piece: list[Any]) -> list[Any]:
        # All of an item's results, or none.
        if isinstance(self.kernel, FlatMapKernel):
            return [item for chunk in self.kernel.explode(piece) for item in chunk]
        result: list[Any] = self.kernel(piece)
        return result

    def _one_timed(self, piece: TimedItems) -> TimedItems:
        if isinstance(self.kernel, FlatMapKernel):
            items = self._one(list(piece))
            return TimedItems(items, piece.times * len(items))
        result: TimedItems = self.kernel.timed(piece)
        return result


class CarefulSplitter(Splitter):
    """A splitter that leaves out the items on which the user's function fails."""

    def __init__(self, name: str, splitter: Splitter) -> None:
        self.name = name
        self.splitter = splitter
        self.failed: list[FailedItem] = []
        self.__dict__["late"] = splitter.late

    def add(self, chunk: list[Any]) -> None:
        """Take a chunk item by item."""
        for piece in cut(chunk, 1):
            try:
                self.splitter.check(piece)
                self.splitter.add(piece)
            except ItemError as error:
                self.failed.append(failed(self.name, piece[0], error))
        self.size = self.splitter.size

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """The parts of each shard."""
        yield from self.splitter.flush()
        self.size = self.splitter.size


def with_aside(kernel: KeyedKernel, chunks: Iterator[list[Any]]) -> Generator[list[Any], None, None]:
    """What a step of a kernel with state gives, and in between what it has left out, as `Aside` chunks.

    Closing this generator closes the kernel's: what it has not given stays in the state.
    """
    try:
        for chunk in chunks:
            yield chunk
            if kernel.failed:
                yield _taken(kernel)
        if kernel.failed:
            yield _taken(kernel)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


def _taken(kernel: KeyedKernel) -> Aside:
    items = [failed(kernel.name, item, error) for item, error in kernel.failed]
    kernel.failed.clear()
    return Aside("on_error", items)
