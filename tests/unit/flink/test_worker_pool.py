"""The worker pool: processes that start fast, serve one TaskManager, and never outlive what they are for."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from jetbridge.jobs.joblog import plain

NUMBERS = itertools.count(1)


@pytest.fixture
def name():
    """A worker's name, as Flink gives them: a TaskManager's jobs and their workers have numbers."""
    return f"{next(NUMBERS)}-1"


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it may end between any two looks at it
        return False


def test_start_and_stop(shared_pool, fn_api, name, until):
    channel = fn_api.channel(shared_pool)
    assert fn_api.start(channel, name) == ""
    assert name in fn_api.ends  # the answer comes after the connection
    pid = shared_pool.workers()[name]
    log = shared_pool.logs / f"worker-{name}.log"
    assert log.exists()
    assert fn_api.stop(channel, name) == ""
    until(lambda: not alive(pid))
    assert fn_api.ends[name].wait(10)
    until(lambda: name not in shared_pool.workers())
    until(lambda: not log.exists(), "the removal of the empty log")


def test_a_worker_starts_in_a_fraction_of_what_an_import_takes(shared_pool, fn_api, name):
    channel = fn_api.channel(shared_pool)
    times = []
    for number in range(5):
        began = time.perf_counter()
        assert fn_api.start(channel, f"{name}{number}") == ""
        times.append(time.perf_counter() - began)
    assert min(times) < 0.5  # about 0.04 on an idle machine; a new Python needs more than a second


def test_only_loopback_is_listened_on(shared_pool, fn_api, name):
    fn_api.start(fn_api.channel(shared_pool), name)
    me = psutil.Process(shared_pool.process.pid)
    listening = {
        (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)  # gRPC's sockets are of IPv6
        for process in (me, *me.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", shared_pool.port)}


def test_workers_end_with_their_control_stream(shared_pool, fn_api, name, until):
    channel = fn_api.channel(shared_pool)
    names = [name, f"{name}0"]
    for each in names:
        assert fn_api.start(channel, each) == ""
    pids = [shared_pool.workers()[each] for each in names]
    fn_api.let_go()
    until(lambda: not any(map(alive, pids)), "the end of the workers", 10)
    until(lambda: not set(names) & shared_pool.workers().keys())


def test_workers_end_when_the_taskmanager_is_gone(shared_pool, fn_api, name, until):
    assert fn_api.start(fn_api.channel(shared_pool), name) == ""
    pid = shared_pool.workers()[name]
    fn_api.close()
    until(lambda: not alive(pid), "the end of the worker", 10)


def test_a_stop_concerns_only_the_workers_of_the_same_taskmanager(shared_pool, fn_api, name, until):
    """Each TaskManager counts from one, so two can have a worker of one name."""
    one, other = fn_api.channel(shared_pool), fn_api.channel(shared_pool)
    assert fn_api.start(one, name) == ""
    first = shared_pool.workers()[name]
    assert fn_api.start(other, name) == ""
    (second,) = {pid for pid, (known, _) in shared_pool.living().items() if known == name} - {first}
    fn_api.stop(one, name)
    until(lambda: not alive(first))
    assert alive(second)
    fn_api.stop(other, name)
    until(lambda: not alive(second))


@pytest.mark.parametrize(
    ("text", "says"), [("{", "JSONDecodeError"), ("[]", "AttributeError"), ('{"log": 3}', "TypeError")]
)
def test_parameters_that_make_no_sense(shared_pool, fn_api, name, text, says):
    """The worker says so; the pool lives on for the others."""
    channel = fn_api.channel(shared_pool)
    error = fn_api.start(channel, name, jetbridge=text)
    assert f"worker {name} ended before it had connected: {says}" in error
    assert fn_api.start(channel, f"{name}0") == ""


def test_a_worker_that_dies_before_it_has_connected(shared_pool, fn_api, name, until):
    """Nobody tells a runner that waits for a worker's connection that it will not come."""
    channel = fn_api.channel(shared_pool)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes the connection and says nothing
        fn_api.address = f"127.0.0.1:{silent.getsockname()[1]}"
        answer = fn_api.start_in_background(channel, name)
        until(lambda: name in shared_pool.workers(), "the start of the worker")
        os.kill(shared_pool.workers()[name], signal.SIGKILL)
        assert "ended before it had connected: was killed by signal 9 (SIGKILL)" in answer.result(30).error


