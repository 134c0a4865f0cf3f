"""The REST client: against a real cluster, and against servers that fail in every way."""

from __future__ import annotations

import contextlib
import http.server
import json
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

from jetbridge.errors import ClusterError, ConfigError, ConnectionError
from jetbridge_flink import failures
from jetbridge_flink.input_end import END_OF_TIME
from jetbridge_flink.jars import ENTRY_CLASS
from jetbridge_flink.rest import FlinkRest
from jetbridge_flink.rest_http import RefusedError
from jetbridge_flink.rest_views import Checkpoints, JobView, Outcome

UNKNOWN = "0" * 32


def identity(start):
    import apache_beam as beam

    return start | "same" >> beam.Map(lambda element: element)


# --- a real cluster ---


def test_the_cluster(rest, flink, until):
    overview = rest.overview()
    assert (overview.taskmanagers, overview.slots_total) == (1, flink.slots)
    assert overview.version == rest.version()
    assert overview.version.startswith("1.19.")
    assert rest.options()["web.timeout"] == "10000"
    assert [each.slots for each in rest.taskmanagers()] == [flink.slots]
    assert rest.url == flink.rest_url


def test_a_job_from_its_start_to_a_start_from_its_savepoint(rest, submit, flink, until, tmp_path):
    job = submit(identity)
    view = until(lambda: (seen := rest.job(job)).all_run and seen, "the job's start")
    assert (view.id, view.state, view.over) == (job, "RUNNING", False)
    assert view.restarted == 0 < view.duration_ms
    assert {vertex.parallelism for vertex in view.vertices} == {1}
    assert any("same" in vertex.name for vertex in view.vertices)
    assert rest.jobs()[job] == "RUNNING"
    assert isinstance(rest.accumulators(job), dict)
    assert rest.exceptions(job) == []

    # Impulse has sent its one element: the end of time reaches all that follow.
    ended = until(lambda: (marks := [m for m in rest.watermarks(job) if m]) and marks, "watermarks")
    until(lambda: [m for m in rest.watermarks(job) if m] == [[END_OF_TIME]] * len(ended), "the end of time")

    trigger = rest.trigger_checkpoint(job)
    outcome = until(lambda: (status := rest.checkpoint_status(job, trigger)).done and status)
    assert outcome.failure is None
    checkpoints = rest.checkpoints(job)
    assert checkpoints.completed >= 1
    assert checkpoints.restored is None
    assert Path(checkpoints.latest.path.removeprefix("file:")).is_relative_to(flink.checkpoints)
    figures = checkpoints.figures()
    assert figures["count"] == checkpoints.completed
    assert all(figures[key] is not None for key in ("last_size", "last_duration_ms", "last_time"))

    trigger = rest.savepoint(job, str(tmp_path / "kept"))
    outcome = until(lambda: (status := rest.savepoint_status(job, trigger)).done and status)
    assert (Path(outcome.location.removeprefix("file:")) / "_metadata").is_file()
    until(lambda: (found := rest.checkpoints(job)).savepoint and found.savepoint.path == outcome.location)

    trigger = rest.stop_with_savepoint(job, f"file://{tmp_path}/last")  # a URL, as remote clusters need
    outcome = until(lambda: (status := rest.savepoint_status(job, trigger)).done and status)
    assert (tmp_path / "last").is_dir()
    until(lambda: rest.job(job).state == "FINISHED", "the job's stop")
    rest.cancel(job)  # it has ended: nothing to do

    again = submit(identity, savepoint=outcome.location)
    until(lambda: rest.job(again).all_run, "the job's second start")
    found = until(lambda: (seen := rest.checkpoints(again)) and seen.restored and seen, "what it was restored from")
    assert found.restored_path == outcome.location
    rest.cancel(again)
    until(lambda: rest.job(again).state == "CANCELED", "the end of the job")


def test_a_request_that_starts_something_may_come_twice(rest, submit, until, tmp_path, monkeypatch):
    """The answer to the first may have been lost: nothing must be started a second time."""
    job = submit(identity)
    until(lambda: rest.job(job).all_run, "the job's start")
    monkeypatch.setattr(secrets, "token_hex", lambda size: "ab" * size)
    assert rest.savepoint(job, str(tmp_path)) == rest.savepoint(job, str(tmp_path)) == "ab" * 16
    outcome = until(lambda: (status := rest.savepoint_status(job, "ab" * 16)).done and status)
    assert [entry.name for entry in tmp_path.iterdir()] == [Path(outcome.location).name]


def test_what_the_cluster_does_not_know(rest):
    assert rest.job(UNKNOWN) is None
    assert rest.checkpoints(UNKNOWN) is None
    assert rest.exceptions(UNKNOWN) == []
    assert rest.watermarks(UNKNOWN) == []
    for call in (rest.cancel, rest.accumulators):
        with pytest.raises(RefusedError, match=f"Could not find Flink job .{UNKNOWN}"):
            call(UNKNOWN)
    with pytest.raises(RefusedError, match="There is no savepoint operation with triggerId"):
        rest.savepoint_status(UNKNOWN, UNKNOWN)
    with pytest.raises(RefusedError, match="Cannot resolve path parameter"):
        rest.job("no-id")


