"""A Python worker that a TaskManager starts itself: what the setting ``flink_worker_command`` runs.

Installed as the command ``jetbridge-flink-worker``, which takes what Beam's runner
gives to the program of a PROCESS environment: ``--id`` and ``--provision_endpoint``.
It serves one job, and ends with it or with the TaskManager.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

from jetbridge_flink import worker_process

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "_JETBRIDGE_WORKER"
"""The environment variable with what the job tells its workers, as the parameter of a worker pool's workers."""

STATE_CACHE = 200 << 20
_LINGER = 3.0  # seconds that user code may still run after the runner has let go of the worker
_LOOK = 0.5
_ASK_SECONDS = 60.0
_LOGGER = logging.getLogger("jetbridge.flink")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Serve a TaskManager until it lets go."""
    parser = argparse.ArgumentParser(prog="jetbridge-flink-worker", description=__doc__.split("\n")[0])
    parser.add_argument("--id", required=True, help="the worker's id")
    parser.add_argument("--provision_endpoint", required=True, help="where it is told the rest, as host:port")
    options, _ = parser.parse_known_args(arguments)
    parent = os.getppid()
    with contextlib.suppress(OSError):
        os.setsid()  # what it starts can then be ended with it, and nothing else
    job = json.loads(os.environ.pop(VARIABLE, "{}"))
    log = job.get("log") or ""
    if not os.path.isdir(os.path.dirname(log)):  # the client's data folder is not here
        log = os.path.join(tempfile.mkdtemp(prefix="jetbridge-worker-"), "worker.log")
    worker_process.redirect(None, log)
    code = 1
    try:
        worker_process.warm()
        worker_process.take_over(job)
        worker_process.tame(sys.stderr)
        worker_process.close_work_when_told()
        _serve(options.id, _control(options.id, options.provision_endpoint), parent)
        code = 0
    except BaseException:
        _LOGGER.exception("worker %s ends", options.id)
    finally:
        with contextlib.suppress(BaseException):
            worker_process.close_work()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _control(worker: str, endpoint: str) -> str:
    """The address of the runner's control service."""
    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
    from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor

    with grpc.insecure_channel(endpoint) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(
            grpc.intercept_channel(channel, WorkerIdInterceptor(worker))
        )
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        told = stub.GetProvisionInfo(request, timeout=_ASK_SECONDS, wait_for_ready=True)
    return str(told.info.control_endpoint.url)


def _serve(worker: str, control: str, parent: int) -> None:
    import grpc
    from apache_beam.runners.worker.sdk_worker import SdkHarness

    harness = SdkHarness(control, worker_id=worker, state_cache_size=STATE_CACHE, data_buffer_time_limit_ms=0)
    threading.Thread(target=_watch, args=(harness, parent), name="jetbridge-watch", daemon=True).start()
    try:
        harness.run()
    except grpc.RpcError as error:  # the TaskManager died, or its job has ended
        _LOGGER.debug("the control connection of worker %s broke: %s", worker, error)


def _watch(harness: Any, parent: int) -> None:
    """End the process when the TaskManager has died, or when user code goes on for long after it has let go."""
    let_go: float | None = None
    while os.getppid() == parent:
        time.sleep(_LOOK)
        if not harness._alive:
            let_go = let_go or time.monotonic()
            if time.monotonic() - let_go > _LINGER:
                _LOGGER.warning("a user's function still ran %g s after its job had let go; it is ended", _LINGER)
                break
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