def test_a_death_before_the_first_data_is_told(shared_pool, fn_api, name, until):
    """A runner waits three minutes for the data connection: it is made for the dead, and broken off."""
    channel = fn_api.channel(shared_pool)
    assert fn_api.start(channel, name) == ""
    other = f"{name}0"
    assert fn_api.start(channel, other) == ""
    fn_api.stages.add(name.replace("-1", "-99"))
    fn_api.stop(channel, other)  # nobody misses this one
    until(lambda: other not in shared_pool.workers())
    os.kill(shared_pool.workers()[name], signal.SIGKILL)
    until(lambda: fn_api.data == [name], "the data connection", 30)


def test_all_end_when_the_standard_input_closes(worker_pool, fn_api, until):
    pool = worker_pool()
    fn_api.start(fn_api.channel(pool))
    family = psutil.Process(pool.process.pid).children(recursive=True)
    assert len(family) == 2  # the server and the worker
    pool.process.stdin.close()
    assert pool.process.wait(10) == 0
    until(lambda: not any(alive(member.pid) for member in family), "the end of its processes", 10)


def test_a_pool_lingers_without_its_owner_as_long_as_it_has_workers(worker_pool, fn_api, name, until):
    pool = worker_pool("--linger", "0.5")
    channel = fn_api.channel(pool)
    fn_api.start(channel, name)
    pool.process.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        pool.process.wait(3)
    assert fn_api.start(channel, f"{name}0") == "", "and it starts others"
    fn_api.stop(channel, name)
    fn_api.stop(channel, f"{name}0")
    assert pool.process.wait(20) == 0


def test_it_ends_with_its_server(worker_pool, fn_api, until):
    """Whoever keeps the pool starts it again."""
    pool = worker_pool()
    fn_api.start(fn_api.channel(pool))
    worker = pool.workers()["1-1"]
    server = next(child for child in psutil.Process(pool.process.pid).children() if child.pid != worker)
    server.kill()
    assert pool.process.wait(10) == 1
    assert "server process died" in pool.process.stderr.read()
    until(lambda: not alive(worker))


def test_a_pool_that_was_killed_comes_back_on_its_port(worker_pool, fn_api, until):
    pool = worker_pool()
    assert fn_api.start(fn_api.channel(pool), "7-1") == ""
    family = psutil.Process(pool.process.pid).children(recursive=True)
    fn_api.stages.add("7-9")
    pool.process.kill()
    pool.process.wait()
    until(lambda: not any(alive(member.pid) for member in family), "the end of its processes", 10)
    again = worker_pool("--port", str(pool.port))
    assert again.port == pool.port
    until(lambda: fn_api.data == ["7-1"], "the data connection that the dead worker did not make", 30)
    assert fn_api.start(fn_api.channel(again), "8-1") == ""


def test_a_port_that_is_taken(shared_pool, worker_pool):
    """By another pool: it must not share the port with it, and get half of the requests."""
    pool = worker_pool("--port", str(shared_pool.port))
    assert pool.port is None
    assert pool.process.wait(30) == 1
    assert "cannot serve" in pool.process.stderr.read()


