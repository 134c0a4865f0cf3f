"""The worker pool's gRPC server: a process of its own, forked from the pool.

The pool forks workers, so it must hold no gRPC object and run no thread; this
process holds them instead and hands each request on::

    service → pool   {"type": "listening", "port": n}, or {"type": "broken", "message": text} and the end
                     {"type": "start", "id": n, "worker": id, "control": url, "peer": address, "params": {…}}
                     {"type": "stop", "worker": id, "peer": address}
    pool → service   {"id": n, "error": text, empty when the worker has connected}
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from jetbridge_flink.worker_lines import Lines

_THREADS = 64  # each start that is under way holds one
_BIND_SECONDS = 5.0  # a pool that was killed leaves its port a moment later


def main(lines: Lines, host: str, port: int) -> NoReturn:
    """Serve until the pool ends.

    Args:
        lines: The connection to the pool.
        host: The address to listen on.
        port: The port; 0 for a free one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C comes to the pool as well
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    try:
        service = _serve(lines, host, port)
        while (messages := lines.receive()) is not None:
            for message in messages:
                service.answer(message)
    except BaseException:
        lines.send({"type": "broken", "message": traceback.format_exc(limit=-1)})
        os._exit(1)
    os._exit(0)


class _Service:
    def __init__(self, lines: Lines, messages: Any) -> None:
        self._lines = lines
        self._messages = messages
        self.server: Any = None  # it stops when nothing refers to it
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[str]] = {}

    def StartWorker(self, request: Any, context: Any) -> Any:
        """Start a worker, and wait until it has connected: the caller waits for ever for one that never does."""
        future: Future[str] = Future()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = future
        self._lines.send(
            {
                "type": "start",
                "id": number,
                "worker": request.worker_id,
                "control": request.control_endpoint.url,
                "peer": context.peer(),
                "params": dict(request.params),
            }
        )
        return self._messages.StartWorkerResponse(error=future.result())

    def StopWorker(self, request: Any, context: Any) -> Any:
        """Have a worker stopped; does not wait for it."""
        self._lines.send({"type": "stop", "worker": request.worker_id, "peer": context.peer()})
        return self._messages.StopWorkerResponse()

    def answer(self, message: dict[str, Any]) -> None:
        with self._lock:
            future = self._waiting.pop(message["id"])
        future.set_result(message["error"])


def _serve(lines: Lines, host: str, port: int) -> _Service:
    import grpc
    from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

    service = _Service(lines, beam_fn_api_pb2)
    deadline = time.monotonic() + (_BIND_SECONDS if port else 0)
    while True:
        server = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="worker-service"),
            # Without the last one a second pool would get half of the requests, instead of an error.
            options=[
                ("grpc.http2.max_pings_without_data", 0),
                ("grpc.http2.max_ping_strikes", 0),
                ("grpc.so_reuseport", 0),
            ],
        )
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(service, server)
        try:
            bound = server.add_insecure_port(f"{host}:{port}")
            break
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    server.start()
    service.server = server
    lines.send({"type": "listening", "port": bound})
    return service