def test_a_jar(rest, flink, tmp_path):
    path = tmp_path / "some.jar"
    path.write_bytes(flink.job_jar(b"{}", b"{}"))
    jar = rest.upload_jar(path)
    with pytest.raises(RefusedError) as refusal:
        rest.run_jar(jar, entry_class="no.such.Class")
    assert "no.such.Class" in str(refusal.value)
    assert "\tat " in refusal.value.text
    assert "\n" not in str(refusal.value)
    rest.delete_jar(jar)
    with pytest.raises(RefusedError, match="does not exist"):
        rest.run_jar(jar, entry_class=ENTRY_CLASS)


def test_a_savepoint_that_is_not_there(rest, submit, tmp_path):
    with pytest.raises(RefusedError) as refusal:
        submit(identity, savepoint=str(tmp_path / "nowhere"))
    record = failures.explain([refusal.value.text])
    assert record["type"] == "SavepointMissing"
    assert str(tmp_path / "nowhere") in record["message"]


# --- servers that fail ---


class Server:
    """Answers each request with the next of some answers, and then with the last of them for ever.

    An answer is (status, body), or a function that gets the handler.
    """

    def __init__(self, *answers, tls=None):
        server = self
        self.requests = []
        self._answers = list(answers)

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                server.requests.append((self.command, self.path, dict(self.headers), body))
                answer = server._answers.pop(0) if len(server._answers) > 1 else server._answers[0]
                if callable(answer):
                    answer(self)
                    return
                status, content, *headers = answer
                self.send_response(status)
                for header in headers:
                    self.send_header(*header)
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,)).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve():
    servers = []

    def start(*answers, **options):
        servers.append(Server(*answers, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@contextlib.contextmanager
def client(url, **options):
    rest = FlinkRest(url, **options)
    try:
        yield rest
    finally:
        rest.close()


def hang_up(handler):
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


JOBS = (200, {"jobs": [{"id": "a", "status": "RUNNING"}]})
ELECTING = (503, {"errors": ["Service temporarily unavailable due to an ongoing leader election."]})


@pytest.mark.parametrize("passing", [hang_up, ELECTING, (502, b"<html>a proxy</html>"), (504, b"")])
def test_what_passes_is_waited_out(serve, passing):
    server = serve(passing, passing, JOBS)
    with client(server.url) as rest:
        assert rest.jobs() == {"a": "RUNNING"}
    assert len(server.requests) == 3


def test_what_starts_something_under_its_own_id_is_repeated(serve):
    server = serve(hang_up, (202, {"request-id": "t"}))
    with client(server.url) as rest:
        assert rest.stop_with_savepoint("a", "/folder") == "t"
    first, second = (json.loads(body) for *_, body in server.requests)
    assert first == second
    assert len(first.pop("triggerId")) == 32
    assert first == {"targetDirectory": "file:///folder", "drain": False}


@pytest.mark.parametrize(
    "call",
    [lambda rest: rest.upload_jar(b"jar"), lambda rest: rest.run_jar("a", entry_class="b", parallelism=2)],
    ids=["upload", "run"],
)
def test_what_would_be_done_twice_is_not_repeated(serve, call):
    server = serve(hang_up)
    with client(server.url) as rest, pytest.raises(ConnectionError):
        call(rest)
    assert len(server.requests) == 1


def test_a_refusal_is_not_repeated(serve):
    server = serve(
        (500, {"errors": ["a.b.OuterException: no\n\tat a.b.C(C.java:1)\nCaused by: a.b.Inner: why\n\t... 1 more"]})
    )
    with client(server.url) as rest, pytest.raises(RefusedError) as refusal:
        rest.jobs()
    assert str(refusal.value) == f"the Flink cluster at {server.url} refuses GET /jobs: a.b.Inner: why"
    assert isinstance(refusal.value.__cause__, httpx.HTTPStatusError)
    assert len(server.requests) == 1


def test_nobody_is_there():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with client(url, patience=0.2) as rest, pytest.raises(ConnectionError, match=rf"{url} cannot be reached") as error:
        rest.overview()
    assert isinstance(error.value.__cause__, httpx.ConnectError)


def test_no_answer_in_time(serve):
    over = threading.Event()
    server = serve(lambda handler: over.wait(30))
    with client(server.url, timeout=0.1, patience=0) as rest:
        with pytest.raises(ConnectionError, match=r"does not answer in time \(GET /jobs: ReadTimeout\)"):
            rest.jobs()
        over.set()


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>hello</html>"),
        (200, b'{"half": '),
        (302, b"", ("location", "https://login.example")),
        (404, b"no"),
    ],
    ids=["a page", "half of an answer", "a login", "another service"],
)
def test_something_else_than_flink(serve, answer):
    server = serve(answer)
    with client(server.url) as rest, pytest.raises(ClusterError) as error:
        rest.job("a")
    assert server.url in str(error.value)
    assert error.value.__cause__ is not None
    assert not isinstance(error.value, RefusedError)