def test_what_a_job_tells_its_workers(submit, tmp_path, until):
    """They look like the client: its modules, folder and arguments; what they print goes to the job's log."""
    import apache_beam as beam

    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "only_the_client_has_it.py").write_text("NAME = 'found'")

    def tell(_):
        import json
        import logging
        import os
        import sys

        from only_the_client_has_it import NAME

        print(json.dumps([NAME, os.getcwd(), sys.argv, os.environ["TOLD"], hasattr(sys.modules["__main__"], "main")]))
        logging.getLogger("quiet").warning("not shown")
        logging.getLogger("loud").debug("of the job")

    log = tmp_path / "job.log"
    about = {
        "path": [str(tmp_path / "lib"), *sys.path],
        "cwd": str(tmp_path),
        "argv": ["a", "b"],
        "environ": {"TOLD": "yes"},
        "levels": {"loud": 10, "quiet": 40},
        "log": str(log),
    }
    submit(lambda start: start | "tell" >> beam.Map(tell), about=about)
    until(lambda: log.exists() and "of the job" in log.read_text(), "the words of the job")
    printed, logged = plain(log.read_bytes()).decode().splitlines()
    assert json.loads(printed) == ["found", str(tmp_path), ["a", "b"], "yes", False]
    assert logged.endswith("DEBUG loud: of the job")


def test_state_is_exact_after_kills(submit, flink, rest, tmp_path, until):
    """Flink gets new workers, also when old ones died before their first data, and when the pool is another one."""
    out = tmp_path / "counts"
    job = submit(lambda start: counting(start, str(out)), parallelism=2)

    def counted():
        return max((json.loads(line)[1] for line in out.read_text().splitlines()), default=0) if out.exists() else 0

    def workers():
        with contextlib.suppress(OSError, ValueError):
            return {int(pid) for pid in json.loads((flink.logs / "workers.json").read_text())}
        return set()

    def kill(pids):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # Flink had just let it go
                os.kill(pid, signal.SIGKILL)

    def goes_on():
        before = counted()
        until(lambda: counted() > before + 20, "more counts", 60)

    goes_on()
    old = workers()
    kill(old)
    kill(until(lambda: workers() - old, "new workers"))  # right at their start
    goes_on()
    pool = flink.pids["worker_pool"]
    os.kill(pool, signal.SIGKILL)
    until(lambda: flink.pids.get("worker_pool") not in (None, pool), "another pool")
    goes_on()
    rest.cancel(job)
    until(lambda: not workers(), "the end of the workers")
    seen = [json.loads(line) for line in out.read_text().splitlines()]
    for key in {key for key, _ in seen}:
        counts = [count for each, count in seen if each == key]
        assert set(counts) == set(range(1, max(counts) + 1))  # none is left out
        for before, after in itertools.pairwise(counts):
            assert after == before + 1 or after <= before  # as after a restart, which writes to a file again
    assert len(rest.exceptions(job)) >= 2


def counting(start, out):
    """A stream of numbers for ever; the count of each of two keys, out of Beam's state, goes to a file."""
    import apache_beam as beam
    from apache_beam import coders
    from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
    from apache_beam.transforms.core import RestrictionProvider
    from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
    from apache_beam.utils.timestamp import Duration

    class Forever(RestrictionProvider):
        def initial_restriction(self, element):
            return OffsetRange(0, 2**62)

        def create_tracker(self, restriction):
            return OffsetRestrictionTracker(restriction)

        def restriction_size(self, element, restriction):
            return 1

        def truncate(self, element, restriction):
            return None

    class Numbers(beam.DoFn):
        @beam.DoFn.unbounded_per_element()
        def process(self, element, tracker=beam.DoFn.RestrictionParam(Forever())):  # noqa: B008 - Beam's way
            number = tracker.current_restriction().start
            if tracker.try_claim(number):
                yield number % 2, number
                tracker.defer_remainder(Duration.of(0.02))

    class Count(beam.DoFn):
        STATE = ReadModifyWriteStateSpec("count", coders.VarIntCoder())

        def process(self, pair, state=beam.DoFn.StateParam(STATE)):  # noqa: B008
            import json

            count = (state.read() or 0) + 1
            state.write(count)
            with open(out, "a") as file:
                file.write(json.dumps([pair[0], count]) + "\n")

    numbers = start | "numbers" >> beam.ParDo(Numbers()).with_output_types(tuple[int, int])
    return numbers | "count" >> beam.ParDo(Count())
