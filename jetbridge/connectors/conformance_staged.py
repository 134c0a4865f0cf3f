"""The part of the suite for connectors that is about staged sinks: crashes, and going on behind them."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from jetbridge.connectors.base import ConnectorContext, Sink, SinkChunk, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONTEXT = ConnectorContext(job_id="conformance", job_name="conformance", run="run-1", stage="stage", home=".")
_SHOWN = 2000
_CRASH = """
import os, pickle, signal, sys
paths, data = pickle.load(sys.stdin.buffer)
sys.path[:] = paths
sink, context, kept, lost = pickle.loads(data)
sink.open(context)
for chunk in kept:
    sink.write(chunk)
position = sink.position()
sink.committed(position)
for chunk in lost:
    sink.write(chunk)
sink.flush()
sys.stdout.buffer.write(pickle.dumps(position))
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""

Connector = TypeVar("Connector", bound="Source | Sink")


def check_staged(factory: Callable[[], Any], read_back: Callable[[Any], Sequence[Any]], items: list[Any]) -> None:
    """Check that a staged sink keeps exactly what was committed; `check_sink` calls this for sinks that are staged.

    Args:
        factory: As for `check_sink`.
        read_back: As for `check_sink`.
        items: As for `check_sink`.

    Raises:
        AssertionError: Says which promise is broken.
    """
    half = len(items) // 2
    for count in (0, half):
        _check_crash(factory(), read_back, items, count)
    _check_uncommitted(factory(), read_back, items)
    _check_pause(factory(), read_back, items)


def _check_crash(sink: Any, read_back: Callable[[Any], Sequence[Any]], items: list[Any], count: int) -> None:
    """Some items are committed, then others written, then the process is gone, and another one goes on."""
    kept = [chunk_of(sink, "0", 0, items[:count])] if count else []
    position = _crashed(sink, kept, [chunk_of(sink, "0", 1, items[:1] + items[count:])])
    successor = copied(sink)
    successor.reopen(CONTEXT, position)
    successor.write(chunk_of(sink, "0", 1, items[count:]))
    _position(successor)
    successor.complete()
    successor.close()
    got = list(read_back(sink))
    assert got == items, (
        f"reopen must cut what was written after the position {position!r:.200}; committed {items!r:.300}, "
        f"read {got!r:.300}"
    )


def _check_uncommitted(sink: Any, read_back: Callable[[Any], Sequence[Any]], items: list[Any]) -> None:
    """A position that no commit has kept counts for nothing."""
    crashed = copied(sink)
    crashed.open(CONTEXT)
    crashed.write(chunk_of(sink, "0", 0, items[:1]))
    first = _position(crashed)
    crashed.committed(first)
    crashed.write(chunk_of(sink, "0", 1, items))
    second = _position(crashed)
    crashed.pause()
    assert second != first, f"the position must change with what is written; it stayed {first!r:.200}"
    successor = copied(sink)
    successor.reopen(CONTEXT, _copy(first))
    again = successor.position()
    assert again == first, f"reopen at {first!r:.200} must lead to that position; got {again!r:.200}"
    successor.write(chunk_of(sink, "0", 1, items[1:]))
    successor.complete()
    successor.close()
    got = list(read_back(sink))
    assert got == items, f"only the last commit counts; committed {items!r:.300}, read {got!r:.300}"


def _check_pause(sink: Any, read_back: Callable[[Any], Sequence[Any]], items: list[Any]) -> None:
    """A pause between any two chunks, and a crash right behind the end."""
    position: Any = None
    for index, item in enumerate(items):
        target = copied(sink)
        if index:
            target.reopen(CONTEXT, _copy(position))
        else:
            target.open(CONTEXT)
        target.write(chunk_of(sink, "0", index, [item]))
        position = _position(target)
        target.committed(position)
        if index < len(items) - 1:
            target.pause()
            target.close()  # nothing is left to be closed, so nothing may be removed
    target.complete()
    target.pause()  # a process that dies here closes nothing, and the host did not note that the job has completed
    for _ in range(2):
        again = copied(sink)
        again.reopen(CONTEXT, _copy(position))
        _position(again)
        again.complete()
        again.pause()
    again = copied(sink)
    again.reopen(CONTEXT, _copy(position))
    again.close()
    got = list(read_back(sink))
    assert got == items, (
        f"pausing after each chunk and completing again must do no harm; wrote {items!r:.300}, read {got!r:.300}"
    )


def chunk_of(sink: Any, shard: str, sequence: int, items: list[Any]) -> SinkChunk:
    """The chunk that a host would make of some items."""
    return SinkChunk(CONTEXT.run, CONTEXT.stage, shard, sequence, len(items), sink.prepare(items))


def copied(connector: Connector) -> Connector:
    """A connector as it arrives in the worker."""
    import cloudpickle  # as the pipeline travels: also classes of a script or a test

    try:
        copy: Connector = pickle.loads(cloudpickle.dumps(connector))
    except Exception as cause:
        raise AssertionError(
            f"{connector.name} must survive pickling; put what does not into open(): {cause}"
        ) from cause
    return copy


def _position(sink: Any) -> Any:
    position = sink.position()
    assert position is not None, "a staged sink must return a position"
    assert _copy(position) == position, f"the position {position!r:.200} is not the same after pickling"
    return _copy(position)


def _crashed(sink: Any, kept: list[SinkChunk], lost: list[SinkChunk]) -> Any:
    """The position at which a process was that wrote on and was then killed."""
    import cloudpickle

    module = sys.modules[type(sink).__module__]
    own = module.__name__ == "__main__" or module.__name__.startswith("jetbridge.")
    if not own:
        cloudpickle.register_pickle_by_value(module)  # a test's module may have no name that can be imported
    try:
        data = cloudpickle.dumps((sink, CONTEXT, kept, lost))
    finally:
        if not own:
            cloudpickle.unregister_pickle_by_value(module)
    done = subprocess.run(
        [sys.executable, "-c", _CRASH],
        input=pickle.dumps(([path or os.getcwd() for path in sys.path], data)),
        capture_output=True,
        check=False,
    )
    error = done.stderr.decode(errors="replace")[-_SHOWN:]
    assert done.returncode == -signal.SIGKILL, f"open, write, position or committed failed: {error}"
    return pickle.loads(done.stdout)


def _copy(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))