def test_headers(serve):
    server = serve((401, b"who are you?"), JOBS)
    with client(server.url + "/", headers={"Authorization": "Bearer token"}) as rest:
        with pytest.raises(ClusterError, match=r"does not let jetbridge in .*401.*headers"):
            rest.jobs()
        assert rest.jobs() == {"a": "RUNNING"}
    assert [headers["Authorization"] for _, _, headers, _ in server.requests] == ["Bearer token"] * 2


@pytest.mark.parametrize("url", ["127.0.0.1:8081", "ftp://host", "http://", "http://host:port"])
def test_addresses_that_are_none(url):
    with pytest.raises(ConfigError, match="the address of the Flink cluster"):
        FlinkRest(url)


@pytest.fixture
def certificate(tmp_path):
    """A certificate that only a client who was given it trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl command to make a certificate with")
    key, pem = tmp_path / "key.pem", tmp_path / "cert.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    about = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *kind, "-keyout", key, "-out", pem, *about]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return key, pem, context


def test_https(serve, certificate, tmp_path):
    _, pem, context = certificate
    server = serve(JOBS, tls=context)
    with client(server.url, ca=str(pem)) as rest:
        assert rest.jobs() == {"a": "RUNNING"}
    with client(server.url) as rest, pytest.raises(ConnectionError, match=r"certificate .* is not trusted"):
        rest.jobs()
    with pytest.raises(ConfigError, match="the file of certificates"):
        FlinkRest(server.url, ca=str(tmp_path / "none.pem"))
    (tmp_path / "other.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="the file of certificates"):
        FlinkRest(server.url, ca=str(tmp_path / "other.pem"))


def test_a_service_that_wants_a_certificate(serve, certificate, tmp_path):
    key, pem, context = certificate
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(pem)
    server = serve(JOBS, tls=context)
    (own := tmp_path / "own.pem").write_bytes(pem.read_bytes() + key.read_bytes())
    with client(server.url, ca=str(pem), certificate=str(own)) as rest:
        assert rest.jobs() == {"a": "RUNNING"}
    with client(server.url, ca=str(pem)) as rest, pytest.raises(ConnectionError, match=r"wants .* \(flink_certif"):
        rest.jobs()
    lock = ["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:word"]
    own.write_bytes(pem.read_bytes() + subprocess.run(lock, capture_output=True, check=True).stdout)
    with pytest.raises(ConfigError, match="the file of certificates"):
        FlinkRest(server.url, certificate=str(own))


def test_proxies_are_not_for_this_machine(serve, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with client(serve(JOBS).url) as rest:
        assert rest.jobs() == {"a": "RUNNING"}


# --- answers ---


def test_a_job_in_parts():
    vertex = {"id": "v", "name": "n", "status": "RUNNING", "parallelism": 2}
    got = {
        "jid": "j",
        "name": "n",
        "state": "RUNNING",
        "duration": 5,
        "vertices": [vertex, {**vertex, "status": "CREATED"}],
    }
    view = JobView.of(got)
    assert not view.all_run
    assert JobView.of({**got, "vertices": [vertex]}).all_run
    assert not JobView.of({**got, "vertices": [vertex], "state": "RESTARTING"}).all_run
    assert [JobView.of({**got, "state": state}).over for state in ("FAILING", "FAILED", "CANCELED")] == [
        False,
        True,
        True,
    ]


def test_checkpoints_that_fail():
    counts = {"restored": 0, "total": 1, "in_progress": 0, "completed": 0, "failed": 1}
    failed = {"failure_message": "Checkpoint expired before completing."}
    none = {"completed": None, "savepoint": None, "restored": None}
    checkpoints = Checkpoints.of({"counts": counts, "latest": {**none, "failed": failed}})
    assert (checkpoints.failed, checkpoints.failure) == (1, "Checkpoint expired before completing.")
    assert checkpoints.figures() == {"count": 0, "last_size": None, "last_duration_ms": None, "last_time": None}


def test_an_operation_that_failed():
    cause = {"class": "a.b.C", "stack-trace": "a.b.C: Not all required tasks are currently running.\n\tat a.b.D"}
    outcome = Outcome.of({"status": {"id": "COMPLETED"}, "operation": {"failure-cause": cause}})
    assert outcome.done
    assert outcome.location is None
    assert "Not all required tasks" in outcome.failure
    assert Outcome.of({"status": {"id": "IN_PROGRESS"}, "operation": None}) == Outcome(False)
