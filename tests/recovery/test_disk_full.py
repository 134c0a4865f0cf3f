"""A disk that becomes full in the middle of a job: a named error, no harm, and the job goes on when there is room.

Each script has a small disk of its own, in a mount namespace of its own.
"""

from __future__ import annotations

import os
import shutil
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("unshare"), reason="a small disk needs Linux's mount namespaces"
)

PREAMBLE = """
    import os, subprocess, time
    import jetbridge
    from jetbridge import JobConfig, JobStatus, Pipeline, ProcessingGuarantee, aggregations, sinks

    disk, outside, COUNT = "disk", os.path.abspath("outside"), 4_000

    def until(condition, what):
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, what
            time.sleep(0.02)

    def fill(n):
        if n == COUNT // 2 and not os.path.exists(outside):
            with open(f"{disk}/filler", "wb", buffering=0) as filler:
                for size in (1 << 16, 512):
                    try:
                        while filler.write(bytes(size)):
                            pass
                    except OSError:
                        pass
            open(outside, "w").close()
        time.sleep(0.0002)
        return n

    def pipeline(size):
        made = Pipeline.create()
        numbers = made.read_from(Pipeline.from_list("numbers", range(COUNT))).map(fill)
        numbers.map(lambda n: b"%d" % n * size).write_to(Pipeline.to_list("plain"))
        numbers.group_by(lambda n: n % 50).aggregate(aggregations.counting()).write_to(Pipeline.to_map("counts"))
        numbers.map(str).write_to(sinks.text(f"{disk}/rows.txt"))
        return made

    def config(**fields):
        return JobConfig(
            name="filling", processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE, suspend_on_failure=True,
            snapshot_interval_millis=200, **fields
        )

    def check(client, size):
        assert client.get_list("plain").get_all() == [b"%d" % n * size for n in range(COUNT)]
        assert dict(client.get_map("counts").entry_set()) == {n: COUNT // 50 for n in range(50)}
        with open(f"{disk}/rows.txt") as file:
            assert file.read().split() == [str(n) for n in range(COUNT)]
        assert client.get_list("kept").get_all() == list(range(1_000))
        stages = client.get_jet().get_job_by_name("filling").get_metrics().stages
        assert stages["plain"].received_count == COUNT, stages
        db = client._session.db
        assert db.reader().execute("PRAGMA integrity_check").fetchall() == [("ok",)]
"""


@pytest.fixture
def on_small_disk(script, tmp_path):
    def run(source, size):
        (tmp_path / "disk").mkdir()
        unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        mount = f'mount -t tmpfs -o size={size} tmpfs "{tmp_path}/disk" && exec "$@"'
        env = {"JETBRIDGE_HOME": str(tmp_path / "disk" / "home")}
        return script(PREAMBLE + source, env=env, prefix=(*unshare, "sh", "-c", mount, "sh"), timeout=150)

    return run


def test_others_fill_the_disk_in_the_middle_of_an_epoch(on_small_disk):
    """Not even the failure can be written then; it is as soon as there is room, and the job can be resumed."""
    done = on_small_disk(
        """
    with jetbridge.connect() as client:
        client.get_list("kept").add_all(range(1_000))
        job = client.get_jet().submit(pipeline(200), config())
        until(lambda: os.path.exists(outside), "a full disk")
        time.sleep(2)
        print(job.status)
        before = client.get_list("plain").size()
        assert 0 < before < COUNT
        try:
            client.get_list("more").add_all([os.urandom(100_000)])
        except jetbridge.errors.DiskFullError as error:
            print(error)
        assert client.get_list("kept").get_all() == list(range(1_000))
        os.remove(f"{disk}/filler")
        until(lambda: job.status in (JobStatus.SUSPENDED, JobStatus.COMPLETED), "an end")
        print(job.status, job.suspension_cause)
        job.resume()
        job.join(60)
        check(client, 200)
        print("exactly once")
        """,
        "8m",
    )
    status, refused, after, end = done.stdout.splitlines()
    assert status in ("RUNNING", "STARTING", "SUSPENDED")
    assert "the disk of the data folder is full; make room" in refused
    assert after.startswith("SUSPENDED ")
    assert "full" in after or "No space left on device" in after
    assert end == "exactly once"
    assert status == "SUSPENDED" or "waits for room" in done.stderr


def test_an_epoch_that_does_not_fit(on_small_disk):
    """The job itself fills the disk: it is suspended with the cause, and goes on when the disk has become larger."""
    done = on_small_disk(
        """
    open(outside, "w").close()  # nobody else fills it
    with jetbridge.connect() as client:
        client.get_list("kept").add_all(range(1_000))
        job = client.get_jet().submit(pipeline(2_000), config())
        until(lambda: job.status in (JobStatus.SUSPENDED, JobStatus.FAILED), "an end")
        print(job.status, job.suspension_cause)
        before = client.get_list("plain").get_all()
        assert before == [b"%d" % n * 2_000 for n in range(len(before))]
        assert client.get_list("kept").get_all() == list(range(1_000))
        subprocess.run(["mount", "-o", "remount,size=200m", os.path.abspath(disk)], check=True)
        job.resume()
        job.join(60)
        check(client, 2_000)
        print("exactly once after", len(before) > 0)
        """,
        "12m",
    )
    suspended, end = done.stdout.splitlines()
    assert suspended.startswith("SUSPENDED ")
    assert "full" in suspended or "No space left on device" in suspended
    assert end == "exactly once after True"


def test_a_named_snapshot_that_does_not_fit(on_small_disk):
    """It is refused by name, the one that was there before still is, and the job goes on."""
    done = on_small_disk(
        """
    from jetbridge import StreamSource

    made = Pipeline.create()
    events = made.read_from(StreamSource("events"))
    events.distinct().write_to(Pipeline.to_list("plain"))
    with jetbridge.connect() as client:
        events = client.get_stream("events")
        events.publish_all([os.urandom(1_000) for _ in range(500)])
        job = client.get_jet().submit(made, config())
        until(lambda: client.get_list("plain").size() == 500, "the first events")
        job.export_snapshot("nightly")
        kept = client.get_jet().get_job_state_snapshot("nightly")
        events.publish_all([os.urandom(1_000) for _ in range(1_500)])
        until(lambda: client.get_list("plain").size() == 2_000, "all events")
        with open(f"{disk}/filler", "wb", buffering=0) as filler:
            stat = os.statvfs(disk)
            filler.write(bytes(max(0, stat.f_bavail * stat.f_frsize - 400_000)))
        try:
            job.export_snapshot("nightly")
        except jetbridge.JetbridgeError as error:
            print(type(error).__name__, error)
        assert client.get_jet().get_job_state_snapshot("nightly").payload_size == kept.payload_size
        print(os.listdir(os.path.join(disk, "home", "snapshots")))
        os.remove(f"{disk}/filler")
        events.publish_all([b"last"])
        until(lambda: client.get_list("plain").size() == 2_001, "the last event")
        job.export_snapshot("nightly")
        assert client.get_jet().get_job_state_snapshot("nightly").payload_size > kept.payload_size
        job.cancel()
        """,
        "24m",
    )
    refused, left = done.stdout.splitlines()
    assert "full" in refused
    assert left == "['nightly.snapshot']"
