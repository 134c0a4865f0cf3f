"""list, show, metrics, logs, snapshots: what they print, and that they start nothing."""

from __future__ import annotations

import json
import logging
import subprocess
from datetime import datetime

import pytest

import jetbridge
from jetbridge import JobConfig, Pipeline, StreamSource
from jetbridge.jobs.joblog import JobLogHandler


def test_list_shows_active_jobs_unless_all_are_asked_for(cli, ended):
    assert cli("list", "--home", ended).out == ""
    assert "no active jobs; --all" in cli("list", "--home", ended).err
    lines = cli("list", "--all", "--home", ended).out.splitlines()
    assert lines[0].split() == ["ID", "NAME", "STATUS", "SUBMITTED", "REASON"]
    assert [line.split()[1] for line in lines[2:]] == ["parser", "speaker"]
    assert "FAILED" in lines[2]
    assert "invalid literal for int()" in lines[2]


def test_list_says_that_there_is_no_data_folder(cli, tmp_path):
    assert f"there is no data folder at {tmp_path / 'typo'}" in cli("list", "--home", tmp_path / "typo").err
    assert cli("list", "--json", "--home", tmp_path / "typo").json == []
    assert not (tmp_path / "typo").exists()


def test_list_can_be_limited_to_a_name(cli, ended):
    assert [job["name"] for job in cli("list", "--all", "--name", "parser", "--json", "--home", ended).json] == [
        "parser"
    ]


def test_json_has_stable_keys(cli, ended):
    jobs = cli("list", "--all", "--json", "--home", ended).json
    keys = ["id", "name", "status", "submission_time", "start_time", "end_time", "suspension_cause"]
    keys += ["is_user_cancelled", "error", "owner_pid", "config"]
    assert all(list(job) == keys for job in jobs)
    assert [(job["name"], job["status"]) for job in jobs] == [
        (None, "COMPLETED"),
        ("parser", "FAILED"),
        ("speaker", "COMPLETED"),
    ]
    assert jobs[1]["error"]["type"] == "ValueError"
    shown = cli("show", "parser", "--json", "--home", ended).json
    assert list(shown) == [*keys, "metrics"]
    assert {**shown, "metrics": None} == {**jobs[1], "metrics": None}
    metrics = cli("metrics", jobs[0]["id"], "--json", "--home", ended).json
    assert (metrics["status"], metrics["received_count"], metrics["emitted_count"]) == ("COMPLETED", 1000, 1000)
    counts = {"received_count": 1000, "emitted_count": 1000, "errors": 0, "late_count": 0}
    assert metrics["stages"]["step"] == {"kind": "map", **counts}


def test_a_data_folder_that_is_not_there_has_no_jobs_and_is_not_made(cli, home):
    assert cli("list", "--all", "--json", "--home", home).json == []
    assert cli("snapshots", "--json", "--home", home).json == []
    assert f"no data folder at {home}" in cli("show", "x", "--home", home, code=3).err
    assert not home.exists()


def test_show_has_the_users_traceback(cli, ended):
    out = cli("show", "parser", "--home", ended).out
    assert "failed stage  step" in out
    assert "failed item   'zwei'" in out
    assert "in parse\n    return int(text)" in out
    assert "processing" not in cli("show", "speaker", "--home", ended).out


def test_metrics_are_a_table_with_a_bar_for_each_bounded_source(cli, ended):
    for more in ([], ["--watch"]):
        out = cli("metrics", "speaker", *more, "--home", ended).out
        assert "3 read, 3 written" in out
        assert ["step", "map", "3", "3", "0"] in [line.split() for line in out.splitlines()]
        assert out.splitlines()[-1].split()[-4:] == ["100%", "3", "of", "3"]
    assert json.loads(cli("metrics", "speaker", "--watch", "--json", "--home", ended).out)["progress"] == 1.0


def test_metrics_of_a_stream_have_its_lag_and_its_watermark(cli, home, until):
    time = 1_700_000_000_000
    with jetbridge.connect(home=home, parallelism=1) as client:
        pipeline = Pipeline.create()
        events = pipeline.read_from(StreamSource("events")).with_timestamps(lambda n: time + n, allowed_lag=1_000)
        events.write_to(Pipeline.to_list("results"))
        job = client.get_jet().submit(pipeline, JobConfig(name="clock"))
        client.get_stream("events").publish_all([5_000, 7_500])
        until(lambda: job.get_metrics().watermark is not None, "the first items")
        job.cancel()  # so that --watch ends
    for more in ([], ["--watch"]):
        words = f"0 behind the newest item, watermark {datetime.fromtimestamp(time // 1_000 + 6)}"
        assert words in cli("metrics", "clock", *more, "--home", home).out
        facts = json.loads(cli("metrics", "clock", *more, "--json", "--home", home).out)
        assert (facts["lag"], facts["watermark"]) == (0, time + 6_500)


def test_logs_are_what_the_job_printed(cli, ended):
    assert cli("logs", "speaker", "--home", ended).out == "item 1\nitem 2\nitem 3\n"
    assert cli("logs", "speaker", "--follow", "--home", ended).out == "item 1\nitem 2\nitem 3\n"
    lines = cli("logs", "speaker", "--json", "--home", ended).out.splitlines()
    assert [json.loads(line) for line in lines] == [{"line": f"item {n}"} for n in (1, 2, 3)]
    assert "has not printed" in cli("logs", "parser", "--home", ended).err


def test_logs_that_workers_wrote_themselves_are_text(cli, home):
    with jetbridge.connect(home=home, parallelism=1) as client:
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("items", [1])).map(print).write_to(Pipeline.to_list("results"))
        job = client.get_jet().submit(pipeline, JobConfig(name="speaker"))
        job.join()
    with (home / "logs" / f"{job.id}.log").open("ab") as file:
        JobLogHandler(file.fileno()).emit(logging.LogRecord("shop", logging.INFO, "shop.py", 1, "milk", (), None))
    first, second = cli("logs", "speaker", "--home", home).out.splitlines()
    assert first == "1"
    assert second.endswith(" INFO shop: milk")
    assert second.isprintable()


def test_names_cannot_steer_the_terminal(cli, home):
    name = "[red]a\x1b[2J\nb"
    with jetbridge.connect(home=home, parallelism=1) as client:
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("n", [1])).write_to(Pipeline.to_list("r"))
        client.get_jet().submit(pipeline, JobConfig(name=name)).join(timeout=60)
    for arguments in (["list", "--all"], ["show", name], ["metrics", name]):
        out = cli(*arguments, "--home", home).out
        assert r"[red]a\x1b[2J\nb" in out
        assert "\x1b" not in out


@pytest.mark.parametrize(
    "arguments", [["list", "--all"], ["show", "parser"], ["metrics", "parser"], ["logs", "speaker"], ["snapshots"]]
)
def test_reading_starts_no_process(cli, ended, monkeypatch, arguments):
    def refuse(*args, **kwargs):
        raise AssertionError(f"a process was started: {args}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert cli(*arguments, "--home", ended).code == 0


def test_nothing_to_list(cli, ended):
    assert cli("list", "--json", "--home", ended).json == []
    assert "no named snapshots" in cli("snapshots", "--home", ended).err
