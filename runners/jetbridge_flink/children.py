"""The keeper's child processes: started, started again when they die, and ended with the keeper."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import IO, TYPE_CHECKING

from jetbridge.jobs.ownership import started
from jetbridge.processes import dying_with, fate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_STEADY = 30.0  # seconds that a process must live for its death to count as the first one again
_TAIL = 16 << 10
_FRAMES = ("\tat ", "\t... ")


class Child:
    """A process that is to run as long as the keeper does.

    Args:
        name: What it is called.
        command: Its command.
        logs: Where its output goes, to ``<name>.out``; it is started there.
        environment: Its environment.
        speaks: Whether its standard output is read here instead.

    Attributes:
        command: Its command, at the next start.
        identity: Its process id and what tells it from others of that id, while it runs.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        logs: Path,
        environment: Mapping[str, str],
        *,
        speaks: bool = False,
    ) -> None:
        self.name = name
        self.command = command
        self._logs = logs
        self._environment = dict(environment)
        self._speaks = speaks
        self.process: subprocess.Popen[bytes] | None = None
        self.identity: dict[str, object] | None = None
        self._pause = _FIRST_PAUSE
        self._since = 0.0
        self._next: float | None = 0.0
        self._marks: dict[Path, int] = {}

    @property
    def out(self) -> Path:
        """The file with what it prints."""
        return self._logs / f"{self.name}.out"

    def start(self) -> None:
        """Start it.

        Raises:
            OSError: When the system refuses; the next start is then due after a pause.
        """
        self._marks = {path: path.stat().st_size for path in self._files() if path.exists()}
        self._since, self._next = time.monotonic(), None
        try:
            with self.out.open("ab") as out:
                self.process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,  # closes with the keeper, however that ends
                    stdout=subprocess.PIPE if self._speaks else out,
                    stderr=out,
                    cwd=self._logs,
                    env=self._environment,
                    preexec_fn=dying_with(os.getpid()),
                )
        except OSError:
            self._later()
            raise
        self.identity = {"pid": self.process.pid, "started": started(self.process.pid)}

    @property
    def output(self) -> list[IO[bytes]]:
        """Its standard output, if that is read here: one pipe or none."""
        pipe = None if self.process is None else self.process.stdout
        return [] if pipe is None else [pipe]

    def read(self) -> bytes:
        """What it has printed; does not wait where `output` is readable."""
        [pipe] = self.output
        data = os.read(pipe.fileno(), 4096)
        if not data:  # it has closed it, and will not speak again
            pipe.close()
            self.process.stdout = None  # type: ignore[union-attr]
        return data

    def buried(self) -> str | None:
        """How it ended, once after each end; the next start is then due after a pause."""
        if self.process is None or self.process.poll() is None:
            return None
        self._later()
        code = self.process.returncode
        self._close()
        self.process = self.identity = None
        return fate(code)

    def due(self) -> float | None:
        """In how many seconds it must be started; None when it runs."""
        return None if self._next is None else self._next - time.monotonic()

    def said(self, lines: int = 15) -> str:
        """The last that it printed or logged since its start, without Java's stack frames."""
        texts = []
        for path in self._files():
            with contextlib.suppress(OSError), path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                begin = self._marks.get(path, 0)
                file.seek(max(begin if begin <= size else 0, size - _TAIL))  # a smaller file is a new one
                texts.append(file.read().decode(errors="replace").strip())
        told = [[line for line in text.splitlines() if not line.startswith(_FRAMES)] for text in texts]
        return "\n".join(line for each in told for line in each[-lines:])

    def kill(self) -> None:
        """Kill it; does not wait."""
        if self.process is not None:
            self.process.kill()

    def end(self, timeout: float) -> None:
        """Let it end by closing its standard input; kill it when it has not done so in time."""
        if self.process is None:
            return
        self._close()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = self.identity = None

    def _later(self) -> None:
        now = time.monotonic()
        if now - self._since > _STEADY:
            self._pause = _FIRST_PAUSE
        self._next = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _files(self) -> list[Path]:
        return [self._logs / f"{self.name}.log", self.out]

    def _close(self) -> None:
        assert self.process is not None
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
