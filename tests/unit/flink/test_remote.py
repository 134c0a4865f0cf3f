"""A cluster that somebody else has started: what is refused before a job is sent, against servers that answer as Flink
does; and the workers that come from a pool of the client's own, or from its TaskManagers."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

import jetbridge
from jetbridge import Pipeline
from jetbridge.errors import ClusterError, ConfigError, ConnectionError, DataFolderError, UnsupportedByRunnerError
from jetbridge.store.database import Database
from jetbridge_flink import failures, jars, lib, remote, server_jar, worker_boot
from jetbridge_flink.own_pool import OwnPool
from jetbridge_flink.work import JobSpec, work

ELSEWHERE = "http://203.0.113.7:8081"  # RFC 5737: an address that nobody has
OVERVIEW = {
    "taskmanagers": 2,
    "slots-total": 4,
    "slots-available": 4,
    "flink-version": "1.19.3",
    "jobs-running": 0,
}
FLINK = {
    "/config": (200, {"flink-version": "1.19.3"}),
    "/overview": (200, OVERVIEW),
    "/jars": (200, {"files": []}),
    "/jobmanager/environment": (200, {"classpath": ["/opt/flink/lib/flink-dist-1.19.3.jar"]}),
    "/savepoint-disposal": (202, {"request-id": "t"}),
    "/savepoint-disposal/t": (200, {"status": {"id": "COMPLETED"}, "operation": {}}),
}


class Server:
    """Answers each path as it is told; the other paths are not found."""

    def __init__(self, answers, token=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                if token is not None and self.headers.get("authorization") != token:
                    status, content = 401, {}
                else:
                    status, content = answers.get(self.path, (404, {"errors": ["Not found."]}))
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,)).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve():
    servers = []

    def start(answers=None, **options):
        servers.append(Server({**FLINK, **(answers or {})}, **options))
        return servers[-1].url

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def pool():
    """The address of something that listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def refused(tmp_path, pool, monkeypatch):
    """Submit a job; gives the error, and makes sure that there is no job then."""
    monkeypatch.setattr(remote, "_ROOM_SECONDS", 0.2)

    def refused(url, **settings):
        settings = {"flink_worker_pool": pool, **settings}
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("numbers", [1])).write_to(Pipeline.to_list("results"))
        with jetbridge.connect(runner="flink", home=tmp_path / "data", flink_url=url, **settings) as client:
            with pytest.raises(jetbridge.JetbridgeError) as caught:
                client.get_jet().submit(pipeline)
            assert client.get_jet().get_jobs() == []
        return caught.value

    return refused


def expect(error, kind, *parts):
    assert type(error) is kind, error
    assert [part for part in parts if part not in str(error)] == [], str(error)


def test_nobody_is_there(refused):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    expect(refused(url), ConnectionError, "the Flink cluster at", url, "cannot be reached")


def test_something_else_is_there(refused, serve):
    url = serve({"/config": (200, ["not Flink"])})
    expect(refused(url), ClusterError, url, "does not answer as Flink does")


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer wrong"}], ids=["none", "wrong"])
def test_a_password_is_wanted(refused, serve, given):
    error = refused(serve(token="Bearer right"), flink_headers=given)
    expect(error, ClusterError, "does not let jetbridge in", "401", "flink_headers")
    assert "wrong" not in str(error)


def test_the_right_password_lets_in(refused, serve):
    url = serve({"/overview": (200, {**OVERVIEW, "slots-available": 0})}, token="Bearer right")
    expect(refused(url, flink_headers={"Authorization": "Bearer right"}), ClusterError, "0 of its 4 slots free")


@pytest.mark.parametrize("version", ["1.18.1", "1.20.0", "2.0.0"])
def test_a_version_that_does_not_fit_the_jars(refused, serve, version):
    url, minor = serve({"/config": (200, {"flink-version": version})}), version.rpartition(".")[0]
    expect(refused(url), ClusterError, url, version, "1.19", f"job-server jar for Flink {minor} (flink_jars=")


def test_another_version_with_a_jar_of_the_users_own(refused, serve, tmp_path):
    url = serve({"/config": (200, {"flink-version": "1.18.1"}), "/overview": (200, {**OVERVIEW, "slots-available": 0})})
    right = tmp_path / "beam-runners-flink-1.18-job-server-2.70.0.jar"
    with zipfile.ZipFile(right, "w") as jar:
        jar.writestr("org/apache/beam/runners/flink/FlinkPipelineRunner.class", b"")
    expect(refused(url, flink_jars=right), ClusterError, "0 of its 4 slots free")
    other = right.rename(tmp_path / "beam-runners-flink-1.17-job-server-2.70.0.jar")
    expect(refused(url, flink_jars=other), ClusterError, "1.18.1", other.name, "made for Flink 1.17")
    with zipfile.ZipFile(other, "w") as jar:
        jar.writestr("something.class", b"")
    for no_jar in (other, __file__):
        expect(refused(url, flink_jars=no_jar), ClusterError, str(no_jar), "is not a job-server jar")


