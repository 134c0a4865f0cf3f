"""Downloads jars by Maven coordinates, through Beam's `JavaJarServer`, in a process of its own.

That one may import Beam, be slow or hang without harm to the client, and what Beam
warns of and leaves open goes with it. Each jar is answered for by a line
``{"jar": coordinates}``, with "error" in it when it could not be had.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from jetbridge.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_AT_ONCE = 8  # the jars are many and small
_SILENCE = 60.0  # seconds after which a server that says nothing is given up
_COMMAND = "import sys; sys.path[:] = {path!r}; from jetbridge.beam.downloads import main; main(*sys.argv[1:])"


def download(coordinates: Sequence[str], folder: Path, what: str) -> None:
    """Download jars into a folder, with a progress bar on a terminal.

    Args:
        coordinates: group:artifact:version of each.
        folder: The folder.
        what: What they are, for the progress bar and for errors ("Beam's runner for Flink").

    Raises:
        ClusterError: When one of them cannot be downloaded.
    """
    with (
        _bar(len(coordinates), what) as advance,
        subprocess.Popen(
            [sys.executable, "-c", _COMMAND.format(path=sys.path), folder, *coordinates],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None and process.stderr is not None  # noqa: PT018 - for the type checker
        try:
            missing = set(coordinates)
            for line in process.stdout:
                answer = json.loads(line)
                if "error" in answer:
                    raise _unreachable(answer["jar"], what, answer["error"])
                missing.discard(answer["jar"])
                advance()
            if missing:
                raise _unreachable(sorted(missing)[0], what, process.stderr.read().strip()[-1000:])
        finally:
            process.kill()


def main(folder: str, *coordinates: str) -> None:
    """In the process: download, and say so."""
    socket.setdefaulttimeout(_SILENCE)
    logging.basicConfig(level=logging.CRITICAL)
    from apache_beam.utils.subprocess_server import JavaJarServer

    def get(jar: str) -> None:
        group, artifact, version = jar.split(":")
        JavaJarServer.local_jar(JavaJarServer.path_to_maven_jar(artifact, group, version), cache_dir=folder)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = {pool.submit(get, jar): jar for jar in coordinates}
        for future in as_completed(futures):
            error = future.exception()
            failed = {} if error is None else {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps({"jar": futures[future], **failed}), flush=True)


def _unreachable(jar: str, what: str, why: str) -> ClusterError:
    return ClusterError(
        f"{jar} cannot be downloaded, which {what} needs once: {why}. "
        "Check the network and its proxy settings, or put the jars into Beam's jar cache by hand"
    )


@contextlib.contextmanager
def _bar(total: int, what: str) -> Iterator[Callable[[], Any]]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
