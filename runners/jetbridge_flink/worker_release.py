"""Frees a TaskManager that waits for a worker that has died.

Beam's runner waits up to three minutes for a worker's first data connection,
and does not look whether the worker still lives. So a worker that dies between
its start and its first bundle, which on an idle stream may be long, would hold
its job up for as long. Here the dead worker's data connection is made in its
place and broken off at once: that the runner notices, and Flink restarts the job.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Any, NoReturn

from jetbridge_flink.worker_process import die_with_parent

_SECONDS = 60.0  # within which the runner must have told the worker's stages to its control server
_PAUSE = 0.5
_NUMBERS = 256  # ids of stages that are tried: they follow those of workers, and there is one a subtask


def main(dead: list[tuple[str, str]]) -> NoReturn:
    """Do it for some workers, in a process that was just forked.

    Args:
        dead: Their names and control addresses.
    """
    die_with_parent()
    threads = [threading.Thread(target=_release, args=worker) for worker in dead]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0)


def _release(worker: str, control: str) -> None:
    import grpc
    from apache_beam.portability.api import beam_fn_api_pb2_grpc
    from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor

    def connect(url: str) -> Any:
        return grpc.intercept_channel(grpc.insecure_channel(url), WorkerIdInterceptor(worker))

    deadline = time.monotonic() + _SECONDS
    try:
        stub = beam_fn_api_pb2_grpc.BeamFnControlStub(connect(control))
        while (url := _data_address(stub, worker)) is None:
            if time.monotonic() > deadline:
                return
            time.sleep(_PAUSE)
        channel = connect(url)
        over = threading.Event()
        call = beam_fn_api_pb2_grpc.BeamFnDataStub(channel).Data(_nothing_until(over))
        with contextlib.suppress(
            grpc.RpcError
        ):  # there is no such method; the answer says that the call before it is in
            channel.unary_unary("/jetbridge.Pool/Connected")(b"", timeout=10)
        call.cancel()
        over.set()
    except grpc.RpcError:
        pass  # the environment is closed: nobody waits


def _nothing_until(over: threading.Event) -> Any:
    over.wait()
    yield from ()


def _data_address(control: Any, worker: str) -> str | None:
    """Where a worker was to connect to for data, out of a stage that it would have run; None when there is none yet."""
    import grpc
    from apache_beam.portability.api import beam_fn_api_pb2
    from apache_beam.runners.worker.bundle_processor import DATA_INPUT_URN, DATA_OUTPUT_URN

    factory, _, number = worker.rpartition("-")
    if not number.isdigit():
        return None
    for candidate in range(int(number) + 1, int(number) + 1 + _NUMBERS):
        request = beam_fn_api_pb2.GetProcessBundleDescriptorRequest(
            process_bundle_descriptor_id=f"{factory}-{candidate}"
        )
        try:
            stage = control.GetProcessBundleDescriptor(request, timeout=10)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            continue
        for transform in stage.transforms.values():
            if transform.spec.urn in (DATA_INPUT_URN, DATA_OUTPUT_URN):
                port = beam_fn_api_pb2.RemoteGrpcPort.FromString(transform.spec.payload)
                return str(port.api_service_descriptor.url)
    return None
