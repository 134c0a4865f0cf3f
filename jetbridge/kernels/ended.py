"""Windows that have ended, column by column, and their results."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

from jetbridge.times import TimedItems
from jetbridge.windows import KeyedWindowResult, WindowResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetbridge.kernels.fold import Folder
    from jetbridge.plan.keyed import WindowNode


class Ended:
    """Windows with what they hold. Columns, because what is done with them is done by functions in C.

    Example:
        >>> ended = Ended()
        >>> ended.add(0, 10, {"a": 1, "b": 2})
        >>> ended.add_one(3, 8, "c", 3)
        >>> len(ended), ended.starts, ended.keys
        (3, [0, 0, 3], ['a', 'b', 'c'])

    Attributes:
        starts: The start of each.
        ends: Its end.
        keys: Its key.
        accs: Its accumulator.
    """

    __slots__ = ("accs", "ends", "keys", "starts")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.keys: list[Any] = []
        self.accs: list[Any] = []

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, start: int, end: int, accs: Mapping[Any, Any]) -> None:
        """Add a window of each of some keys."""
        self.starts += repeat(start, len(accs))
        self.ends += repeat(end, len(accs))
        self.keys += accs
        self.accs += accs.values()

    def add_one(self, start: int, end: int, key: Any, acc: Any) -> None:
        """Add one window."""
        self.starts.append(start)
        self.ends.append(end)
        self.keys.append(key)
        self.accs.append(acc)


def results(node: WindowNode, folder: Folder, ended: Ended, *, early: bool = False) -> TimedItems:
    """Results with their times.

    Args:
        node: The stage.
        folder: Finishes accumulators.
        ended: The windows.
        early: Whether more may come.
    """
    values = ended.accs
    if folder.operation.finish is not None:
        values = list(map(folder.finish, values))
    columns: list[Any] = [ended.starts, ended.ends, ended.keys, values, repeat(early)]
    kind: Any = KeyedWindowResult
    if node.key_fn is None or node.bare:
        del columns[2]
        kind = WindowResult
    return TimedItems(map(tuple.__new__, repeat(kind), zip(*columns)), [end - 1 for end in ended.ends])  # noqa: B905
