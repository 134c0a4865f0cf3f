"""The pool: processes that read slices of sources and run the stateless stages below them.

They are forked before the job's first Beam run, so that they hold the plan and
need no import. Only descriptions of slices travel to them; what comes back is
what leaves a fused segment, as bytes. A slice's messages are taken in order,
those of later slices wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from jetbridge.errors import StoreError
from jetbridge.kernels.failure import as_record, from_record
from jetbridge.kernels.segment import Emission

_LOOK = 0.002  # seconds between looks at processes that are ending
MESSAGE_BYTES = 1 << 18
HELD_BYTES = 64 << 20
"""How much of a slice that is not at its turn may wait in the job's process."""

END_SECONDS = 3.0
"""How long processes have for what they are to do at their end."""

Work = Callable[[Any], Generator[Emission, None, Any]]


@dataclass
class Task:
    """A slice on its way through the pool.

    Attributes:
        spec: The description that travels.
        arrived: Emissions that came back and were not taken yet.
        result: What the work returned, once ``done``.
    """

    spec: Any
    process: int = -1
    arrived: deque[Emission] = field(default_factory=deque)
    held: int = 0
    done: bool = False
    result: Any = None
    error: dict[str, str | None] | None = None


class Pool:
    """A fixed number of forked processes.

    Args:
        size: How many.
        work: Given a spec, yields emissions and returns a result; runs in the processes.
        end: Called in each process at its end, for which it then has some seconds.
        besides: Connections of this process that the new ones must not hold.
    """

    def __init__(
        self,
        size: int,
        work: Work,
        end: Callable[[], None] | None = None,
        besides: Sequence[Connection] = (),
    ) -> None:
        self._end = end
        self._besides = besides
        self._connections: list[Connection] = []
        self._pids: list[int] = []
        self._queues: list[deque[Task]] = [deque() for _ in range(size)]
        for _ in range(size):
            self._fork(work)

    def _fork(self, work: Work) -> None:
        here, there = Pipe()
        with contextlib.suppress(OSError, AttributeError):
            # Messages are large: a bigger buffer lets a process run on while this one is busy.
            fcntl.fcntl(there.fileno(), 1031, 1 << 20)
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for connection in [*self._besides, *self._connections, here]:
                    connection.close()
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                _serve(there, work)
                status = 0
            except (EOFError, OSError):
                status = 0  # the job's process has ended
            finally:
                try:
                    if self._end is not None:
                        self._end()
                finally:
                    os._exit(status)
        there.close()
        self._connections.append(here)
        self._pids.append(pid)

    @property
    def size(self) -> int:
        """The number of processes."""
        return len(self._pids)

    @property
    def connections(self) -> list[Connection]:
        """Those of this process."""
        return list(self._connections)

    def idle(self, most: int) -> int | None:
        """One of the first processes that has nothing to do, if there is one."""
        return next((process for process in range(most) if not self._queues[process]), None)

    def submit(self, spec: Any, process: int | None = None, most: int | None = None) -> Task:
        """Send a task to a process, by default to the one with the fewest; ``most`` leaves only the first ones."""
        if process is None:
            process = min(range(most or self.size), key=lambda i: len(self._queues[i]))
        task = Task(spec, process)
        self._queues[process].append(task)
        try:
            self._connections[process].send_bytes(pickle.dumps(spec, protocol=5))
        except OSError as error:
            raise self._died(process) from error
        return task

    def next(self, task: Task) -> Emission | None:
        """The next emission of a task, or None when it is done.

        Raises:
            ItemError: When the work failed.
            StoreError: When a process died.
        """
        while not task.arrived:
            if task.error is not None:
                raise from_record(task.error)
            if task.done:
                return None
            self._pump(task)
        emission = task.arrived.popleft()
        task.held -= len(emission.payload)
        return emission

    def _pump(self, head: Task) -> None:
        ready = [
            connection
            for process, connection in enumerate(self._connections)
            if process == head.process
            or (self._queues[process] and sum(task.held for task in self._queues[process]) < HELD_BYTES)
        ]
        for connection in wait(ready):
            process = self._connections.index(connection)  # type: ignore[arg-type]
            try:
                kind, body, result = pickle.loads(self._connections[process].recv_bytes())
            except (EOFError, OSError) as error:
                raise self._died(process) from error
            task = self._queues[process][0]
            if kind == "error":
                task.error = body
                self._queues[process].popleft()
                continue
            for emission in body:
                task.arrived.append(emission)
                task.held += len(emission.payload)
            if kind == "end":
                task.done, task.result = True, result
                self._queues[process].popleft()

    def _died(self, process: int) -> Exception:
        pid, status = os.waitpid(self._pids[process], 0)
        code = os.waitstatus_to_exitcode(status)
        how = f"killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with status {code}"
        return PoolProcessDied(f"a process of the worker's pool (pid {pid}) was {how}")

    def close(self) -> None:
        """End the processes."""
        for connection in self._connections:
            connection.close()
        if self._end is not None:
            self._await_ends()
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._connections, self._pids, self._queues = [], [], []

    def _await_ends(self) -> None:
        """Wait for processes that end by themselves now that their connections are closed."""
        deadline = time.monotonic() + END_SECONDS
        while self._pids and time.monotonic() < deadline:
            for pid in list(self._pids):
                try:
                    ended, _ = os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    ended = pid
                if ended:
                    self._pids.remove(pid)
            time.sleep(_LOOK)


class PoolProcessDied(StoreError):
    """A process of the pool died: the job's process ends as well, and is started again."""


def _serve(connection: Connection, work: Work) -> None:
    while True:
        spec = pickle.loads(connection.recv_bytes())
        out: list[Emission] = []
        message: tuple[str, Any, Any]
        size = 0
        steps = work(spec)
        try:
            while True:
                try:
                    emission = next(steps)
                except StopIteration as stop:
                    message = ("end", out, stop.value)
                    break
                out.append(emission)
                size += len(emission.payload)
                if size >= MESSAGE_BYTES:
                    connection.send_bytes(pickle.dumps(("out", out, None), protocol=5))
                    out, size = [], 0
        except (EOFError, BrokenPipeError):
            raise
        except BaseException as error:  # also a KeyboardInterrupt that a user's function raises
            message = ("error", as_record(error), None)
        connection.send_bytes(pickle.dumps(message, protocol=5))
