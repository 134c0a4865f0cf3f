"""The fork server: what happens when it dies, and what it needs."""

from __future__ import annotations

import functools
import os
import signal
import socket
import threading

import psutil
import pytest

import jetbridge
from jetbridge import ConfigError, DataFolderError, JobFailedError
from jetbridge.client import Client
from jetbridge.jobs.session import Session
from jetbridge.settings import load_settings
from jetbridge_direct import DirectRunner, sharing
from jetbridge_direct.channel import Channel
from jetbridge_direct.server import ForkServer
from jetbridge_direct.sharing import shared

DEADLINE = 60.0


def server_pid():
    return shared().get().process.pid


def test_a_fork_server_that_died_idle_is_replaced(jet, pipeline, gone):
    jet.submit(pipeline()).join(DEADLINE)
    pid = server_pid()
    os.kill(pid, signal.SIGKILL)
    gone(pid)
    jet.submit(pipeline()).join(DEADLINE)
    assert server_pid() != pid


def test_a_fork_server_that_dies_takes_its_workers_and_the_job_starts_again(jet, pipeline, gate, gone, caplog):
    job = jet.submit(pipeline(gate))
    worker = gate.reached()
    os.kill(server_pid(), signal.SIGKILL)
    gone(worker)
    gate.reached(2)
    gate.open()
    job.join(DEADLINE)
    assert "was killed since the process that had started it died" in caplog.text


def test_modules_that_cannot_be_imported_are_told(home, pipeline):
    settings = load_settings(home=home)
    session = Session(settings, functools.partial(DirectRunner, worker_module="no_such_module"))
    with Client(session) as client:
        job = client.get_jet().submit(pipeline())
        with pytest.raises(JobFailedError, match="cannot be imported in a new process") as caught:
            job.join(DEADLINE)
        assert "No module named 'no_such_module'" in str(caught.value)


def test_its_last_words_are_told():
    server = ForkServer("this")  # a module of the standard library that prints, and has no warm()
    try:
        with pytest.raises(Exception, match="has no attribute 'warm'"):
            server.spawn({})
        assert not server.alive
    finally:
        server.close()


def test_clients_of_a_process_share_it(home, tmp_path):
    with jetbridge.connect(home=home), jetbridge.connect(home=tmp_path / "other"):
        servers = [
            child for child in psutil.Process().children() if any("forkserver" in part for part in child.cmdline())
        ]
        assert len([child for child in servers if "jetbridge_direct.worker" in child.cmdline()[2]]) == 1


class TestAClientThatDoesNotCome:
    """A fork server that was started for it ends with the failed call, and not some time later."""

    @pytest.fixture(autouse=True)
    def _nobody_uses_one(self, monkeypatch):
        # Clients of other tests, which some keep for a whole session, have one of their own.
        monkeypatch.setattr(sharing, "_servers", {})
        self.others = set()
        self.others = set(self.servers())
        yield
        shared().close()

    def servers(self):
        children = psutil.Process().children()
        found = [child for child in children if any("forkserver" in part for part in child.cmdline())]
        return [child for child in found if child not in self.others]

    @pytest.mark.parametrize("wrong", [{"shards": 0}, {"runner": "no such"}, {"colour": "red"}])
    def test_for_its_settings(self, home, wrong):
        with pytest.raises(ConfigError):
            jetbridge.connect(home=home, **wrong)
        assert self.servers() == []

    def test_for_its_data_folder(self, home):
        home.touch()
        with pytest.raises(DataFolderError):
            jetbridge.connect(home=home)
        assert self.servers() == []

    def test_since_it_has_another_runner(self, home, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "jetbridge.toml").write_text('runner = "elsewhere"')
        with pytest.raises(ConfigError, match="elsewhere"):
            jetbridge.connect(home=home)
        assert self.servers() == []

    def test_since_it_cannot_be_got_ready(self, home, monkeypatch):
        def fail(self):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(DirectRunner, "warm", fail)
            with pytest.raises(KeyboardInterrupt):
                jetbridge.connect(home=home)
        assert shared()._users == 0
        assert self.servers() == []

    def test_another_client_keeps_it(self, client, home):
        servers = self.servers()
        assert len(servers) == 1
        with pytest.raises(ConfigError):
            jetbridge.connect(home=home, shards=0)
        assert self.servers() == servers


def test_it_has_one_thread_of_python_and_leads_its_own_session(jet, pipeline, gate):
    job = jet.submit(pipeline(gate))
    worker = gate.reached()
    assert os.getsid(server_pid()) == server_pid()
    assert os.getsid(worker) == os.getpgid(worker) == worker
    assert psutil.Process(worker).ppid() == server_pid()
    gate.open()
    job.join(DEADLINE)


def test_ended_workers_are_reaped(jet, pipeline, until):
    for _ in range(3):
        jet.submit(pipeline()).join(DEADLINE)
    until(lambda: psutil.Process(server_pid()).children(recursive=True) == [])


class TestChannel:
    @pytest.fixture
    def pair(self):
        near, far = (Channel(end, shared=True) for end in socket.socketpair())
        yield near, far
        near.close()
        far.close()

    def test_large_messages_in_order(self, pair):
        near, far = pair
        messages = [b"x" * 3_000_000, {"a": [1, 2]}, None, ""]
        sender = threading.Thread(target=lambda: [near.send((message,)) for message in messages])
        sender.start()
        assert [far.recv()[0] for _ in messages] == messages
        sender.join()

    def test_descriptors_travel(self, pair):
        near, far = pair
        read, write = os.pipe()
        near.send("pipe", [write])
        os.close(write)
        message, [copy] = far.recv_with_descriptors()
        assert message == "pipe"
        assert not os.get_inheritable(copy)
        os.write(copy, b"hello")
        assert os.read(read, 10) == b"hello"
        os.close(copy)
        os.close(read)

    def test_an_end_in_the_middle_of_a_message_is_an_end(self):
        near, far = socket.socketpair()
        near.sendall(b"\0\0\0\0\0\0\0\x09\0abc")
        near.close()
        channel = Channel(far)
        assert channel.recv() is None
        channel.close()

    def test_messages_of_forked_processes_stay_whole(self, pair):
        near, far = pair
        pids = []
        for number in range(3):
            pid = os.fork()
            if not pid:
                try:
                    for _ in range(50):
                        near.send([number] * 20_000)
                finally:
                    os._exit(0)
            pids.append(pid)
        received = [far.recv() for _ in range(150)]
        for pid in pids:
            os.waitpid(pid, 0)
        assert all(len(set(message)) == 1 and len(message) == 20_000 for message in received)
