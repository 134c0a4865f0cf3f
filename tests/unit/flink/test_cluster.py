"""The embedded cluster as its clients see it: joined, shared, ended with the last of them, replaced when it dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from jetbridge.errors import ClusterError
from jetbridge_flink.cluster import Cluster
from jetbridge_flink.layout import Layout

JAVA = ("jobmanager", "taskmanager")
CLIENT = """
import json, os, sys
from pathlib import Path
from jetbridge_flink.cluster import Cluster

sys.stdin.readline()
cluster = Cluster.lease(Path(sys.argv[1]), slots=2, grace=1.5)
child = os.fork()  # a process of the user's own, which has no part in the lease
if not child:
    sys.stdin.read()
    os._exit(0)
shared = {"pids": cluster.pids, "rest": cluster.rest_url, "pool": cluster.worker_pool}
print(json.dumps([shared, child]), flush=True)
os.waitpid(child, 0)
"""


class Client:
    """A process that leases the cluster, and forks one that does not."""

    def __init__(self, home):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def leased(self):
        return json.loads(self.process.stdout.readline())

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.kill()
        self.process.communicate()


@pytest.fixture
def client(tmp_path):
    clients = []

    def start(home=None):
        clients.append(Client(home or tmp_path))
        return clients[-1]

    yield start
    for each in clients:
        each.end()


def overview(rest_url):
    try:
        with urllib.request.urlopen(f"{rest_url}/overview", timeout=5) as response:
            return json.load(response)
    except (OSError, ValueError):
        return {"slots-total": 0}


def runs(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tree(cluster):
    keeper = psutil.Process(cluster.pids["keeper"])
    return [keeper, *keeper.children(recursive=True)]


def listeners(processes):
    """The addresses at which processes listen, by their commands."""
    found = set()
    for process in processes:
        for each in process.net_connections(kind="inet"):
            if each.status == psutil.CONN_LISTEN or (each.status == psutil.CONN_NONE and not each.raddr):
                found.add((process.name(), each.laddr.ip))
    return found


@pytest.fixture
def settled(flink, until):
    """The shared cluster, with all its slots there."""

    def ready():
        return len(flink.pids) == 4 and overview(flink.rest_url)["slots-total"] == flink.slots

    until(ready, "the cluster", 120)
    yield flink
    until(ready, "the cluster", 120)


def test_it_is_a_real_cluster(settled):
    said = overview(settled.rest_url)
    assert said["flink-version"].startswith("1.19.")
    assert (said["taskmanagers"], said["slots-total"]) == (1, settled.slots)
    assert set(settled.pids) == {"keeper", *JAVA, "worker_pool"}
    assert settled.is_alive()
    status = settled.checkpoints.parent / "cluster.json"
    assert stat.S_IMODE(status.stat().st_mode) == 0o600
    assert stat.S_IMODE(status.parent.stat().st_mode) == 0o700


def test_it_is_in_a_session_of_its_own(settled):
    """So that the terminal's Ctrl-C does not reach it."""
    assert {os.getsid(pid) for pid in settled.pids.values()}.isdisjoint({os.getsid(0)})


def test_nothing_listens_beyond_loopback(settled, submit, rest, until):
    """Neither Flink, nor the pool, nor the servers of Beam's runner, which are there while a job runs."""
    import apache_beam as beam

    job = submit(lambda begin: begin | "len" >> beam.Map(len))

    def running():
        view = rest.job(job)
        return view is not None and view.vertices and all(each.status == "RUNNING" for each in view.vertices)

    until(running, "the job", 120)
    workers = psutil.Process(settled.pids["worker_pool"])
    until(lambda: len(workers.children()) >= 2, "a worker")
    found = listeners(tree(settled))
    assert {ip for _, ip in found} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, found
    java = [each for pid in JAVA for each in psutil.Process(settled.pids[pid]).net_connections(kind="tcp")]
    assert len([each for each in java if each.status == psutil.CONN_LISTEN]) >= 10  # Beam's own are among them


def test_checkpoints_are_kept_when_a_job_is_cancelled(settled, submit, rest, until):
    import apache_beam as beam

    job = submit(lambda begin: begin | "len" >> beam.Map(len))
    folder = settled.checkpoints / job
    until(lambda: list(folder.glob("chk-*/_metadata")), "a checkpoint", 120)
    rest.cancel(job)
    until(lambda: rest.job(job).state == "CANCELED", "the end")
    assert list(folder.glob("chk-*/_metadata"))


