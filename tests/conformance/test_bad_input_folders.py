"""Data folders and clients that cannot be used: the error says what is wrong and what to do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

import jetbridge
from jetbridge import Pipeline
from jetbridge.errors import ConfigError, DataFolderError


class TestDataFolders:
    @pytest.fixture
    def refused(self, says):
        def check(home, *parts):
            with pytest.raises(DataFolderError) as caught:
                jetbridge.connect(home=home)
            says(caught, str(home), *parts)

        return check

    def test_a_file(self, refused, tmp_path):
        home = tmp_path / "home"
        home.write_text("")
        refused(home, "folder")

    def test_below_a_file(self, refused, tmp_path):
        (tmp_path / "file").write_text("")
        refused(tmp_path / "file" / "home")

    @pytest.mark.parametrize("mode", [0o777, 0o770, 0o702], ids=oct)
    def test_writable_by_others(self, refused, tmp_path, mode):
        home = tmp_path / "home"
        home.mkdir()
        home.chmod(mode)
        refused(home, "chmod")
        assert stat.S_IMODE(home.stat().st_mode) == mode, "it is not changed behind the user's back"

    def test_a_database_that_is_writable_by_others(self, tmp_path, says):
        home = tmp_path / "home"
        jetbridge.connect(home=home).shutdown()
        database = home / "jetbridge.db"
        database.chmod(0o666)
        with pytest.raises(DataFolderError) as caught:
            jetbridge.connect(home=home)
        says(caught, str(database), "chmod")

    def test_a_new_one_is_private(self, tmp_path):
        home = tmp_path / "deep" / "home"
        jetbridge.connect(home=home).shutdown()
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert "*" in (home / ".gitignore").read_text().split()

    def test_a_newer_schema(self, refused, tmp_path):
        home = tmp_path / "home"
        jetbridge.connect(home=home).shutdown()
        before = (home / "jetbridge.db").read_bytes()
        database = sqlite3.connect(home / "jetbridge.db")
        database.execute("PRAGMA user_version = 9999")
        database.commit()
        database.close()
        refused(home, "9999", "upgrade")
        assert before, "nothing was written over"

    def test_a_database_that_is_none(self, tmp_path, says):
        home = tmp_path / "home"
        jetbridge.connect(home=home).shutdown()
        for path in home.glob("jetbridge.db*"):
            path.write_bytes(b"this is no database, " * 500)
        with pytest.raises(jetbridge.errors.StoreError) as caught:
            jetbridge.connect(home=home).get_list("a").get_all()
        says(caught, str(home))

    CONNECT = """
        import jetbridge
        try:
            with jetbridge.connect() as client:
                client.get_list("a").add("x")
        except jetbridge.errors.DataFolderError as error:
            print(error)
        """

    def test_read_only(self, script, runner, tmp_path, without_rights):
        home = tmp_path / "home"
        home.mkdir()
        home.chmod(0o500)
        done = script(self.CONNECT, env={"JETBRIDGE_RUNNER": runner}, before=without_rights)
        assert str(home) in done.stdout
        assert "writ" in done.stdout

    def test_a_parent_that_is_read_only(self, script, runner, tmp_path, without_rights):
        parent = tmp_path / "parent"
        parent.mkdir()
        parent.chmod(0o500)
        env = {"JETBRIDGE_RUNNER": runner, "JETBRIDGE_HOME": str(parent / "home")}
        done = script(self.CONNECT, env=env, before=without_rights)
        assert str(parent / "home") in done.stdout

    @pytest.mark.skipif(
        sys.platform != "linux" or not shutil.which("unshare"), reason="a small disk needs Linux's mount namespaces"
    )
    @pytest.mark.notyet("flink", reason="the cluster's own files need more than a small disk has")
    def test_a_full_disk(self, script, runner, tmp_path):
        """On a disk of 4 MB a job writes 40 MB: it fails, and what was there before can be read."""
        (tmp_path / "disk").mkdir()
        mount = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        prefix = (*mount, "sh", "-c", f'mount -t tmpfs -o size=4m tmpfs "{tmp_path}/disk" && exec "$@"', "sh")
        done = script(
            """
            import jetbridge
            from jetbridge import Pipeline

            with jetbridge.connect() as client:
                kept = client.get_list("kept")
                kept.add_all(range(100))
                pipeline = Pipeline.create()
                source = pipeline.read_from(Pipeline.from_list("n", range(400)))
                source.map(lambda n: bytes(100_000) + b"%d" % n).write_to(Pipeline.to_list("big"))
                job = client.get_jet().submit(pipeline)
                try:
                    job.join(timeout=60)
                except jetbridge.JobFailedError as error:
                    print("failed:", str(error).splitlines()[0])
                print(job.status, kept.get_all() == list(range(100)), client.get_list("big").size())
                try:
                    client.get_list("more").add_all([bytes(1_000_000) + b"%d" % n for n in range(10)])
                except jetbridge.errors.DiskFullError as error:
                    print("full:", error)
                print(kept.get_all() == list(range(100)))
            """,
            env={"JETBRIDGE_RUNNER": runner, "JETBRIDGE_HOME": str(tmp_path / "disk" / "home")},
            prefix=prefix,
        )
        failed, status, full, after = done.stdout.splitlines()
        assert failed.startswith("failed:")
        assert "the disk of the data folder is full" in failed
        assert status == "FAILED True 0"
        assert full.startswith("full:")
        assert str(Path("disk", "home")) in full
        assert after == "True"


class TestConnect:
    def test_an_unknown_runner(self, tmp_path, says):
        with pytest.raises(jetbridge.JetbridgeError) as caught:
            jetbridge.connect(runner="spark", home=tmp_path / "home")
        says(caught, "spark", "direct")

    @pytest.mark.parametrize("parallelism", [0, -1, "two"], ids=repr)
    def test_a_parallelism_that_is_none(self, tmp_path, parallelism, says):
        with pytest.raises(ConfigError) as caught:
            jetbridge.connect(parallelism=parallelism, home=tmp_path / "home")
        says(caught, "parallelism", repr(parallelism))

    def test_a_client_that_was_shut_down(self, tmp_path):
        client = jetbridge.connect(home=tmp_path / "home")
        jet = client.get_jet()
        client.shutdown()
        client.shutdown()
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("n", [])).write_to(Pipeline.to_list("never"))
        with pytest.raises(jetbridge.JetbridgeError, match="shut down"):
            jet.submit(pipeline)
