"""The worker pool: starts the Python workers of Flink's TaskManagers, by Beam's external worker protocol.

Started as ``python -m jetbridge_flink.worker_pool --port 0 --logs FOLDER``, it
prints one line ``{"port": n}`` when it can be used, and ends, with all its
workers, when its standard input closes or it gets a SIGTERM. With ``--linger`` it
goes on without its owner while it has workers, since jobs in a cluster do.

Beam's own pool starts a Python for each worker, and listens on every interface.
This one has imported Beam once, and forks. So it runs no thread: its gRPC server
is another process (`worker_service`), and when either of them dies, all do.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import logging
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from jetbridge_flink import worker_process, worker_service
from jetbridge_flink.worker_forks import Pool
from jetbridge_flink.worker_lines import Lines

if TYPE_CHECKING:
    from collections.abc import Sequence


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m jetbridge_flink.worker_pool", description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 for a free one")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on. Whoever reaches it can run code as this user: "
        "leave it at loopback, unless the network is private and the TaskManagers are on other machines",
    )
    parser.add_argument("--logs", type=Path, default=None, help="the folder of the workers' logs")
    parser.add_argument("--path", type=json.loads, default=None, help="sys.path as JSON, for what --preload names")
    parser.add_argument("--preload", action="append", default=[], help="a module to import before workers are forked")
    parser.add_argument("--state-cache", type=int, default=200 << 20, help="bytes of state that a worker may cache")
    parser.add_argument("--data-buffer-ms", type=int, default=0, help="how long output may be held back; 0: by size")
    parser.add_argument("--stay", action="store_true", help="go on when the standard input closes")
    parser.add_argument(
        "--linger", type=float, default=0.0, help="go on then as long as there are workers, and for so many seconds"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker pool until its standard input closes; returns the exit code."""
    options = _options(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options.logs = (options.logs or Path(tempfile.mkdtemp(prefix="jetbridge-workers-"))).absolute()
    if options.path is not None:
        sys.path[:] = options.path
    gc.disable()  # importing makes many objects and hardly any garbage
    worker_process.warm()
    for name in options.preload:
        importlib.import_module(name)
    gc.freeze()  # what was imported is never collected, so its pages stay shared with the workers
    gc.enable()
    near, far = socket.socketpair()
    if not os.fork():
        near.close()
        worker_process.die_with_parent()
        worker_service.main(Lines(far), options.host, options.port)
    far.close()
    return Pool(Lines(near), options).run()


if __name__ == "__main__":
    sys.exit(main())
