"""What the tests of the Flink runner share: one real cluster, hand-written Beam jobs on it, and a runner's Fn API."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

ENDED = ("FINISHED", "CANCELED", "FAILED")


@pytest.fixture(scope="session")
def flink(tmp_path_factory):
    """An embedded cluster of four slots, for all tests of the session."""
    from jetbridge_flink.cluster import Cluster

    with Cluster.lease(tmp_path_factory.mktemp("flink"), slots=4, grace=0) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def rest(flink):
    client = flink.rest()
    yield client
    client.close()


@pytest.fixture
def submit(flink, rest, until):
    """Start a pipeline written with Beam alone; returns Flink's id of the job, which ends with the test."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.transforms import environments
    from google.protobuf import json_format

    from jetbridge_flink import submission
    from jetbridge_flink.jars import ENTRY_CLASS
    from jetbridge_flink.launch import restarts
    from jetbridge_flink.work import JobSpec

    jobs = []

    def start(build, *, about=None, pool=None, parallelism=1, savepoint=None, guarantee="EXACTLY_ONCE"):
        pipeline = beam.Pipeline(options=PipelineOptions(flags=[]))
        build(pipeline | "impulse" >> beam.Impulse())
        environment = environments.ExternalEnvironment(
            pool or flink.worker_pool,
            params={"jetbridge": json.dumps(about or {"path": sys.path})},
            capabilities=environments.python_sdk_capabilities(),
        )
        proto = json_format.MessageToJson(pipeline.to_runner_api(default_environment=environment)).encode()
        spec = JobSpec("", "test", "test", "", "", guarantee, shards=1, unbounded=True)
        options = submission.options(spec, 300, parallelism)
        jar = rest.upload_jar(flink.job_jar(proto, json.dumps(options).encode()))
        jobs.append(secrets.token_hex(16))
        rest.run_jar(
            jar, entry_class=ENTRY_CLASS, job_id=jobs[-1], savepoint=savepoint, configuration=restarts(guarantee)
        )
        rest.delete_jar(jar)
        return jobs[-1]

    yield start
    for job in jobs:
        if rest.job(job) is not None:
            rest.cancel(job)
            until(lambda job=job: rest.job(job).state in ENDED, "the end of the job")


class WorkerPool:
    """A worker pool process.

    Args:
        logs: The folder of its logs.
        options: More of its options.
    """

    def __init__(self, logs, *options):
        command = [sys.executable, "-m", "jetbridge_flink.worker_pool", "--logs", str(logs), *options]
        self.logs = logs
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        self.port = json.loads(line)["port"] if line else None

    def workers(self):
        """The process ids of its workers, by name."""
        return {name: pid for pid, (name, _) in self.living().items()}

    def living(self):
        """The names and control addresses of its workers, by process id."""
        return {int(pid): about for pid, about in json.loads((self.logs / "workers.json").read_text()).items()}

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()


@pytest.fixture
def worker_pool(tmp_path):
    pools = []

    def start(*options, logs="logs"):
        pools.append(WorkerPool(tmp_path / logs, *options))
        return pools[-1]

    yield start
    for pool in pools:
        pool.end()


@pytest.fixture(scope="module")
def shared_pool(tmp_path_factory):
    """A worker pool for all tests of a module that leave it as it was."""
    pool = WorkerPool(tmp_path_factory.mktemp("pool"))
    yield pool
    survived = pool.process.poll() is None
    pool.end()
    assert survived


class FnApi:
    """The side of Beam's Fn API that a TaskManager serves, as far as a worker's life goes.

    Attributes:
        ends: An event for each worker that has connected, set when its control stream ends.
        data: The workers that have made a data connection.
        stages: The ids of the stages that it knows, once it knows some.
    """

    def __init__(self):
        import grpc
        from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2

        self._messages, self._endpoint = beam_fn_api_pb2, endpoints_pb2.ApiServiceDescriptor
        self._stubs, self._grpc = beam_fn_api_pb2_grpc, grpc
        self.ends, self.data, self.stages = {}, [], set()
        self._let_go = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(20))
        beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(self, self._server)
        beam_fn_api_pb2_grpc.add_BeamFnDataServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Control(self, requests, context):
        over = self.ends[dict(context.invocation_metadata())["worker_id"]] = threading.Event()
        context.add_callback(over.set)
        while not (over.is_set() or self._let_go.wait(0.01)):
            pass
        return iter(())

    def GetProcessBundleDescriptor(self, request, context):
        if request.process_bundle_descriptor_id not in self.stages:
            context.abort(self._grpc.StatusCode.NOT_FOUND, "no such stage")
        port = self._messages.RemoteGrpcPort(api_service_descriptor=self._endpoint(url=self.address))
        stage = self._messages.ProcessBundleDescriptor(id=request.process_bundle_descriptor_id)
        stage.transforms["in"].spec.urn = "beam:runner:source:v1"
        stage.transforms["in"].spec.payload = port.SerializeToString()
        return stage

    def Data(self, requests, context):
        self.data.append(dict(context.invocation_metadata())["worker_id"])
        yield from ()
        for _ in requests:
            pass

    def State(self, requests, context):
        return iter(())

    def start_in_background(self, channel, worker="1-1", **params):
        """Ask a pool for a worker, over a channel to it; returns its answer's future."""
        stub = self._stubs.BeamFnExternalWorkerPoolStub(channel)
        endpoint = self._endpoint(url=self.address)
        request = self._messages.StartWorkerRequest(worker_id=worker, control_endpoint=endpoint, params=params)
        return stub.StartWorker.future(request, timeout=60)

    def start(self, channel, worker="1-1", **params):
        """Ask a pool for a worker; returns what it says against that."""
        return self.start_in_background(channel, worker, **params).result().error

    def stop(self, channel, worker="1-1"):
        stub = self._stubs.BeamFnExternalWorkerPoolStub(channel)
        return stub.StopWorker(self._messages.StopWorkerRequest(worker_id=worker), timeout=60).error

    def channel(self, pool):
        """A connection of its own to a pool, as each TaskManager has."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        return self._grpc.insecure_channel(f"127.0.0.1:{pool.port}", options=options)

    def let_go(self):
        """End every control stream, as at the end of a job."""
        self._let_go.set()

    def close(self):
        self._server.stop(0).wait()


@pytest.fixture
def fn_api():
    serving = FnApi()
    yield serving
    serving.close()