def test_a_jar_of_the_users_own_gets_the_pipeline(tmp_path):
    path = tmp_path / "server.jar"
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("a.class", b"code")
    made = tmp_path / "made.jar"
    made.write_bytes(server_jar.job_jar(path, b"proto", b"options"))
    with zipfile.ZipFile(made) as jar:
        assert jar.testzip() is None
        assert jar.read("a.class") == b"code"
        assert jar.read("BEAM-PIPELINE/pipeline/pipeline.json") == b"proto"
        assert jar.read("BEAM-PIPELINE/pipeline/pipeline-options.json") == b"options"
    assert server_jar.made_for(path) is None


def test_a_cluster_that_takes_no_jobs(refused, serve):
    url = serve({"/jars": (404, {"errors": ["Not found: /jars"]})})
    expect(refused(url), ClusterError, url, "web.submit.enable")


def test_no_taskmanager(refused, serve):
    url = serve({"/overview": (200, {**OVERVIEW, "taskmanagers": 0, "slots-total": 0, "slots-available": 0})})
    expect(refused(url), ClusterError, url, "no TaskManager", "waited 0.2 s", "start one")


def test_too_few_slots(refused, serve):
    url = serve({"/overview": (200, {**OVERVIEW, "slots-available": 2, "jobs-running": 1})})
    parts = "needs 3 slots", "2 of its 4 slots free (2 TaskManagers, 1 jobs)", "waited 0.2 s", "parallelism"
    expect(refused(url, parallelism=3), ClusterError, *parts)


def test_no_worker_pool(refused, serve):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = refused(serve(), flink_worker_pool=f"localhost:{port}")
    expect(error, ClusterError, f"localhost:{port}", "python -m jetbridge_flink.worker_pool --stay", f"--port {port}")


def test_a_folder_of_checkpoints_that_this_machine_cannot_write(refused, serve, tmp_path):
    (tmp_path / "file").write_text("")
    error = refused(serve(), flink_checkpoints=tmp_path / "file" / "folder")
    expect(
        error, ClusterError, str(tmp_path / "file" / "folder"), "cannot be used on this machine", "flink_checkpoints"
    )


@pytest.mark.parametrize(
    ("failure", "parts"),
    [
        ("a.RestException: no\nCaused by: java.io.FileNotFoundException: Cannot find meta data", ["does not see"]),
        ("a.RestException: no\nCaused by: b.AccessDenied: not yours", ["cannot read and write", "b.AccessDenied: not"]),
    ],
    ids=["unseen", "denied"],
)
def test_a_folder_of_checkpoints_that_the_cluster_cannot_use(refused, serve, tmp_path, failure, parts):
    operation = {"failure-cause": {"class": "a.RestException", "stack-trace": failure}}
    url = serve({"/savepoint-disposal/t": (200, {"status": {"id": "COMPLETED"}, "operation": operation})})
    expect(refused(url, flink_checkpoints=tmp_path / "shared"), ClusterError, str(tmp_path / "shared"), *parts)
    assert list((tmp_path / "shared" / "savepoints").iterdir()) == []


def test_the_runner_for_a_clusters_class_path(tmp_path, capsys):
    assert lib.main([str(tmp_path)]) == 0
    assert str(tmp_path) in capsys.readouterr().out
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[0].startswith("a-jetbridge-changes-")  # before the class whose place it takes
    assert jars.all_among(f"/opt/flink/lib/{name}" for name in names)
    assert not jars.all_among(names[:-1])
    assert lib.main([str(tmp_path / "nowhere")]) == 1
    assert f"cannot be copied to {tmp_path / 'nowhere'}" in capsys.readouterr().err


# --- another machine ---


def test_another_machine_needs_to_know_where_workers_come_from(tmp_path):
    with pytest.raises(ConfigError, match=r"203.0.113.7:8081 find Python workers.*flink_worker_pool.*worker_command"):
        jetbridge.connect(runner="flink", home=tmp_path / "data", flink_url=ELSEWHERE)


@pytest.mark.parametrize("end", ["to_list", "to_map", "ListSource", "StreamSource", "map_using_map"])
def test_another_machine_cannot_use_the_data_folder(tmp_path, end):
    pipeline = Pipeline.create()
    sources = {"ListSource": jetbridge.ListSource, "StreamSource": jetbridge.StreamSource}
    source = sources[end]("stored") if end in sources else Pipeline.from_list("numbers", [1])
    sink = getattr(Pipeline, end)("stored") if end.startswith("to_") else Pipeline.to_logger()
    stage = pipeline.read_from(source).map(lambda x: (x, x))
    if end == "map_using_map":
        stage = stage.map_using_map("numbers", lambda pair: pair[0], lambda pair, value: pair).set_name("stored")
    stage.write_to(sink)
    settings = {"flink_url": ELSEWHERE, "flink_worker_pool": "localhost:50000"}
    message = r"'stored' is a .* which serves one machine, and .*203.0"
    with (
        jetbridge.connect(runner="flink", home=tmp_path / "data", **settings) as client,
        pytest.raises(UnsupportedByRunnerError, match=message),
    ):
        client.get_jet().submit(pipeline)


