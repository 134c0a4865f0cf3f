"""Running sums on Bytewax 0.21, in one worker, with recovery as its documentation has it.

Recovery partitions are made before the start, the source can be resumed, and
an epoch, after which state is in the recovery store (SQLite), lasts as long
as jetbridge's interval between snapshots. Results stay in memory.
"""

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from live import work

BATCH = 1_000


class _Numbers(StatefulSourcePartition[int, int]):
    def __init__(self, items: int, start: int) -> None:
        self.items, self.at = items, start

    def next_batch(self) -> list[int]:
        if self.at >= self.items:
            raise StopIteration
        batch = list(range(self.at, min(self.at + BATCH, self.items)))
        self.at += len(batch)
        return batch

    def snapshot(self) -> int:
        return self.at


class _Source(FixedPartitionedSource[int, int]):
    def __init__(self, items: int) -> None:
        self.items = items

    def list_parts(self) -> list[str]:
        return ["0"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _Numbers:
        return _Numbers(self.items, resume_state or 0)


class _Collector(StatelessSinkPartition[Any]):
    def __init__(self, seen: work.Seen) -> None:
        self.seen = seen

    def write_batch(self, items: list[Any]) -> None:
        self.seen.take(items)


class _Sink(DynamicSink[Any]):
    def __init__(self, seen: work.Seen) -> None:
        self.seen = seen

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSinkPartition[Any]:
        return _Collector(self.seen)


class Contender:
    """Runs in this process."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._folder = tempfile.TemporaryDirectory(prefix="bytewax-bench-")

    def prepare(self, items: int) -> None:
        """Make the recovery store."""
        self._store = Path(self._folder.name) / f"recovery-{items}"
        self._store.mkdir()
        init_db_dir(self._store, 1)

    def run(self, items: int) -> Callable[[], work.Seen]:
        """Run the dataflow to the end of its input."""
        key, seen = work.key_of(self._spec["keys"]), work.Seen()

        def running(total: int | None, x: int) -> tuple[int, int]:
            total = work.add(total or 0, x)
            return total, total

        flow = Dataflow("sums")
        keyed = op.key_on("key", op.input("in", flow, _Source(items)), lambda x: str(key(x)))
        op.output("out", op.stateful_map("sums", keyed, running), _Sink(seen))
        interval = timedelta(milliseconds=self._spec["interval"])
        cli_main(flow, epoch_interval=interval, recovery_config=RecoveryConfig(self._store))
        return lambda: seen

    def close(self) -> None:
        """Remove the recovery store."""
        self._folder.cleanup()
