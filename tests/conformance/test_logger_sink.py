from __future__ import annotations

import logging

import pytest

from jetbridge import JobConfig, Pipeline


@pytest.mark.parametrize("items", [[], [1], [None, "żółw", (1, 2), b"\xff"]], ids=repr)
def test_each_item_is_a_line_at_info_under_the_jobs_name(jet, log, items):
    pipeline, name = Pipeline.create(), jet.name("logging")
    pipeline.read_from(Pipeline.from_list("items", items)).write_to(Pipeline.to_logger())
    jet.run(pipeline, JobConfig(name=name))
    records = [record for record in log.records if record.name == f"jetbridge.{name}"]
    assert [record.levelno for record in records] == [logging.INFO] * len(items)
    for record, item in zip(records, items, strict=True):
        assert str(item) in record.getMessage()


def test_a_job_without_a_name_logs_under_its_id(jet, log):
    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("items", ["hello"])).write_to(Pipeline.to_logger())
    job = jet.run(pipeline)
    [record] = [record for record in log.records if record.name == f"jetbridge.{job.id}"]
    assert "hello" in record.getMessage()


@pytest.mark.parametrize("parallelism", [1, 2])
def test_all_lines_are_there_when_join_returns(jet, log):
    pipeline, name = Pipeline.create(), jet.name("logging")
    pipeline.read_from(Pipeline.from_list("items", range(3_000))).write_to(Pipeline.to_logger())
    jet.run(pipeline, JobConfig(name=name))
    assert len([record for record in log.records if record.name == f"jetbridge.{name}"]) == 3_000


LOGGING_SCRIPT = """
    import jetbridge
    from jetbridge import JobConfig, Pipeline
    {setup}
    with jetbridge.connect() as client:
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("items", ["hello", "world"])).write_to(Pipeline.to_logger())
        client.get_jet().submit(pipeline, JobConfig(name="greeter")).join(timeout=60)
"""


def test_lines_are_on_the_console_of_a_script_that_configured_no_logging(script, runner):
    done = script(LOGGING_SCRIPT.format(setup=""), env={"JETBRIDGE_RUNNER": runner})
    shown = done.stdout + done.stderr
    assert shown.count("hello") == 1
    assert shown.count("world") == 1


def test_the_scripts_own_logging_is_respected(script, runner):
    setup = "import logging; logging.basicConfig(level=logging.WARNING)"
    done = script(LOGGING_SCRIPT.format(setup=setup), env={"JETBRIDGE_RUNNER": runner})
    assert "hello" not in done.stdout + done.stderr
    setup = "import logging; logging.basicConfig(level=logging.INFO, format='%(name)s|%(message)s')"
    done = script(LOGGING_SCRIPT.format(setup=setup), env={"JETBRIDGE_RUNNER": runner})
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "hello" in line]
    assert len(lines) == 1
    assert lines[0].startswith("jetbridge.greeter|")