def spec(home):
    return JobSpec(
        home=str(home), job_id="a-job", job_name="a", run="r", start="s", guarantee="NONE", shards=1, unbounded=False
    )


def test_a_worker_that_does_not_see_the_data_folder(tmp_path):
    with pytest.raises(DataFolderError, match=rf"worker on .* finds no data folder at {tmp_path}/data: .*one machine"):
        work(spec(tmp_path / "data"))
    assert not (tmp_path / "data").exists()
    Database.open(tmp_path / "data").close()
    with pytest.raises(DataFolderError, match=r"finds another data folder at .*, without job a-job: .*one machine"):
        work(spec(tmp_path / "data"))


# --- workers ---


def test_a_clients_own_pool_is_started_again_at_its_port_and_ends_with_it(tmp_path, until, gone, caplog):
    pool = OwnPool(tmp_path / "logs")
    try:
        assert pool.pid is None
        address, first = pool.address, pool.pid
        host, port = address.split(":")
        os.kill(first, signal.SIGKILL)
        second = until(lambda: pool.pid not in (None, first) and pool.pid, "another pool")
        assert pool.address == address
        socket.create_connection((host, int(port)), 5).close()
        assert "killed by signal" in caplog.text or "SIGKILL" in caplog.text
    finally:
        pool.close()
    pool.close()
    gone(second)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, int(port)), 5)


def test_a_pool_that_cannot_be_started(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    pool = OwnPool(tmp_path / "logs")
    with pytest.raises(ClusterError, match=r"could not be started: (?s:.*)No module named 'jetbridge_flink'"):
        _ = pool.address
    pool.close()


class Provision:
    """The service that tells a worker where it is wanted."""

    def __init__(self, control):
        import grpc
        from apache_beam.portability.api import (
            beam_provision_api_pb2,
            beam_provision_api_pb2_grpc,
            endpoints_pb2,
        )

        info = beam_provision_api_pb2.ProvisionInfo(control_endpoint=endpoints_pb2.ApiServiceDescriptor(url=control))
        self._answer = beam_provision_api_pb2.GetProvisionInfoResponse(info=info)
        self.asked = []
        self._server = grpc.server(ThreadPoolExecutor(2))
        beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def GetProvisionInfo(self, request, context):
        self.asked.append(dict(context.invocation_metadata())["worker_id"])
        return self._answer

    def close(self):
        self._server.stop(0).wait()


@pytest.fixture
def provision(fn_api):
    service = Provision(fn_api.address)
    yield service
    service.close()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            'Caused by: java.io.IOException: Cannot run program "/x/worker": error=2, No such file or directory\n',
            ["/x/worker (No such file or directory)", "flink_worker_command"],
        ),
        (
            "Caused by: java.lang.IllegalStateException: Process died with exit code 3\n"
            "\tat org.apache.beam.runners.fnexecution.environment.ProcessEnvironmentFactory.createEnvironment(P:1)",
            ["exit code 3", "--help"],
        ),
    ],
    ids=["nowhere", "ends"],
)
def test_a_program_of_workers_that_cannot_run_is_explained(text, parts):
    record = failures.explain([text])
    assert record["type"] == "WorkerNotStarted"
    assert [part for part in parts if part not in record["message"]] == []


def boot(provision, about):
    command = [sys.executable, "-m", "jetbridge_flink.worker_boot", "--id=1-7", "--semi_persist_dir=/x"]
    command.append(f"--provision_endpoint={provision.address}")
    environment = {**os.environ, worker_boot.VARIABLE: json.dumps(about)}
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)


def test_a_worker_of_a_taskmanager_serves_until_that_lets_go(provision, fn_api, until, tmp_path):
    process = boot(provision, {"log": str(tmp_path / "job.log"), "levels": {"": 10}})
    try:
        until(lambda: "1-7" in fn_api.ends, "the worker")
        assert provision.asked == ["1-7"]
        fn_api.let_go()
        assert process.wait(60) == 0
        assert (tmp_path / "job.log").exists()
    finally:
        process.kill()
        process.wait()


def test_a_worker_of_a_taskmanager_ends_with_it(provision, fn_api, until, gone, tmp_path):
    (tmp_path / "parent.py").write_text(
        "import subprocess, sys\nchild = subprocess.Popen(sys.argv[1:])\nprint(child.pid, flush=True)\nchild.wait()"
    )
    command = [sys.executable, str(tmp_path / "parent.py"), sys.executable, "-m", "jetbridge_flink.worker_boot"]
    command += ["--id=1-7", f"--provision_endpoint={provision.address}"]
    environment = {**os.environ, worker_boot.VARIABLE: json.dumps({"log": str(tmp_path / "job.log")})}
    parent = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    try:
        until(lambda: "1-7" in fn_api.ends, "the worker")
    finally:
        parent.kill()
        parent.communicate()
    gone(worker)
    assert fn_api.ends["1-7"].wait(60)