# A TaskManager goes with its JobManager: it would go on with jobs that nobody knows any more.
@pytest.mark.parametrize("gone", [("taskmanager",), ("worker_pool",), ("jobmanager", "taskmanager")], ids=min)
def test_a_process_that_is_killed_is_replaced(settled, until, gone):
    before, rest_url, pool = settled.pids, settled.rest_url, settled.worker_pool
    path = taskmanager(rest_url)
    os.kill(before[gone[0]], signal.SIGKILL)
    until(lambda: settled.pids.get(gone[0], before[gone[0]]) != before[gone[0]], "another process", 60)
    until(lambda: len(settled.pids) == 4, "all processes", 60)
    if "taskmanager" in gone:
        until(lambda: taskmanager(rest_url) not in (None, path), "another TaskManager", 120)
    until(lambda: overview(rest_url)["slots-total"] == settled.slots, "the slots", 120)
    until(lambda: connects(*pool.split(":")), "the worker pool", 60)
    after = settled.pids
    assert {each for each in after if after[each] != before[each]} == set(gone)
    deaths = settled.deaths[-len(gone) :]
    assert tuple(each["name"] for each in deaths) == gone
    assert all("SIGKILL" in each["fate"] for each in deaths)


def taskmanager(rest_url):
    """Where Flink knows the TaskManager to be: each one has a port of its own."""
    try:
        with urllib.request.urlopen(f"{rest_url}/taskmanagers", timeout=5) as response:
            [found] = json.load(response)["taskmanagers"]
        return found["path"]
    except (OSError, ValueError):
        return None


def connects(host, port):
    with socket.socket() as sock:
        return sock.connect_ex((host, int(port))) == 0


def test_another_client_joins_at_once(settled):
    begin = time.monotonic()
    with Cluster.lease(settled.checkpoints.parents[1], slots=1) as other:
        assert time.monotonic() - begin < 1
        assert (other.pids, other.rest_url, other.slots) == (settled.pids, settled.rest_url, settled.slots)
    other.close()


def test_a_cluster_in_use_that_has_too_few_slots(settled):
    with pytest.raises(ClusterError, match=r"other processes use the .* has \d slots, while 9 are needed; end them"):
        Cluster.lease(settled.checkpoints.parents[1], slots=9)
    assert settled.is_alive()


def test_clients_that_race_share_one_and_it_ends_with_the_last(client, tmp_path, until):
    first, second = clients = [client(), client()]
    for each in clients:
        each.go()
    (shared, one_child), (joined, other_child) = [each.leased() for each in clients]
    assert shared == joined
    first.kill()
    assert_stays(shared["pids"], seconds=2.5)
    assert overview(shared["rest"])["slots-total"] == 2
    second.kill()
    killed = time.monotonic()
    until(lambda: not any(map(runs, shared["pids"].values())), "the end of the cluster", 60)
    assert time.monotonic() - killed > 1  # the next client would have found it
    assert runs(one_child)  # the processes that the clients had forked did not keep it
    assert runs(other_child)
    assert not (tmp_path / "flink" / "cluster.json").exists()
    assert not (tmp_path / "flink" / "tmp").exists()


def assert_stays(pids, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert all(map(runs, pids.values()))
        time.sleep(0.1)


def test_nothing_outlives_a_killed_keeper_and_the_next_lease_starts_anew(tmp_path, until):
    home = tmp_path / "a folder with spaces and ä and 100%d"
    with Cluster.lease(home, slots=1, grace=60) as unused:
        ended = unused.pids
    with Cluster.lease(home, slots=2, grace=60) as first:  # the one that waits for its next client is too small
        assert not any(map(runs, ended.values()))
        assert first.slots == 2
        everything = tree(first)
        assert len(everything) >= 5
        os.kill(first.pids["keeper"], signal.SIGKILL)
        until(lambda: not any(runs(each.pid) for each in everything), "the end of all")
        assert not first.is_alive()
        with Cluster.lease(home, slots=1, grace=0) as second:
            assert overview(second.rest_url)["slots-total"] == 1
            assert set(first.pids) == {"keeper"}  # it does not mistake the new one's for its own
            ended = second.pids
    until(lambda: not any(map(runs, ended.values())), "the end of the cluster", 60)


def test_a_keeper_that_is_killed_while_it_starts(tmp_path, until):
    with ThreadPoolExecutor(1) as pool:
        lease = pool.submit(Cluster.lease, tmp_path, slots=1)
        status = until(Layout(tmp_path).read_status, "the keeper")
        os.kill(status["keeper"]["pid"], signal.SIGKILL)
        with pytest.raises(ClusterError, match=r"the keeper of the Flink cluster died: it left no word"):
            lease.result(60)
    children = [child["pid"] for child in status["children"].values()]
    until(lambda: not any(map(runs, children)), "the end of its children")
