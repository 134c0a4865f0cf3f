"""A source that follows a script: items, and in between what goes wrong or stands still."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.connectors.base import Source
from jetbridge.errors import PipelineError
from jetbridge.times import TimedItems, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True)
class Sentinel:
    """Something in a script that is no item.

    Attributes:
        what: "crash", "pause", "watermark" or "idle".
        value: The watermark, or for how many seconds nothing comes.
    """

    what: str
    value: Any = None


CRASH = Sentinel("crash")
"""Here the process that reads is killed, as by ``kill -9``, the first time that the script comes to it."""
PAUSE = Sentinel("pause")
"""Here nothing more comes until the test calls the source's ``release``."""


def watermark(to: Any) -> Sentinel:
    """Here the source says that nothing before a time comes any more.

    Example:
        >>> from jetbridge import Pipeline, testing
        >>> script = [1, testing.watermark(5), 2]
        >>> testing.run_kernels(Pipeline.create().read_from(testing.scripted(script)))
        [1, 2]

    Args:
        to: The time, as `jetbridge.times.timestamp` takes it.
    """
    return Sentinel("watermark", timestamp(to))


def idle(seconds: float) -> Sentinel:
    """Here nothing comes for some seconds, from when the script first comes to it.

    Example:
        >>> from jetbridge import Pipeline, testing
        >>> pauses = testing.scripted([1, testing.idle(0), 2], ends=True)
        >>> testing.run_kernels(Pipeline.create().read_from(pauses))
        [1, 2]

    Args:
        seconds: How long, in seconds.
    """
    return Sentinel("idle", seconds)


def scripted(
    *scripts: Iterable[Any],
    name: str = "scripted",
    times: Callable[[Any], Any] | None = None,
    ends: bool = False,
) -> ScriptedSource:
    """A stream that gives the items of a script, and obeys its sentinels.

    What has happened of a script (a crash, a pause that was released) is kept
    in a temporary folder, so a worker that is started again goes on behind it.
    The folder is removed when the process ends that made the source.

    Example:
        >>> from jetbridge import Pipeline, aggregations, windows
        >>> source = scripted([1, 4, watermark(5), 2, 12], times=lambda item: item)
        >>> pipeline = Pipeline.create()
        >>> stage = pipeline.read_from(source).with_native_timestamps().window(windows.tumbling(5))
        >>> _ = stage.aggregate(aggregations.to_list()).map(lambda w: w.value).write_to(Pipeline.to_list("results"))
        >>> from jetbridge.testing import run_kernels
        >>> run_kernels(pipeline)  # 2 is late
        {'results': [[1, 4], [12]]}

    Args:
        scripts: The script of each partition: items, `CRASH`, `PAUSE`, `watermark` and `idle`.
        name: The source's name.
        times: The native time of an item, for ``with_native_timestamps``.
        ends: Whether it is a batch source, which ends with its scripts.
    """
    kind = ScriptedBatch if ends else ScriptedSource
    return kind(name, [list(script) for script in scripts], times)


class ScriptedSource(Source):
    """The source of `scripted`; offsets are places in the script.

    Example:
        >>> from jetbridge import testing
        >>> source = testing.scripted([1, testing.PAUSE, 2])
        >>> source.read("0", 0, 10), source.read("0", 1, 10)
        (([1], 1), ([], 1))
        >>> source.release()
        >>> source.read("0", 1, 10)
        ([2], 3)
    """

    kind: ClassVar[str] = "scripted"
    bounded: ClassVar[bool] = False
    has_times: ClassVar[bool] = True

    def __init__(self, name: str, scripts: list[list[Any]], times: Callable[[Any], Any] | None) -> None:
        super().__init__(name)
        if not scripts:
            raise PipelineError("scripted must be given the script of at least one partition")
        self.scripts = scripts
        self.times = times
        self._folder = tempfile.mkdtemp(prefix="jetbridge-script-")
        atexit.register(_remove, self._folder, os.getpid())

    def release(self, partition: int = 0) -> None:
        """Let a script go on behind its next `PAUSE`.

        Args:
            partition: The number of the script.
        """
        number = sum(1 for path in Path(self._folder).glob(f"{partition}-released-*"))
        Path(self._folder, f"{partition}-released-{number}").touch()

    def partitions(self) -> Sequence[str]:
        """One for each script."""
        return [str(number) for number in range(len(self.scripts))]

    def start(self, partition: str) -> int:
        """The script's beginning."""
        return 0

    def read(self, partition: str, offset: int, limit: int) -> tuple[list[Any], int | None]:
        """The items up to the next sentinel; one that holds the script back gives none."""
        script = self.scripts[int(partition)]
        found: list[Any] = []
        while offset < len(script) and len(found) < limit:
            entry = script[offset]
            if isinstance(entry, Sentinel):
                if found:
                    break
                if not self._passes(partition, offset, entry):
                    return [], offset
                offset += 1
                if entry.what == "watermark":
                    break
                continue
            found.append(entry)
            offset += 1
        done = self.bounded and offset >= len(script)
        fn = self.times
        items = found if fn is None else TimedItems(found, [timestamp(fn(item)) for item in found])
        return items, None if done else offset

    def watermark(self, partition: str, offset: int) -> int | None:
        """That of the sentinel right before a place."""
        before = self.scripts[int(partition)][offset - 1] if offset else None
        return before.value if isinstance(before, Sentinel) and before.what == "watermark" else None

    def _passes(self, partition: str, offset: int, sentinel: Sentinel) -> bool:
        mark = Path(self._folder, f"{partition}-{offset}-{sentinel.what}")
        if sentinel.what == "crash":
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        elif sentinel.what == "pause":
            script = self.scripts[int(partition)]
            earlier = sum(1 for entry in script[:offset] if entry == PAUSE)
            return Path(self._folder, f"{partition}-released-{earlier}").exists()
        elif sentinel.what == "idle":
            if not mark.exists():
                mark.touch()
            return time.time() >= mark.stat().st_mtime + float(sentinel.value)
        return True


class ScriptedBatch(ScriptedSource):
    """A script that ends."""

    bounded: ClassVar[bool] = True


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a worker that was forked ends with what it inherited
        shutil.rmtree(folder, ignore_errors=True)
